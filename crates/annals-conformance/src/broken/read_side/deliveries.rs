//! Breaches of what [`DeliveryQueue`](annals_core::DeliveryQueue) says.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use annals_core::{
    Delivery, DeliveryId, DeliveryInfo, DeliveryState, Enqueue, InboxInfo, NewDelivery,
    SelectDeliveries, Settled, SubscriberName, SubscriberState, Take, Then, Timestamp,
};
use async_trait::async_trait;

use super::{Done, Side};
use crate::read_side::ReadSideDecorator;

const MOMENT: Duration = Duration::from_secs(1);

/// Enqueues anew what was made before.
#[derive(Debug)]
pub struct EnqueuesWhatWasMade;

#[async_trait]
impl ReadSideDecorator for EnqueuesWhatWasMade {
    async fn enqueue(&self, side: &Side, enqueue: Enqueue, now: Timestamp) -> Done<u64> {
        for new in &enqueue.deliveries {
            side.forget(&new.inbox, Timestamp::MAX, usize::MAX).await?;
        }
        side.enqueue(enqueue, now).await
    }
}

/// Enqueues in a transaction of its own, before the checkpoints move.
#[derive(Debug)]
pub struct EnqueuesBeforeItMoves;

#[async_trait]
impl ReadSideDecorator for EnqueuesBeforeItMoves {
    async fn enqueue(&self, side: &Side, enqueue: Enqueue, now: Timestamp) -> Done<u64> {
        let Enqueue { deliveries, advances } = enqueue;
        let added = side.enqueue(Enqueue { deliveries, advances: Vec::new() }, now).await?;
        for advance in &advances {
            side.advance(advance).await?;
        }
        Ok(added)
    }
}

/// Makes names fit.
#[derive(Debug)]
pub struct CutsNames;

fn cut(name: &mut Option<String>) {
    if let Some(name) = name {
        name.retain(|letter| letter != '\0');
        name.truncate(name.floor_char_boundary(NewDelivery::NAME_BYTES_MAX));
    }
}

#[async_trait]
impl ReadSideDecorator for CutsNames {
    async fn enqueue(&self, side: &Side, mut enqueue: Enqueue, now: Timestamp) -> Done<u64> {
        for new in &mut enqueue.deliveries {
            cut(&mut new.recipient);
            cut(&mut new.lane);
        }
        side.enqueue(enqueue, now).await
    }
}

/// Binds so many values at once and no more.
#[derive(Debug)]
pub struct EnqueuesOnePage;

#[async_trait]
impl ReadSideDecorator for EnqueuesOnePage {
    async fn enqueue(&self, side: &Side, mut enqueue: Enqueue, now: Timestamp) -> Done<u64> {
        enqueue.deliveries.truncate(5_000);
        side.enqueue(enqueue, now).await
    }
}

/// Keeps lanes, and does not look at them when it takes.
#[derive(Debug)]
pub struct IgnoresLanes;

/// Stands between a lane and what makes it a delivery's own.
const OWN: char = '\u{1}';

fn shown(lane: &mut Option<String>) {
    if let Some(lane) = lane {
        lane.truncate(lane.find(OWN).unwrap_or(lane.len()));
    }
}

#[async_trait]
impl ReadSideDecorator for IgnoresLanes {
    async fn enqueue(&self, side: &Side, mut enqueue: Enqueue, now: Timestamp) -> Done<u64> {
        for new in &mut enqueue.deliveries {
            let id = &new.id;
            new.lane = new.lane.as_ref().map(|lane| format!("{lane}{OWN}{id}"));
        }
        side.enqueue(enqueue, now).await
    }

    async fn take(&self, side: &Side, take: Take) -> Done<Vec<Delivery>> {
        let mut taken = side.take(take).await?;
        taken.iter_mut().for_each(|delivery| shown(&mut delivery.lane));
        Ok(taken)
    }

    async fn deliveries(
        &self,
        side: &Side,
        which: &SelectDeliveries,
        limit: usize,
    ) -> Done<Vec<DeliveryInfo>> {
        let mut infos = side.deliveries(which, limit).await?;
        infos.iter_mut().for_each(|info| shown(&mut info.lane));
        Ok(infos)
    }
}

/// Has one lane for all whose names differ in their case or in spaces.
#[derive(Debug)]
pub struct TrimsLanes;

#[async_trait]
impl ReadSideDecorator for TrimsLanes {
    async fn enqueue(&self, side: &Side, mut enqueue: Enqueue, now: Timestamp) -> Done<u64> {
        for new in &mut enqueue.deliveries {
            new.lane = new.lane.as_deref().map(|lane| lane.trim().to_lowercase());
        }
        side.enqueue(enqueue, now).await
    }
}

/// Has what is free at the same moment in any order.
#[derive(Debug)]
pub struct TakesInAnyOrder;

#[async_trait]
impl ReadSideDecorator for TakesInAnyOrder {
    async fn take(&self, side: &Side, take: Take) -> Done<Vec<Delivery>> {
        let mut taken = side.take(take).await?;
        taken.reverse();
        Ok(taken)
    }
}

