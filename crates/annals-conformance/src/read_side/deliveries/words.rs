//! Short ways to write down what is delivered, and what becomes of it.

use std::time::Duration;

use annals_core::{
    Attempt, Delivery, DeliveryId, DeliveryInfo, DeliveryState, Enqueue, EventRef, NewDelivery,
    Position, SelectDeliveries, Settled, Take, Then, Timestamp, Version,
};

use crate::read_side::probe::{Probe, at, event_id, must, name};
use crate::words::{event_type, stream};

/// How long a delivery is hidden, unless said otherwise.
pub(super) const HIDDEN: u64 = 10;

/// Of the event at a position, due at once.
pub(super) fn delivery(inbox: &str, position: u64) -> NewDelivery {
    NewDelivery {
        id: id(inbox, position),
        inbox: name(inbox),
        event: EventRef {
            id: event_id(position),
            position: Position::new(position),
            stream: stream(format!("order-{}", position % 3)),
            version: Version::new(position + 1),
            event_type: event_type(if position.is_multiple_of(2) { "Even" } else { "Odd" }),
        },
        recipient: None,
        lane: None,
        due_at: at(0),
    }
}

pub(super) fn in_lane(inbox: &str, position: u64, lane: &str) -> NewDelivery {
    NewDelivery { lane: Some(lane.to_owned()), ..delivery(inbox, position) }
}

/// The same to somebody behind the inbox.
pub(super) fn to_recipient(new: NewDelivery, recipient: &str) -> NewDelivery {
    let id = DeliveryId::new(&new.inbox, new.event.id, Some(recipient));
    NewDelivery { id, recipient: Some(recipient.to_owned()), ..new }
}

pub(super) fn id(inbox: &str, position: u64) -> DeliveryId {
    DeliveryId::new(&name(inbox), event_id(position), None)
}

pub(super) fn one(inbox: &str, position: u64) -> SelectDeliveries {
    SelectDeliveries::one(id(inbox, position))
}

/// The delivery as it stands after it was enqueued at a moment.
pub(super) fn waiting(new: &NewDelivery, enqueued_at: Timestamp) -> DeliveryInfo {
    DeliveryInfo {
        id: new.id.clone(),
        inbox: new.inbox.clone(),
        event: new.event.clone(),
        recipient: new.recipient.clone(),
        lane: new.lane.clone(),
        state: DeliveryState::Waiting,
        attempts: 0,
        due_at: new.due_at,
        enqueued_at,
        last_error: None,
        skipped: None,
    }
}

pub(super) fn take(inbox: &str, now: u64, limit: usize) -> Take {
    Take { inbox: name(inbox), limit, now: at(now), until: at(now + HIDDEN) }
}

/// What is remembered of an attempt that went wrong, or did not.
pub(super) fn attempt(of: &Delivery, error: Option<&str>) -> Attempt {
    Attempt {
        number: of.attempt,
        at: at(1_000 + of.token % 1_000),
        duration: Duration::from_micros(1_234),
        error: error.map(str::to_owned),
        note: None,
    }
}

fn settled(of: &Delivery, error: Option<&str>, then: Then) -> Settled {
    let attempt = Some(attempt(of, error));
    Settled { id: of.id.clone(), token: of.token, attempt, then }
}

pub(super) fn done(of: &Delivery) -> Settled {
    settled(of, None, Then::Done)
}

pub(super) fn again(of: &Delivery, due: u64) -> Settled {
    settled(of, Some("try again"), Then::Again(at(due)))
}

pub(super) fn dead(of: &Delivery) -> Settled {
    settled(of, Some("given up"), Then::Dead)
}

pub(super) fn given_back(of: &Delivery, due: u64) -> Settled {
    Settled { attempt: None, ..settled(of, None, Then::GiveBack(at(due))) }
}

impl Probe {
    /// Enqueues at moment 0 what must be new.
    pub(super) async fn put(&self, deliveries: impl IntoIterator<Item = NewDelivery>) {
        let deliveries: Vec<_> = deliveries.into_iter().collect();
        let count = deliveries.len() as u64;
        assert_eq!(self.enqueued(deliveries, 0).await, count, "all are new");
    }

    /// How many were new.
    pub(super) async fn enqueued(&self, deliveries: Vec<NewDelivery>, now: u64) -> u64 {
        let enqueue = Enqueue { deliveries, advances: Vec::new() };
        must("to enqueue", self.enqueue(enqueue, at(now))).await
    }

    pub(super) async fn taken(&self, inbox: &str, now: u64, limit: usize) -> Vec<Delivery> {
        must("to take", (**self).take(take(inbox, now, limit))).await
    }

    /// The positions of what can be taken.
    pub(super) async fn takes(&self, inbox: &str, now: u64) -> Vec<u64> {
        positions(&self.taken(inbox, now, 1_000).await)
    }

    /// The only one that can be taken.
    pub(super) async fn takes_one(&self, inbox: &str, now: u64) -> Delivery {
        let taken = self.taken(inbox, now, 1_000).await;
        let [one] = &taken[..] else { panic!("one delivery can be taken, but: {taken:?}") };
        one.clone()
    }

    pub(super) async fn settled(&self, settled: Settled, now: u64) {
        must("to settle", self.settle(vec![settled], at(now))).await;
    }

    pub(super) async fn listed(&self, which: SelectDeliveries) -> Vec<DeliveryInfo> {
        must("a list", self.deliveries(&which, 100_000)).await
    }

    pub(super) async fn info(&self, inbox: &str, position: u64) -> DeliveryInfo {
        let found = self.listed(one(inbox, position)).await;
        let [info] = &found[..] else { panic!("{inbox}/{position} must be there: {found:?}") };
        info.clone()
    }

    pub(super) async fn state(&self, inbox: &str, position: u64) -> DeliveryState {
        self.info(inbox, position).await.state
    }

    pub(super) async fn remembered(&self, id: &DeliveryId) -> Vec<Attempt> {
        must("attempts", self.attempts(id)).await
    }
}

pub(super) fn positions(taken: &[Delivery]) -> Vec<u64> {
    taken.iter().map(|delivery| delivery.event.position.get()).collect()
}
