//! A checkpoint moves on, and says why when it does not.

use annals_core::{Advance, Claim, Failure, Position, SubscriberState};

use crate::read_side::ReadSideBackend;
use crate::read_side::probe::{
    HOSTILE, Probe, at, claim, event_id, failure, fenced, must, name, parked, to,
};

pub(in crate::read_side) async fn checkpoints_move_by_themselves(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    let lease = side.working("a").await;
    side.working("b").await;
    must("to advance", side.advance(&Advance { events: 3, ..to(&lease, 7) })).await;
    must("to advance", side.advance(&Advance { events: 0, ..to(&lease, 9) })).await;
    must("to advance", side.advance(&Advance { events: 4, ..to(&lease, 1_000) })).await;
    let part = side.part("a").await;
    let moved = (part.position, part.events, part.parked, part.moved_at);
    assert_eq!(moved, (Position::new(1_000), 7, 0, at(1_000)));
    assert_eq!(part.owner, Some(("owner".to_owned(), at(10))));
    assert_eq!(side.part("b").await.position, Position::START);
    let lease = side.claimed(claim("a", "owner")).await;
    assert_eq!(lease.position, Position::new(1_000));
    must("to the end", side.advance(&to(&lease, Position::END.get()))).await;
    assert_eq!(side.part("a").await.position, Position::END);
}

/// The answer to the first may have been lost.
pub(in crate::read_side) async fn checkpoints_never_go_back(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    let lease = side.working("a").await;
    let first = Advance { parked: vec![parked(4, "poison")], ..to(&lease, 5) };
    must("to advance", side.advance(&first)).await;
    let before = side.status("a").await;
    fenced("the same again", side.advance(&first)).await;
    fenced("the same events", side.advance(&to(&lease, 5))).await;
    fenced("a step back", side.advance(&to(&lease, 3))).await;
    fenced("a step back", side.advance(&Advance { events: 0, ..to(&lease, 3) })).await;
    fenced("to the start", side.advance(&Advance { events: 0, ..to(&lease, 0) })).await;
    assert_eq!(side.status("a").await, before);
    assert_eq!(must("what is parked", side.parked(&name("a"), 9)).await.len(), 1);

    must("to stay", side.advance(&Advance { events: 0, ..to(&lease, 5) })).await;
    let part = side.part("a").await;
    assert_eq!((part.position, part.events), (Position::new(5), 1));
    must("to go on", side.advance(&to(&lease, 6))).await;
}

pub(in crate::read_side) async fn checkpoints_fail_until_they_move(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    let lease = side.working("a").await;
    must("to advance", side.advance(&to(&lease, 5))).await;
    let before = side.part("a").await;
    let event = Some((Position::new(6), event_id(6)));
    let poisoned = Failure { event, ..failure("cannot be understood") };
    for why in [failure("first"), poisoned] {
        must("to fail", side.fail(&lease, why.clone())).await;
        let failed = annals_core::PartitionInfo { failure: Some(why), ..before.clone() };
        assert_eq!(side.part("a").await, failed, "the rest stays as it is");
    }
    let status = side.status("a").await;
    assert!(must("to renew", side.renew(&lease, at(10))).await.failed);
    assert_eq!(side.status("a").await, status);
    let next = side.claimed(Claim { now: at(10), until: at(20), ..claim("a", "next") }).await;
    assert_eq!(next.failure, status.generations[0].partitions[0].failure);

    must("to advance", side.advance(&to(&next, 7))).await;
    assert_eq!(side.part("a").await.failure, None);
    assert!(!must("to renew", side.renew(&next, at(20))).await.failed);
    must("to fail", side.fail(&next, failure("again"))).await;
    must("to stay", side.advance(&Advance { events: 0, ..to(&next, 7) })).await;
    assert_eq!(side.part("a").await.failure, None);
}

