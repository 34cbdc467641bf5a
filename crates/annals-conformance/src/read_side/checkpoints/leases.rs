//! A part is worked by one at a time, whatever the clocks say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_core::error::ReadSideError;
use annals_core::{Claim, Lease, Partition, Position, Renewed, Role, SubscriberState};

use crate::probe::within;
use crate::read_side::ReadSideBackend;
use crate::read_side::probe::{Probe, at, claim, must, name, to, unknown};
use crate::storm::together;

/// A claim at a moment, for so many seconds.
fn claim_at(owner: &str, now: u64, lasting: u64) -> Claim {
    Claim { now: at(now), until: at(now + lasting), ..claim("a", owner) }
}

pub(in crate::read_side) async fn checkpoints_have_one_owner(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    side.enrolled("a", 1).await;
    let first = side.claimed(claim_at("one", 0, 10)).await;
    assert_eq!(side.part("a").await.owner, Some(("one".to_owned(), at(10))));
    let before = side.status("a").await;
    assert_eq!(must("to ask", side.claim(claim_at("two", 0, 10))).await, None);
    assert_eq!(must("to ask", side.claim(claim_at("two", 9, 10))).await, None);
    assert_eq!(side.status("a").await, before);
    must("the owner goes on", side.advance(&to(&first, 3))).await;

    let second = side.claimed(claim_at("two", 10, 10)).await;
    assert!(second.fence > first.fence, "{second:?} comes behind {first:?}");
    assert_eq!(second.position, Position::new(3));
    assert_eq!(side.part("a").await.owner, Some(("two".to_owned(), at(20))));
    side.has_lost(&first).await;
    must("the owner goes on", side.advance(&to(&second, 4))).await;
    assert_eq!(must("to ask", side.claim(claim_at("one", 11, 10))).await, None);
}

pub(in crate::read_side) async fn checkpoints_have_a_higher_fence_with_each_claim(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let mut last: Option<Lease> = None;
    side.enrolled("a", 1).await;
    for (step, owner) in ["one", "one", "two", "two", "one", "two"].iter().enumerate() {
        let now = 20 * step as u64;
        let lease = side.claimed(claim_at(owner, now, 10)).await;
        if let Some(last) = &last {
            assert!(lease.fence > last.fence, "step {step}: {lease:?} comes behind {last:?}");
            side.has_lost(last).await;
        }
        must("the owner goes on", side.advance(&to(&lease, now + 1))).await;
        // At times it is given back, and claimed by the same owner.
        if step % 2 == 0 {
            must("to release", side.release(&lease)).await;
            let again = side.claimed(claim_at(owner, now, 10)).await;
            assert!(again.fence > lease.fence, "step {step}: {again:?} comes behind {lease:?}");
            side.has_lost(&lease).await;
            last = Some(again);
        } else {
            last = Some(lease);
        }
    }
}

pub(in crate::read_side) async fn checkpoints_renewed_are_kept_longer(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    side.enrolled("a", 1).await;
    let lease = side.claimed(claim_at("one", 0, 10)).await;
    let renewed = must("to renew", side.renew(&lease, at(30))).await;
    let running = Renewed { state: SubscriberState::Running, role: Role::Active, failed: false };
    assert_eq!(renewed, running);
    assert_eq!(side.part("a").await.owner, Some(("one".to_owned(), at(30))));
    assert_eq!(must("to ask", side.claim(claim_at("two", 29, 10))).await, None);
    // Late, but nobody else came.
    must("to renew", side.renew(&lease, at(60))).await;
    assert_eq!(must("to ask", side.claim(claim_at("two", 59, 10))).await, None);
    must("the owner goes on", side.advance(&to(&lease, 1))).await;
    side.claimed(claim_at("two", 60, 10)).await;
    side.has_lost(&lease).await;
}

