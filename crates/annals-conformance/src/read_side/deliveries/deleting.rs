//! With an inbox go its deliveries, which can be enqueued anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_core::error::ReadSideError;
use annals_core::{
    Attempt, Deleted, DeliveryState, Enqueue, InboxInfo, SelectDeliveries, SubscriberName, UsedBy,
};

use super::words::{HIDDEN, again, dead, delivery, done, id, in_lane, one, positions};
use crate::probe::within;
use crate::read_side::ReadSideBackend;
use crate::read_side::probe::{Probe, at, must, name, unknown};
use crate::storm::together;

/// More than what a read side deletes at once.
const MANY: u64 = 2_500;

fn of(inbox: &str) -> SelectDeliveries {
    SelectDeliveries::inbox(name(inbox))
}

/// One delivery of each kind, of which none is taken at moment 10.
async fn one_of_each(side: &Probe, inbox: &str) {
    side.put((1..=7).map(|position| in_lane(inbox, position, &position.to_string()))).await;
    let taken = side.taken(inbox, 0, 4).await;
    side.settled(done(&taken[0]), 1).await;
    side.settled(again(&taken[1], 100), 1).await;
    side.settled(dead(&taken[2]), 1).await;
    must("to skip", side.skip(&one(inbox, 5), "why", at(1))).await;
}

pub(in crate::read_side) async fn deliveries_of_a_deleted_inbox_are_gone(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    for inbox in ["mail", "mails"] {
        side.enrolled(inbox, 1).await;
        one_of_each(&side, inbox).await;
        side.put((1_001..=1_000 + MANY).map(|position| in_lane(inbox, position, "long"))).await;
    }
    let of_others = side.listed(of("mails")).await;
    let deleted = must("to delete", side.delete(&name("mail"), at(HIDDEN))).await;
    assert_eq!(deleted, Deleted { deliveries: 7 + MANY, ..Deleted::default() });

    assert_eq!(side.listed(of("mail")).await, []);
    assert_eq!(side.listed(SelectDeliveries::all()).await, of_others);
    assert_eq!(side.remembered(&id("mail", 2)).await, [] as [Attempt; 0]);
    let inboxes: Vec<InboxInfo> = must("figures", side.inboxes()).await;
    assert_eq!(inboxes.len(), 1, "{inboxes:?}");
    assert_eq!(side.takes("mail", 1_000).await, [] as [u64; 0]);
    assert_eq!(must("nothing", side.next_due(&name("mail"))).await, None);
    unknown("deleting it again", side.delete(&name("mail"), at(HIDDEN))).await;

    // It may be fed without ever having enrolled.
    side.put([in_lane("mail", 2, "l"), in_lane("mail", 1, "l"), delivery("mail", 3)]).await;
    assert_eq!(side.takes("mail", 0).await, [1, 3]);
    assert_eq!(side.remembered(&id("mail", 2)).await, [] as [Attempt; 0]);
    assert_eq!(side.state("mail", 2).await, DeliveryState::Waiting);
    let deleted = must("to delete", side.delete(&name("mail"), at(HIDDEN))).await;
    assert_eq!(deleted, Deleted { deliveries: 3, ..Deleted::default() });
}

pub(in crate::read_side) async fn deliveries_that_are_being_made_are_not_deleted(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    side.enrolled("mail", 1).await;
    side.put((1..=3).map(|position| delivery("mail", position))).await;
    side.put([in_lane("mail", 5, "l")]).await;
    let taken = side.taken("mail", 0, 2).await;
    let overtaken = side.taken("mail", 5, 2).await;
    assert_eq!(positions(&overtaken), [3, 5]);
    // One that stands earlier takes the first place of the lane, but not the attempt.
    side.put([in_lane("mail", 4, "l")]).await;
    let before = side.listed(of("mail")).await;
    for (now, deliveries) in [(0, 4), (9, 4), (10, 2), (14, 2)] {
        let outcome = within("deleting it", side.delete(&name("mail"), at(now))).await;
        let Err(ReadSideError::InUse { by, .. }) = outcome else {
            panic!("they are being made at {now}, but: {outcome:?}");
        };
        assert_eq!(by, UsedBy::Deliveries { deliveries, until: at(15) }, "at {now}");
    }
    assert_eq!(side.listed(of("mail")).await, before);
    side.status("mail").await;
    side.settled(done(&overtaken[0]), 14).await;
    must("to delete", side.delete(&name("mail"), at(15))).await;

    // Whoever made them comes back, and finds others in their places.
    for late in taken.iter().chain(&overtaken) {
        side.settled(done(late), 15).await;
    }
    side.put((1..=3).map(|position| delivery("mail", position))).await;
    let anew = side.taken("mail", 15, 3).await;
    assert_eq!(anew.len(), 3);
    for late in taken.iter().chain(&overtaken) {
        side.settled(dead(late), 16).await;
    }
    for delivery in &anew {
        assert_eq!(delivery.attempt, 1);
        let info = side.info("mail", delivery.event.position.get()).await;
        assert_eq!(info.state, DeliveryState::Taken, "an attempt from before settles {info:?}");
    }
}

const WORKERS: usize = 6;
const ROUNDS: u64 = 30;

/// No delivery is left behind where nobody finds it, in the way of the same one.
pub(in crate::read_side) async fn deliveries_enqueued_while_their_inbox_is_deleted_come_again(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let enqueuing = Arc::new(AtomicU64::new(WORKERS as u64 - 1));
    together(WORKERS, |number| {
        let (side, enqueuing) = (side.clone(), Arc::clone(&enqueuing));
        async move {
            if number == 0 {
                while enqueuing.load(Ordering::Acquire) > 0 {
                    delete(&side, &name("mail")).await;
                    tokio::task::yield_now().await;
                }
                return;
            }
            for round in 0..ROUNDS {
                let enqueue =
                    Enqueue { deliveries: of_round(number as u64, round), advances: vec![] };
                must("to enqueue", side.enqueue(enqueue, at(0))).await;
            }
            enqueuing.fetch_sub(1, Ordering::Release);
        }
    })
    .await;

    delete(&side, &name("mail")).await;
    assert_eq!(side.listed(SelectDeliveries::all()).await, []);
    for number in 1..WORKERS as u64 {
        for round in 0..ROUNDS {
            side.put(of_round(number, round)).await;
        }
    }
}

/// One in no lane, and one in a lane that all share.
fn of_round(number: u64, round: u64) -> Vec<annals_core::NewDelivery> {
    let position = 2 * (number * ROUNDS + round);
    vec![delivery("mail", position), in_lane("mail", position + 1, "l")]
}

/// Deletes it, if it is there.
async fn delete(side: &Probe, inbox: &SubscriberName) {
    match within("deleting it", side.delete(inbox, at(0))).await {
        Ok(_) | Err(ReadSideError::Unknown(_)) => {}
        Err(error) => panic!("it must be deleted, or not known, but: {error:?}"),
    }
}