pub(in crate::read_side) async fn checkpoints_resumed_have_no_failures(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    side.enrolled("a", 2).await;
    let second = side.begun("a").await;
    let mut leases = vec![side.working("b").await];
    for partition in [0, 1] {
        leases.push(side.claimed(Claim { partition, ..claim("a", "owner") }).await);
    }
    leases.push(side.claimed(Claim { generation: second, ..claim("a", "owner") }).await);
    for lease in &leases {
        must("to fail", side.fail(lease, failure("broken"))).await;
    }
    for state in [SubscriberState::Paused, SubscriberState::Disabled] {
        must("to tell", side.set_state(&name("a"), state)).await;
        assert_eq!(side.status("a").await.state, state);
        let renewed = must("to renew", side.renew(&leases[1], at(10))).await;
        assert_eq!((renewed.state, renewed.failed), (state, true));
    }
    must("to resume", side.set_state(&name("a"), SubscriberState::Running)).await;
    let status = side.status("a").await;
    assert_eq!(status.state, SubscriberState::Running);
    let mut parts = status.generations.iter().flat_map(|built| &built.partitions);
    assert!(parts.all(|part| part.failure.is_none()), "{status:?}");
    for lease in &leases[1..] {
        let renewed = must("to renew", side.renew(lease, at(10))).await;
        assert_eq!((renewed.state, renewed.failed), (SubscriberState::Running, false));
    }
    assert_eq!(side.part("b").await.failure, Some(failure("broken")), "that is another's");
    // Also one that was never told to wait.
    must("to fail", side.fail(&leases[1], failure("broken"))).await;
    must("to resume", side.set_state(&name("a"), SubscriberState::Running)).await;
    assert_eq!(side.part("a").await.failure, None);
}

pub(in crate::read_side) async fn checkpoints_remember_what_was_parked(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    side.enrolled("a", 2).await;
    let second = side.begun("a").await;
    let first = side.claimed(claim("a", "owner")).await;
    let other = side.claimed(Claim { partition: 1, ..claim("a", "owner") }).await;
    let building = side.claimed(Claim { generation: second, ..claim("a", "owner") }).await;
    let aside = |lease, last: u64, positions: &[u64]| Advance {
        parked: positions.iter().map(|position| parked(*position, "why")).collect(),
        ..to(lease, last)
    };
    must("to advance", side.advance(&aside(&first, 10, &[3, 9]))).await;
    must("to advance", side.advance(&aside(&building, 10, &[3, 4]))).await;
    must("to advance", side.advance(&aside(&other, 5, &[5]))).await;
    must("to advance", side.advance(&aside(&first, 20, &[12]))).await;
    fenced("once more", side.advance(&aside(&other, 5, &[2]))).await;
    side.working("b").await;
    let positions = |limit| {
        let side = side.clone();
        async move {
            let found = must("what is parked", side.parked(&name("a"), limit)).await;
            for event in &found {
                assert_eq!(*event, parked(event.position.get(), "why"));
            }
            found.iter().map(|event| event.position.get()).collect::<Vec<_>>()
        }
    };
    assert_eq!(positions(100).await, [3, 3, 4, 5, 9, 12]);
    assert_eq!(positions(4).await, [3, 3, 4, 5]);
    assert_eq!(positions(0).await, [0_u64; 0]);
    assert_eq!(must("what is parked", side.parked(&name("b"), 9)).await, []);
    let status = side.status("a").await;
    let parts = status.generations.iter().flat_map(|built| &built.partitions);
    assert_eq!(parts.map(|part| part.parked).collect::<Vec<_>>(), [3, 1, 2]);
}

pub(in crate::read_side) async fn checkpoints_keep_any_text(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    side.enrolled("a", 1).await;
    let mut written = Vec::new();
    for (number, text) in HOSTILE.iter().enumerate() {
        let number = number as u64 + 1;
        let hour = number * 3_600;
        let claim = Claim { now: at(hour), until: at(hour + 1), ..claim("a", text) };
        let lease = side.claimed(claim).await;
        let aside = Advance { parked: vec![parked(number, text)], ..to(&lease, number) };
        must("to advance", side.advance(&aside)).await;
        must("to fail", side.fail(&lease, failure(text))).await;
        let part = side.part("a").await;
        assert_eq!(part.owner, Some(((*text).to_owned(), at(hour + 1))));
        assert_eq!(part.failure, Some(failure(text)));
        written.push(parked(number, text));
    }
    assert_eq!(must("what is parked", side.parked(&name("a"), 99)).await, written);

    let lease = side.claimed(Claim { now: at(90_000), ..claim("a", "owner") }).await;
    let long = format!("nul \0 and {}", "long ".repeat(20_000));
    let aside = Advance { parked: vec![parked(50, &long)], ..to(&lease, 50) };
    must("to advance", side.advance(&aside)).await;
    must("to fail", side.fail(&lease, failure(&long))).await;
    let kept = side.part("a").await.failure.expect("it failed").error;
    assert!(kept.starts_with("nul ") && kept.contains(" and long "), "{kept:.50}");
}
