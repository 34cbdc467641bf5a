//! Breaches of what [`CheckpointStore::delete`](annals_core::CheckpointStore::delete) says.

use std::collections::HashMap;
use std::sync::Mutex;

use annals_core::{
    Advance, Claim, Deleted, Delivery, DeliveryId, Enqueue, Lease, ListRows, NewDelivery, Row,
    SelectDeliveries, Settled, SubscriberName, Take, Timestamp,
};
use async_trait::async_trait;

use super::{Done, Side};
use crate::read_side::ReadSideDecorator;

/// Says that it has gone.
#[derive(Debug)]
pub struct DeletesNothing;

#[async_trait]
impl ReadSideDecorator for DeletesNothing {
    async fn delete(&self, _: &Side, _: &SubscriberName, _: Timestamp) -> Done<Deleted> {
        Ok(Deleted::default())
    }
}

/// Takes a name for the beginning of a pattern.
#[derive(Debug)]
pub struct DeletesForOthers;

#[async_trait]
impl ReadSideDecorator for DeletesForOthers {
    async fn delete(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        now: Timestamp,
    ) -> Done<Deleted> {
        let deleted = side.delete(subscriber, now).await?;
        for other in side.subscribers().await? {
            if other.subscriber.as_str().starts_with(subscriber.as_str()) {
                side.delete(&other.subscriber, Timestamp::MAX).await?;
            }
        }
        Ok(deleted)
    }
}

/// Takes everybody for dead.
#[derive(Debug)]
pub struct DeletesWhatRuns;

#[async_trait]
impl ReadSideDecorator for DeletesWhatRuns {
    async fn delete(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        _: Timestamp,
    ) -> Done<Deleted> {
        side.delete(subscriber, Timestamp::MAX).await
    }
}

/// Counts the fences of each subscriber from the first lease that it gave.
#[derive(Debug, Default)]
pub struct BeginsFencesAnew(Mutex<HashMap<SubscriberName, u64>>);

#[async_trait]
impl ReadSideDecorator for BeginsFencesAnew {
    async fn claim(&self, side: &Side, claim: Claim) -> Done<Option<Lease>> {
        let lease = side.claim(claim).await?;
        let mut before = self.0.lock().expect("no code panics while counting");
        Ok(lease.map(|lease| {
            let before = before.entry(lease.subscriber.clone()).or_insert(lease.fence - 1);
            Lease { fence: lease.fence - *before, ..lease }
        }))
    }

    async fn advance(&self, side: &Side, advance: &Advance) -> Done<()> {
        let mut advance = advance.clone();
        {
            let before = self.0.lock().expect("no code panics while counting");
            let before = before.get(&advance.lease.subscriber);
            advance.lease.fence += before.copied().unwrap_or_default();
        }
        side.advance(&advance).await
    }

    async fn delete(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        now: Timestamp,
    ) -> Done<Deleted> {
        let deleted = side.delete(subscriber, now).await?;
        self.0.lock().expect("no code panics while counting").remove(subscriber);
        Ok(deleted)
    }
}

/// Finds rows by the name of their subscriber alone, and leaves them where they are.
#[derive(Debug, Default)]
pub struct DeletesNoRows(Mutex<HashMap<SubscriberName, Vec<Row>>>);

#[async_trait]
impl ReadSideDecorator for DeletesNoRows {
    async fn rows(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        list: ListRows,
    ) -> Done<Vec<Row>> {
        let mut rows = side.rows(subscriber, list).await?;
        if side.subscriber(subscriber).await?.is_some() {
            let left = self.0.lock().expect("no code panics while reading");
            rows.extend(left.get(subscriber).into_iter().flatten().cloned());
        }
        Ok(rows)
    }

    async fn delete(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        now: Timestamp,
    ) -> Done<Deleted> {
        let rows = side.rows(subscriber, ListRows { limit: 9, ..ListRows::default() }).await?;
        let deleted = side.delete(subscriber, now).await?;
        self.0.lock().expect("no code panics while reading").insert(subscriber.clone(), rows);
        Ok(deleted)
    }
}

/// Leaves deliveries where they are.
#[derive(Debug)]
pub struct DeletesNoDeliveries;

#[async_trait]
impl ReadSideDecorator for DeletesNoDeliveries {
    async fn delete(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        now: Timestamp,
    ) -> Done<Deleted> {
        let which = SelectDeliveries::inbox(subscriber.clone());
        let left = side.deliveries(&which, usize::MAX).await?;
        let deleted = side.delete(subscriber, now).await?;
        let left = left.into_iter().map(|left| NewDelivery {
            id: left.id,
            inbox: left.inbox,
            event: left.event,
            recipient: left.recipient,
            lane: left.lane,
            due_at: left.due_at,
        });
        side.enqueue(Enqueue { deliveries: left.collect(), advances: Vec::new() }, now).await?;
        Ok(deleted)
    }
}

/// Counts the tokens of each delivery from 1, and knows them by it.
#[derive(Debug, Default)]
pub struct BeginsTokensAnew(Mutex<HashMap<DeliveryId, Vec<u64>>>);

#[async_trait]
impl ReadSideDecorator for BeginsTokensAnew {
    async fn take(&self, side: &Side, take: Take) -> Done<Vec<Delivery>> {
        let mut taken = side.take(take).await?;
        let mut tokens = self.0.lock().expect("no code panics while counting");
        for delivery in &mut taken {
            let given = tokens.entry(delivery.id.clone()).or_default();
            given.push(delivery.token);
            delivery.token = given.len() as u64;
        }
        Ok(taken)
    }

    async fn settle(&self, side: &Side, mut settled: Vec<Settled>, now: Timestamp) -> Done<()> {
        {
            let tokens = self.0.lock().expect("no code panics while counting");
            for settled in &mut settled {
                let given = tokens.get(&settled.id).map_or(&[][..], |given| given);
                let number = usize::try_from(settled.token).unwrap_or(usize::MAX);
                settled.token = given.get(number.wrapping_sub(1)).copied().unwrap_or_default();
            }
        }
        side.settle(settled, now).await
    }

    async fn delete(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        now: Timestamp,
    ) -> Done<Deleted> {
        let deleted = side.delete(subscriber, now).await?;
        self.0.lock().expect("no code panics while counting").clear();
        Ok(deleted)
    }
}
