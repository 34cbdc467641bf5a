//! Read sides that are broken on purpose, each in one way.

mod checkpoints;
mod deleting;
mod deliveries;
mod rows;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use annals_core::error::ReadSideError;
use annals_core::{
    Advance, Attempt, DeliveryInfo, Enqueue, Enrol, Failure, ListRows, Row, RowChange,
    SelectDeliveries, Settled, SubscriberInfo, SubscriberName, Timestamp,
};
use async_trait::async_trait;

use crate::read_side::{ReadSide, ReadSideDecorator};

pub use checkpoints::*;
pub use deleting::*;
pub use deliveries::*;
pub use rows::*;

type Side = Arc<dyn ReadSide>;
type Done<T> = Result<T, ReadSideError>;

/// Takes it for done when somebody else has the part.
#[derive(Debug)]
pub struct SwallowsFences;

fn swallowed<T>(outcome: Done<T>, done: T) -> Done<T> {
    match outcome {
        Err(ReadSideError::Fenced(_)) => Ok(done),
        outcome => outcome,
    }
}

#[async_trait]
impl ReadSideDecorator for SwallowsFences {
    async fn advance(&self, side: &Side, advance: &Advance) -> Done<()> {
        swallowed(side.advance(advance).await, ())
    }

    async fn commit_rows(
        &self,
        side: &Side,
        changes: Vec<RowChange>,
        advance: &Advance,
    ) -> Done<()> {
        swallowed(side.commit_rows(changes, advance).await, ())
    }

    async fn enqueue(&self, side: &Side, enqueue: Enqueue, now: Timestamp) -> Done<u64> {
        swallowed(side.enqueue(enqueue, now).await, 0)
    }
}

/// Escapes quotes in texts that are passed apart from the statement.
#[derive(Debug)]
pub struct EscapesTwice;

fn escaped(text: &str) -> String {
    text.replace('\'', "''")
}

#[async_trait]
impl ReadSideDecorator for EscapesTwice {
    async fn fail(&self, side: &Side, lease: &annals_core::Lease, failure: Failure) -> Done<()> {
        let error = escaped(&failure.error);
        side.fail(lease, Failure { error, ..failure }).await
    }

    async fn commit_rows(
        &self,
        side: &Side,
        mut changes: Vec<RowChange>,
        advance: &Advance,
    ) -> Done<()> {
        for change in &mut changes {
            if let Some(value) = &mut change.value {
                *value = escaped(&String::from_utf8_lossy(value)).into();
            }
        }
        side.commit_rows(changes, advance).await
    }

    async fn enqueue(&self, side: &Side, mut enqueue: Enqueue, now: Timestamp) -> Done<u64> {
        for new in &mut enqueue.deliveries {
            new.recipient = new.recipient.as_deref().map(escaped);
        }
        side.enqueue(enqueue, now).await
    }

    async fn settle(&self, side: &Side, mut settled: Vec<Settled>, now: Timestamp) -> Done<()> {
        for attempt in settled.iter_mut().filter_map(|settled| settled.attempt.as_mut()) {
            attempt.error = attempt.error.as_deref().map(escaped);
        }
        side.settle(settled, now).await
    }
}

/// Finds only what has been enrolled since it was opened.
#[derive(Debug, Default)]
pub struct ForgetsWhenItCloses(Mutex<HashSet<SubscriberName>>);

impl ForgetsWhenItCloses {
    fn knows(&self, subscriber: &SubscriberName) -> bool {
        self.0.lock().expect("no code panics while looking").contains(subscriber)
    }
}

#[async_trait]
impl ReadSideDecorator for ForgetsWhenItCloses {
    async fn enrol(&self, side: &Side, enrol: Enrol) -> Done<SubscriberInfo> {
        let subscriber = enrol.subscriber.clone();
        self.0.lock().expect("no code panics while looking").insert(subscriber);
        side.enrol(enrol).await
    }

    async fn subscriber(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
    ) -> Done<Option<SubscriberInfo>> {
        if self.knows(subscriber) { side.subscriber(subscriber).await } else { Ok(None) }
    }

    async fn rows(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        list: ListRows,
    ) -> Done<Vec<Row>> {
        if self.knows(subscriber) { side.rows(subscriber, list).await } else { Ok(Vec::new()) }
    }

    async fn deliveries(
        &self,
        side: &Side,
        which: &SelectDeliveries,
        limit: usize,
    ) -> Done<Vec<DeliveryInfo>> {
        let mut found = side.deliveries(which, limit).await?;
        found.retain(|info| self.knows(&info.inbox));
        Ok(found)
    }
}

/// Says of nothing that it was one.
#[derive(Debug)]
pub struct CountsFromOne;

#[async_trait]
impl ReadSideDecorator for CountsFromOne {
    async fn sweep_rows(
        &self,
        side: &Side,
        subscriber: &SubscriberName,
        keep: &[annals_core::Generation],
        limit: usize,
    ) -> Done<usize> {
        Ok(side.sweep_rows(subscriber, keep, limit).await?.max(1))
    }

    async fn forget(
        &self,
        side: &Side,
        inbox: &SubscriberName,
        before: Timestamp,
        limit: usize,
    ) -> Done<u64> {
        Ok(side.forget(inbox, before, limit).await?.max(1))
    }
}

/// Remembers the last attempt only.
#[derive(Debug)]
pub struct RemembersTheLast;

#[async_trait]
impl ReadSideDecorator for RemembersTheLast {
    async fn attempts(&self, side: &Side, id: &annals_core::DeliveryId) -> Done<Vec<Attempt>> {
        let mut attempts = side.attempts(id).await?;
        attempts.drain(..attempts.len().saturating_sub(1));
        Ok(attempts)
    }
}
