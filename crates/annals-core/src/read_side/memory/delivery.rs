//! Deliveries in memory.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;

use super::MemoryReadSide;
use crate::error::ReadSideError;
use crate::read_side::{
    Attempt, Delivery, DeliveryId, DeliveryInfo, DeliveryQueue, DeliveryState, Enqueue, InboxInfo,
    NewDelivery, SelectDeliveries, Settled, SubscriberState, Take, Then,
};
use crate::{Position, SubscriberName, Timestamp};

/// All deliveries, in the order in which they are listed and taken.
#[derive(Debug, Default)]
pub(super) struct Queue {
    deliveries: BTreeMap<(Position, DeliveryId), Queued>,
    positions: HashMap<DeliveryId, Position>,
    /// The last one that was given away.
    token: u64,
}

#[derive(Debug)]
struct Queued {
    info: DeliveryInfo,
    /// Of the last attempt that began.
    token: u64,
    /// Until when it is hidden, while it is taken.
    until: Timestamp,
    /// When it was made or skipped.
    over_at: Timestamp,
    /// What is remembered, with the attempts' tokens.
    attempts: Vec<(u64, Attempt)>,
}

#[async_trait]
impl DeliveryQueue for MemoryReadSide {
    async fn enqueue(&self, enqueue: Enqueue, now: Timestamp) -> Result<u64, ReadSideError> {
        enqueue.deliveries.iter().try_for_each(NewDelivery::check)?;
        let mut kept = self.kept();
        enqueue.advances.iter().try_for_each(|advance| kept.check(advance))?;
        enqueue.advances.iter().try_for_each(|advance| kept.advance(advance))?;
        let added = enqueue.deliveries.into_iter().filter(|new| kept.queue.add(new, now));
        Ok(added.count() as u64)
    }

    async fn take(&self, take: Take) -> Result<Vec<Delivery>, ReadSideError> {
        let mut kept = self.kept();
        let inbox = kept.subscribers.get(&take.inbox);
        if inbox.is_some_and(|inbox| inbox.state == SubscriberState::Paused) {
            return Ok(Vec::new());
        }
        Ok(kept.queue.take(&take))
    }

    async fn settle(&self, settled: Vec<Settled>, now: Timestamp) -> Result<(), ReadSideError> {
        let mut kept = self.kept();
        for settled in settled {
            if let Some(queued) = kept.queue.get(&settled.id) {
                queued.settle(settled, now);
            }
        }
        Ok(())
    }

    async fn keep(
        &self,
        taken: &[(DeliveryId, u64)],
        until: Timestamp,
    ) -> Result<(), ReadSideError> {
        let mut kept = self.kept();
        for (id, token) in taken {
            if let Some(queued) = kept.queue.get(id)
                && queued.is_of(*token)
            {
                queued.until = until;
            }
        }
        Ok(())
    }

    async fn next_due(&self, inbox: &SubscriberName) -> Result<Option<Timestamp>, ReadSideError> {
        let mut kept = self.kept();
        Ok(kept.queue.heads(inbox).filter_map(|queued| queued.free_at()).min())
    }

    async fn deliveries(
        &self,
        which: &SelectDeliveries,
        limit: usize,
    ) -> Result<Vec<DeliveryInfo>, ReadSideError> {
        let mut kept = self.kept();
        Ok(kept.queue.select(which).take(limit).map(|queued| queued.info.clone()).collect())
    }

    async fn attempts(&self, id: &DeliveryId) -> Result<Vec<Attempt>, ReadSideError> {
        let mut kept = self.kept();
        let Some(queued) = kept.queue.get(id) else { return Ok(Vec::new()) };
        Ok(queued.attempts.iter().map(|(_, attempt)| attempt.clone()).collect())
    }

    async fn retry(&self, which: &SelectDeliveries, now: Timestamp) -> Result<u64, ReadSideError> {
        let mut kept = self.kept();
        let tried = kept.queue.select(which).filter(|queued| queued.failed());
        let again = tried.map(|queued| {
            queued.info.state = DeliveryState::Waiting;
            queued.info.attempts = 0;
            queued.info.due_at = now;
        });
        Ok(again.count() as u64)
    }