/// Takes what will be due soon.
#[derive(Debug)]
pub struct TakesEarly;

#[async_trait]
impl ReadSideDecorator for TakesEarly {
    async fn take(&self, side: &Side, take: Take) -> Done<Vec<Delivery>> {
        side.take(Take { now: take.now.saturating_add(MOMENT), ..take }).await
    }
}

/// Leaves what somebody took who died to that one.
#[derive(Debug)]
pub struct WaitsForTheDead;

#[async_trait]
impl ReadSideDecorator for WaitsForTheDead {
    async fn take(&self, side: &Side, take: Take) -> Done<Vec<Delivery>> {
        side.take(Take { until: Timestamp::MAX, ..take }).await
    }
}

/// Looks for what is free, and marks it when somebody else may have it: at times two get the
/// same.
#[derive(Debug, Default)]
pub struct HandsOutTwice(Mutex<Option<Delivery>>);

#[async_trait]
impl ReadSideDecorator for HandsOutTwice {
    async fn take(&self, side: &Side, take: Take) -> Done<Vec<Delivery>> {
        let mut taken = side.take(take).await?;
        let mut before = self.0.lock().expect("no code panics while taking");
        let last = taken.last().cloned();
        taken.extend(before.take());
        *before = last;
        Ok(taken)
    }
}

/// Does not look at tokens.
#[derive(Debug, Default)]
pub struct ForgetsTokens {
    newest: Mutex<HashMap<DeliveryId, u64>>,
}

impl ForgetsTokens {
    fn token(&self, id: &DeliveryId, token: u64) -> u64 {
        let newest = self.newest.lock().expect("no code panics while looking");
        newest.get(id).copied().unwrap_or(token)
    }
}

#[async_trait]
impl ReadSideDecorator for ForgetsTokens {
    async fn take(&self, side: &Side, take: Take) -> Done<Vec<Delivery>> {
        let taken = side.take(take).await?;
        let mut newest = self.newest.lock().expect("no code panics while looking");
        newest.extend(taken.iter().map(|delivery| (delivery.id.clone(), delivery.token)));
        Ok(taken)
    }

    async fn keep(&self, side: &Side, taken: &[(DeliveryId, u64)], until: Timestamp) -> Done<()> {
        let newest = taken.iter().map(|(id, token)| (id.clone(), self.token(id, *token)));
        side.keep(&newest.collect::<Vec<_>>(), until).await
    }

    async fn settle(&self, side: &Side, mut settled: Vec<Settled>, now: Timestamp) -> Done<()> {
        for settled in &mut settled {
            settled.token = self.token(&settled.id, settled.token);
        }
        side.settle(settled, now).await
    }
}

/// Goes on with what a paused inbox has in its queue.
#[derive(Debug)]
pub struct TakesOfThePaused;

#[async_trait]
impl ReadSideDecorator for TakesOfThePaused {
    async fn take(&self, side: &Side, take: Take) -> Done<Vec<Delivery>> {
        let inbox = take.inbox.clone();
        let info = side.subscriber(&inbox).await?;
        if !info.is_some_and(|info| info.state == SubscriberState::Paused) {
            return side.take(take).await;
        }
        side.set_state(&inbox, SubscriberState::Disabled).await?;
        let taken = side.take(take).await;
        side.set_state(&inbox, SubscriberState::Paused).await?;
        taken
    }
}

/// Wakes up for what waits for its lane.
#[derive(Debug)]
pub struct WakesForLanes;

#[async_trait]
impl ReadSideDecorator for WakesForLanes {
    async fn next_due(&self, side: &Side, inbox: &SubscriberName) -> Done<Option<Timestamp>> {
        let waiting = SelectDeliveries::inbox(inbox.clone()).state(DeliveryState::Waiting);
        let waiting = side.deliveries(&waiting, usize::MAX).await?;
        let waiting = waiting.iter().map(|info| info.due_at).min();
        Ok(waiting.into_iter().chain(side.next_due(inbox).await?).min())
    }
}

/// Passes over dead letters in their lanes.
#[derive(Debug)]
pub struct PassesOverTheDead;

#[async_trait]
impl ReadSideDecorator for PassesOverTheDead {
    async fn settle(&self, side: &Side, settled: Vec<Settled>, now: Timestamp) -> Done<()> {
        let dead: Vec<_> = settled.iter().filter(|settled| settled.then == Then::Dead).collect();
        let dead: Vec<_> = dead.into_iter().map(|settled| settled.id.clone()).collect();
        side.settle(settled, now).await?;
        for id in dead {
            let which = SelectDeliveries::one(id).state(DeliveryState::Dead);
            side.skip(&which, "it is dead", now).await?;
        }
        Ok(())
    }
}

/// Settles the first of many.
#[derive(Debug)]
pub struct SettlesOne;

#[async_trait]
impl ReadSideDecorator for SettlesOne {
    async fn settle(&self, side: &Side, mut settled: Vec<Settled>, now: Timestamp) -> Done<()> {
        settled.truncate(1);
        side.settle(settled, now).await
    }
}

