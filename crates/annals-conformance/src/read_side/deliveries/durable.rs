//! Deliveries are found again by whoever opens the place they were kept at.

use annals_core::{Enqueue, SelectDeliveries};

use super::words::{HIDDEN, again, dead, delivery, done, id, in_lane, one, positions};
use crate::read_side::DurableReadSide;
use crate::read_side::probe::{Probe, at, must, to};

pub(in crate::read_side) async fn deliveries_are_found_after_opening_again(
    backend: &dyn DurableReadSide,
) {
    let side = Probe::open_at(backend, "place").await;
    let lease = side.working("mail").await;
    let deliveries = (1..=6).map(|position| in_lane("mail", position, &format!("{position}")));
    let enqueue = Enqueue { deliveries: deliveries.collect(), advances: vec![to(&lease, 6)] };
    assert_eq!(must("to enqueue", side.enqueue(enqueue.clone(), at(0))).await, 6);
    let taken = side.taken("mail", 0, 5).await;
    side.settled(done(&taken[0]), 1).await;
    side.settled(dead(&taken[1]), 1).await;
    side.settled(again(&taken[2], 50), 1).await;
    must("to skip", side.skip(&one("mail", 6), "why", at(1))).await;
    let before = side.listed(SelectDeliveries::all()).await;
    let attempts = side.remembered(&id("mail", 2)).await;
    drop(side);

    let side = Probe::open_at(backend, "place").await;
    assert_eq!(side.listed(SelectDeliveries::all()).await, before);
    assert_eq!(side.remembered(&id("mail", 2)).await, attempts);
    assert_eq!(side.enqueued(enqueue.deliveries, 9).await, 0);
    assert_eq!(side.takes("mail", 1).await, [0_u64; 0]);
    // Whoever has it goes on, and who is dead has lost it.
    side.settled(done(&taken[3]), 2).await;
    let fifth = side.taken("mail", HIDDEN, 9).await;
    assert_eq!((positions(&fifth), fifth[0].attempt), (vec![5], 2));
    assert!(fifth[0].token > taken[4].token, "{fifth:?} comes behind {taken:?}");
    side.put([delivery("mail", 7)]).await;
    drop(side);

    let side = Probe::open_at(backend, "place").await;
    side.settled(done(&fifth[0]), 11).await;
    assert_eq!(side.takes("mail", 50).await, [3, 7]);
}