    async fn skip(
        &self,
        which: &SelectDeliveries,
        reason: &str,
        now: Timestamp,
    ) -> Result<u64, ReadSideError> {
        let mut kept = self.kept();
        let skipped = kept.queue.select(which).filter(|queued| {
            matches!(queued.info.state, DeliveryState::Waiting | DeliveryState::Dead)
        });
        let skipped = skipped.map(|queued| {
            queued.info.state = DeliveryState::Skipped;
            queued.info.skipped = Some(reason.to_owned());
            queued.over_at = now;
        });
        Ok(skipped.count() as u64)
    }

    async fn inboxes(&self) -> Result<Vec<InboxInfo>, ReadSideError> {
        let kept = self.kept();
        let mut inboxes = BTreeMap::new();
        for queued in kept.queue.deliveries.values().filter(|queued| !queued.over()) {
            let inbox = &queued.info.inbox;
            let info = inboxes.entry(inbox.clone()).or_insert_with(|| none_of(inbox));
            queued.count_in(info);
        }
        Ok(inboxes.into_values().collect())
    }

    async fn forget(
        &self,
        inbox: &SubscriberName,
        before: Timestamp,
        limit: usize,
    ) -> Result<u64, ReadSideError> {
        let mut kept = self.kept();
        let queue = &mut kept.queue;
        let of_inbox = queue.deliveries.iter().filter(|(_, queued)| queued.info.inbox == *inbox);
        let old = of_inbox.filter(|(_, queued)| queued.over() && queued.over_at < before);
        let old: Vec<_> = old.take(limit).map(|(key, _)| key.clone()).collect();
        queue.remove(&old);
        Ok(old.len() as u64)
    }
}

impl Queue {
    fn get(&mut self, id: &DeliveryId) -> Option<&mut Queued> {
        let position = *self.positions.get(id)?;
        self.deliveries.get_mut(&(position, id.clone()))
    }

    /// Those of an inbox that somebody makes, and until when.
    pub(super) fn taken(
        &self,
        inbox: &SubscriberName,
        now: Timestamp,
    ) -> impl Iterator<Item = Timestamp> {
        let taken = self.deliveries.values().filter(|queued| {
            queued.info.inbox == *inbox && queued.info.state == DeliveryState::Taken
        });
        taken.map(|queued| queued.until).filter(move |until| *until > now)
    }

    /// Removes all of an inbox; how many these were.
    pub(super) fn remove_all(&mut self, inbox: &SubscriberName) -> u64 {
        let all = self.deliveries.iter().filter(|(_, queued)| queued.info.inbox == *inbox);
        let all: Vec<_> = all.map(|(key, _)| key.clone()).collect();
        self.remove(&all);
        all.len() as u64
    }

    fn remove(&mut self, keys: &[(Position, DeliveryId)]) {
        for key in keys {
            self.deliveries.remove(key);
            self.positions.remove(&key.1);
        }
    }

    fn select<'a>(
        &'a mut self,
        which: &'a SelectDeliveries,
    ) -> impl Iterator<Item = &'a mut Queued> {
        self.deliveries.values_mut().filter(|queued| which.selects(&queued.info))
    }

    fn add(&mut self, new: &NewDelivery, now: Timestamp) -> bool {
        if self.positions.contains_key(&new.id) {
            return false;
        }
        let info = DeliveryInfo {
            id: new.id.clone(),
            inbox: new.inbox.clone(),
            event: new.event.clone(),
            recipient: new.recipient.clone(),
            lane: new.lane.clone(),
            state: DeliveryState::Waiting,
            attempts: 0,
            due_at: new.due_at,
            enqueued_at: now,
            last_error: None,
            skipped: None,
        };
        let attempts = Vec::new();
        let queued = Queued { info, token: 0, until: now, over_at: now, attempts };
        self.positions.insert(new.id.clone(), new.event.position);
        self.deliveries.insert((new.event.position, new.id.clone()), queued);
        true
    }

    /// The deliveries of an inbox that do not wait for their lane.
    fn heads<'a>(&'a mut self, inbox: &'a SubscriberName) -> impl Iterator<Item = &'a mut Queued> {
        let mut lanes = HashSet::new();
        let open = self.deliveries.values_mut();
        let open = open.filter(move |queued| queued.info.inbox == *inbox && !queued.over());
        open.filter(move |queued| match &queued.info.lane {
            Some(lane) => lanes.insert(lane.clone()),
            None => true,
        })
    }

    fn take(&mut self, take: &Take) -> Vec<Delivery> {
        let mut token = self.token;
        let due = self.heads(&take.inbox);
        let due = due.filter(|queued| queued.free_at().is_some_and(|at| at <= take.now));
        let taken = due.take(take.limit).map(|queued| {
            token += 1;
            queued.begin(token, take.until)
        });
        let taken = taken.collect();
        self.token = token;
        taken
    }
}

