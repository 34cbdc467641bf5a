//! Checkpoints are found again by whoever opens the place they were kept at.

use annals_core::{Advance, Claim, SubscriberState};

use crate::read_side::DurableReadSide;
use crate::read_side::probe::{Probe, at, claim, failure, must, name, parked, to};

pub(in crate::read_side) async fn checkpoints_are_found_after_opening_again(
    backend: &dyn DurableReadSide,
) {
    let side = Probe::open_at(backend, "place").await;
    side.enrolled("a", 2).await;
    let gone = side.begun("a").await;
    must("to discard", side.discard(&name("a"), gone)).await;
    let second = side.begun("a").await;
    let lease = side.claimed(claim("a", "owner")).await;
    let aside = Advance { parked: vec![parked(4, "poison")], ..to(&lease, 5) };
    must("to advance", side.advance(&aside)).await;
    must("to fail", side.fail(&lease, failure("broken"))).await;
    must("to pause", side.set_state(&name("a"), SubscriberState::Paused)).await;
    let before = side.status("a").await;
    drop(side);

    let side = Probe::open_at(backend, "place").await;
    assert_eq!(side.status("a").await, before);
    assert_eq!(must("what is parked", side.parked(&name("a"), 9)).await, [parked(4, "poison")]);
    assert_eq!(must("to ask", side.claim(claim("a", "other"))).await, None);
    must("the owner goes on", side.advance(&to(&lease, 6))).await;
    let next = side.claimed(Claim { now: at(20), until: at(30), ..claim("a", "other") }).await;
    assert!(next.fence > lease.fence, "{next:?} comes behind {lease:?}");
    side.has_lost(&lease).await;
    let third = side.begun("a").await;
    assert!(third > second && second > gone, "{third} comes behind {second} and {gone}");
    drop(side);

    let side = Probe::open_at(backend, "place").await;
    side.has_lost(&lease).await;
    let last = side.claimed(Claim { now: at(30), until: at(40), ..claim("a", "owner") }).await;
    assert!(last.fence > next.fence, "{last:?} comes behind {next:?}");
}