/// Changes what happens next.
async fn settled_as(
    side: &Side,
    mut settled: Vec<Settled>,
    now: Timestamp,
    change: impl Fn(Then) -> Then,
) -> Done<()> {
    for settled in &mut settled {
        settled.then = change(settled.then);
    }
    side.settle(settled, now).await
}

/// Tries again without waiting.
#[derive(Debug)]
pub struct TriesAgainAtOnce;

#[async_trait]
impl ReadSideDecorator for TriesAgainAtOnce {
    async fn settle(&self, side: &Side, settled: Vec<Settled>, now: Timestamp) -> Done<()> {
        let at_once = |then| match then {
            Then::Again(_) => Then::Again(now),
            then => then,
        };
        settled_as(side, settled, now, at_once).await
    }
}

/// Takes what is given back for tried.
#[derive(Debug)]
pub struct CountsWhatIsGivenBack;

#[async_trait]
impl ReadSideDecorator for CountsWhatIsGivenBack {
    async fn settle(&self, side: &Side, settled: Vec<Settled>, now: Timestamp) -> Done<()> {
        let tried = |then| match then {
            Then::GiveBack(due_at) => Then::Again(due_at),
            then => then,
        };
        settled_as(side, settled, now, tried).await
    }
}

/// Retries what is dead, and leaves what waits for its time.
#[derive(Debug)]
pub struct RetriesTheDead;

#[async_trait]
impl ReadSideDecorator for RetriesTheDead {
    async fn retry(&self, side: &Side, which: &SelectDeliveries, now: Timestamp) -> Done<u64> {
        side.retry(&which.clone().state(DeliveryState::Dead), now).await
    }
}

/// Does not say why.
#[derive(Debug)]
pub struct SkipsWithoutReason;

#[async_trait]
impl ReadSideDecorator for SkipsWithoutReason {
    async fn skip(
        &self,
        side: &Side,
        which: &SelectDeliveries,
        _: &str,
        now: Timestamp,
    ) -> Done<u64> {
        side.skip(which, "", now).await
    }
}

/// Selects whatever the recipient.
#[derive(Debug)]
pub struct SelectsAnyRecipient;

#[async_trait]
impl ReadSideDecorator for SelectsAnyRecipient {
    async fn deliveries(
        &self,
        side: &Side,
        which: &SelectDeliveries,
        limit: usize,
    ) -> Done<Vec<DeliveryInfo>> {
        let mut which = which.clone();
        which.recipient = None;
        side.deliveries(&which, limit).await
    }
}

/// Has pages that begin behind a position, whichever deliveries of it were on the one before.
#[derive(Debug)]
pub struct PagesByPosition;

#[async_trait]
impl ReadSideDecorator for PagesByPosition {
    async fn deliveries(
        &self,
        side: &Side,
        which: &SelectDeliveries,
        limit: usize,
    ) -> Done<Vec<DeliveryInfo>> {
        let mut which = which.clone();
        if let Some((_, id)) = &mut which.after {
            *id = DeliveryId::from_stored("\u{10ffff}");
        }
        side.deliveries(&which, limit).await
    }
}

/// Tells the age of dead letters too.
#[derive(Debug)]
pub struct CountsTheDeadAsOld;

#[async_trait]
impl ReadSideDecorator for CountsTheDeadAsOld {
    async fn inboxes(&self, side: &Side) -> Done<Vec<InboxInfo>> {
        let mut inboxes = side.inboxes().await?;
        for info in &mut inboxes {
            let dead = SelectDeliveries::inbox(info.inbox.clone()).state(DeliveryState::Dead);
            let dead = side.deliveries(&dead, usize::MAX).await?;
            let dead = dead.iter().map(|info| info.enqueued_at).min();
            info.oldest = info.oldest.into_iter().chain(dead).min();
        }
        Ok(inboxes)
    }
}

/// Forgets also what is as old as that.
#[derive(Debug)]
pub struct ForgetsTooMuch;

#[async_trait]
impl ReadSideDecorator for ForgetsTooMuch {
    async fn forget(
        &self,
        side: &Side,
        inbox: &SubscriberName,
        before: Timestamp,
        limit: usize,
    ) -> Done<u64> {
        side.forget(inbox, before.saturating_add(Duration::from_micros(1)), limit).await
    }
}

/// Forgets what is as old as that, whoever's it is.
#[derive(Debug)]
pub struct ForgetsForOthers;

#[async_trait]
impl ReadSideDecorator for ForgetsForOthers {
    async fn forget(
        &self,
        side: &Side,
        _: &SubscriberName,
        before: Timestamp,
        limit: usize,
    ) -> Done<u64> {
        let all = side.deliveries(&SelectDeliveries::all(), usize::MAX).await?;
        let mut inboxes: Vec<_> = all.into_iter().map(|info| info.inbox).collect();
        inboxes.sort_unstable();
        inboxes.dedup();
        let mut forgotten = 0;
        for inbox in inboxes {
            let left = limit.saturating_sub(usize::try_from(forgotten).unwrap_or(usize::MAX));
            forgotten += side.forget(&inbox, before, left).await?;
        }
        Ok(forgotten)
    }
}