impl Queued {
    /// Whether it is made or skipped.
    fn over(&self) -> bool {
        matches!(self.info.state, DeliveryState::Done | DeliveryState::Skipped)
    }

    /// Whether it is dead, or waits to be tried again.
    fn failed(&self) -> bool {
        match self.info.state {
            DeliveryState::Dead => true,
            DeliveryState::Waiting => self.info.attempts > 0,
            _ => false,
        }
    }

    /// From when on it may be taken, its lane aside.
    fn free_at(&self) -> Option<Timestamp> {
        match self.info.state {
            DeliveryState::Waiting => Some(self.info.due_at),
            DeliveryState::Taken => Some(self.until),
            _ => None,
        }
    }

    /// Whether this attempt is the one that goes on.
    fn is_of(&self, token: u64) -> bool {
        self.info.state == DeliveryState::Taken && self.token == token
    }

    fn begin(&mut self, token: u64, until: Timestamp) -> Delivery {
        self.info.state = DeliveryState::Taken;
        self.info.attempts += 1;
        self.token = token;
        self.until = until;
        Delivery {
            id: self.info.id.clone(),
            inbox: self.info.inbox.clone(),
            event: self.info.event.clone(),
            recipient: self.info.recipient.clone(),
            lane: self.info.lane.clone(),
            attempt: self.info.attempts,
            enqueued_at: self.info.enqueued_at,
            token,
        }
    }

    fn settle(&mut self, settled: Settled, now: Timestamp) {
        if self.is_of(settled.token) {
            if let Some(error) = settled.attempt.as_ref().and_then(|attempt| attempt.error.as_ref())
            {
                self.info.last_error = Some(error.clone());
            }
            match settled.then {
                Then::Done => {
                    self.info.state = DeliveryState::Done;
                    self.over_at = now;
                }
                Then::Again(due_at) => {
                    self.info.state = DeliveryState::Waiting;
                    self.info.due_at = due_at;
                }
                Then::GiveBack(due_at) => {
                    self.info.state = DeliveryState::Waiting;
                    self.info.due_at = due_at;
                    self.info.attempts -= 1;
                }
                Then::Dead => self.info.state = DeliveryState::Dead,
            }
        }
        if let Some(attempt) = settled.attempt {
            self.remember(settled.token, attempt);
        }
    }

    fn remember(&mut self, token: u64, attempt: Attempt) {
        let at_once = attempt.error.is_none() && self.attempts.is_empty();
        if at_once || self.attempts.iter().any(|(known, _)| *known == token) {
            return;
        }
        self.attempts.push((token, attempt));
        self.attempts.sort_by_key(|(token, _)| *token);
    }

    fn count_in(&self, inbox: &mut InboxInfo) {
        match self.info.state {
            DeliveryState::Waiting if self.info.attempts > 0 => inbox.retrying += 1,
            DeliveryState::Waiting => inbox.waiting += 1,
            DeliveryState::Taken => inbox.taken += 1,
            DeliveryState::Dead => inbox.dead += 1,
            DeliveryState::Done | DeliveryState::Skipped => {}
        }
        if self.info.state != DeliveryState::Dead {
            let since = self.info.enqueued_at;
            inbox.oldest = Some(inbox.oldest.map_or(since, |oldest| oldest.min(since)));
        }
    }
}

fn none_of(inbox: &SubscriberName) -> InboxInfo {
    let inbox = inbox.clone();
    InboxInfo { inbox, waiting: 0, retrying: 0, taken: 0, dead: 0, oldest: None }
}