pub(in crate::read_side) async fn checkpoints_released_are_free(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    side.enrolled("a", 1).await;
    let first = side.claimed(claim_at("one", 0, 10)).await;
    must("to release", side.release(&first)).await;
    assert_eq!(side.part("a").await.owner, None);
    side.has_lost(&first).await;
    let second = side.claimed(claim_at("two", 1, 10)).await;
    assert!(second.fence > first.fence, "{second:?} comes behind {first:?}");
    must("to release what is lost", side.release(&first)).await;
    assert_eq!(must("to ask", side.claim(claim_at("one", 2, 10))).await, None);
    must("the owner goes on", side.advance(&to(&second, 1))).await;
}

pub(in crate::read_side) async fn checkpoints_of_parts_are_claimed_apart(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    side.enrolled("a", 3).await;
    side.enrolled("b", 1).await;
    let part = |partition, owner| Claim { partition, ..claim("a", owner) };
    let first = side.claimed(part(0, "one")).await;
    let second = side.claimed(part(1, "two")).await;
    let other = side.claimed(claim("b", "two")).await;
    let parts = [first.partition, second.partition, other.partition];
    let apart = [0, 1].map(|index| Partition { index, count: 3 });
    assert_eq!(parts, [apart[0], apart[1], Partition::WHOLE]);
    unknown("a part too many", side.claim(part(3, "one"))).await;
    unknown("a part too many", side.claim(part(u32::MAX, "one"))).await;
    unknown(
        "a generation",
        side.claim(Claim { generation: annals_core::Generation::new(9), ..part(0, "one") }),
    )
    .await;
    must("to advance", side.advance(&to(&second, 8))).await;
    must("to release", side.release(&first)).await;
    let status = side.status("a").await;
    let parts = &status.generations[0].partitions;
    let positions: Vec<_> = parts.iter().map(|part| part.position.get()).collect();
    let owners: Vec<_> = parts.iter().map(|part| part.owner.is_some()).collect();
    assert_eq!((positions, owners), (vec![0, 8, 0], vec![false, true, false]));
    assert_eq!(status.generations[0].position(), Position::START);
    assert_eq!(side.part("b").await.position, Position::START);
    assert_eq!(must("a look", side.subscriber(&name("b"))).await, Some(side.status("b").await));
    must("to advance", side.advance(&to(&other, 1))).await;
}

/// Their leases run out all the time, so that many commit with a lease that is lost.
pub(in crate::read_side) async fn checkpoints_are_claimed_by_16_tasks_one_at_a_time(
    backend: &dyn ReadSideBackend,
) {
    const TASKS: usize = 16;
    const ROUNDS: usize = 30;
    let side = Probe::open(backend).await;
    side.enrolled("a", 1).await;
    let clock = Arc::new(AtomicU64::new(0));
    let commits = together(TASKS, |task| {
        let (side, clock) = (side.clone(), clock.clone());
        async move {
            let mut commits = Vec::new();
            for _ in 0..ROUNDS {
                let now = clock.fetch_add(1, Ordering::Relaxed);
                let claim = claim_at(&format!("task {task}"), now, 3);
                let Some(lease) = must("to ask", side.claim(claim)).await else { continue };
                tokio::task::yield_now().await;
                let next = lease.position.get() + 1;
                match within("an advance", side.advance(&to(&lease, next))).await {
                    Ok(()) => commits.push((next, lease.fence)),
                    Err(ReadSideError::Fenced(_)) => {}
                    Err(error) => panic!("an advance is made or fenced, but: {error:?}"),
                }
            }
            commits
        }
    })
    .await;
    let mut fences = BTreeMap::new();
    for (position, fence) in commits.into_iter().flatten() {
        let twice = fences.insert(position, fence);
        assert_eq!(twice, None, "position {position} was reached twice, by {fence} too");
    }
    let part = side.part("a").await;
    let counted = fences.len() as u64;
    assert_eq!((part.position.get(), part.events), (counted, counted), "{part:?}");
    let in_order: Vec<_> = fences.into_values().collect();
    assert!(in_order.is_sorted(), "whoever came later has the higher fence: {in_order:?}");
}
