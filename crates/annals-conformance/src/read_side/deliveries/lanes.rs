//! Within a lane one delivery is made after the other, and no lane holds up another.

use annals_core::{DeliveryState, NewDelivery};

use super::words::{
    HIDDEN, again, dead, delivery, done, given_back, in_lane, one, positions, to_recipient,
};
use crate::read_side::ReadSideBackend;
use crate::read_side::probe::{HOSTILE, Probe, at, must};

pub(in crate::read_side) async fn deliveries_of_a_lane_are_taken_one_after_the_other(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    side.put([4, 1, 3].map(|position| in_lane("mail", position, "l"))).await;
    side.put([in_lane("mail", 2, "m"), delivery("mail", 5), delivery("mail", 6)]).await;
    let taken = side.taken("mail", 1, 9).await;
    assert_eq!(positions(&taken), [1, 2, 5, 6]);
    assert_eq!(side.takes("mail", 1).await, [0_u64; 0]);
    side.settled(done(&taken[0]), 1).await;
    let third = side.takes_one("mail", 1).await;
    assert_eq!(third.event.position.get(), 3);
    // What is not settled holds up its lane, and is taken again before the rest.
    assert_eq!(side.takes("mail", 1 + HIDDEN).await, [2, 3, 5, 6]);
    side.settled(done(&third), 1 + HIDDEN).await;
    assert_eq!(side.takes("mail", 1 + HIDDEN).await, [0_u64; 0], "that one was too late");
    // One that comes late comes first.
    assert_eq!(side.enqueued(vec![in_lane("mail", 2, "l")], 1).await, 0);
    side.put([to_recipient(in_lane("mail", 2, "l"), "late")]).await;
    let late = side.takes_one("mail", 2 + HIDDEN).await;
    assert_eq!(late.recipient.as_deref(), Some("late"));
}

/// At one position it goes by id.
pub(in crate::read_side) async fn deliveries_of_one_event_in_a_lane_go_by_id(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let recipients = ["b", "a", "c"];
    side.put(recipients.map(|to| to_recipient(in_lane("mail", 1, "l"), to))).await;
    for expected in ["a", "b", "c"] {
        let taken = side.takes_one("mail", 1).await;
        assert_eq!(taken.recipient.as_deref(), Some(expected));
        side.settled(done(&taken), 1).await;
    }
}

pub(in crate::read_side) async fn deliveries_that_fail_hold_up_their_lane_alone(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let lanes = ["again", "back", "dead", "late", "done"];
    for (lane, number) in lanes.iter().zip(1..) {
        side.put([in_lane("mail", number, lane), in_lane("mail", 10 + number, lane)]).await;
    }
    let taken = side.taken("mail", 1, 99).await;
    assert_eq!(positions(&taken), [1, 2, 3, 4, 5]);
    side.settled(again(&taken[0], 5), 1).await;
    side.settled(given_back(&taken[1], 6), 1).await;
    side.settled(dead(&taken[2]), 1).await;
    side.settled(done(&taken[4]), 1).await;
    let free = side.takes_one("mail", 2).await;
    assert_eq!(free.event.position.get(), 15);
    side.settled(done(&free), 2).await;

    let first = side.takes_one("mail", 5).await;
    assert_eq!(first.event.position.get(), 1, "its lane's rest waits for it");
    side.settled(done(&first), 5).await;
    let next = side.takes_one("mail", 5).await;
    assert_eq!(next.event.position.get(), 11);
    side.settled(done(&next), 5).await;
    assert_eq!(positions(&[side.takes_one("mail", 6).await]), [2]);

    assert_eq!(side.state("mail", 13).await, DeliveryState::Waiting);
    must("to retry", side.retry(&one("mail", 3), at(7))).await;
    let retried = side.takes_one("mail", 7).await;
    assert_eq!(retried.event.position.get(), 3);
    side.settled(dead(&retried), 7).await;
    assert_eq!(side.takes("mail", 7).await, [0_u64; 0]);
    must("to skip", side.skip(&one("mail", 3), "why", at(8))).await;
    assert_eq!(side.takes("mail", 8).await, [13]);
}

/// A head that is not due holds up what is.
pub(in crate::read_side) async fn deliveries_wait_for_a_head_that_is_not_due(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let later = NewDelivery { due_at: at(20), ..in_lane("mail", 1, "l") };
    side.put([later, in_lane("mail", 2, "l"), in_lane("mail", 3, "m")]).await;
    assert_eq!(side.takes("mail", 1).await, [3]);
    let head = side.taken("mail", 20, 1).await;
    assert_eq!(positions(&head), [1]);
    side.settled(done(&head[0]), 20).await;
    assert_eq!(positions(&side.taken("mail", 20, 1).await), [2]);
}

pub(in crate::read_side) async fn deliveries_in_other_lanes_are_not_held_up(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let mut lanes: Vec<&str> = HOSTILE.into();
    lanes.extend(["a", "A", "a ", "\u{e9}", "e\u{301}", "e"]);
    for (lane, number) in lanes.iter().zip(1..) {
        side.put([in_lane("mail", number, lane), in_lane("mail", 100 + number, lane)]).await;
        side.put([in_lane("chat", number, lane)]).await;
    }
    side.put([delivery("mail", 50), delivery("mail", 51)]).await;
    let heads: Vec<_> = (1..=lanes.len() as u64).chain([50, 51]).collect();
    assert_eq!(side.takes("mail", 1).await, heads);
    assert_eq!(side.takes("chat", 1).await, heads[..lanes.len()]);
}
