//! A generation is built beside the active one, and takes its place or goes away.

use annals_core::{Activation, Claim, Enrol, Generation, Position, Role, SubscriberState};

use crate::probe::within;
use crate::read_side::ReadSideBackend;
use crate::read_side::probe::{Probe, at, claim, enrol, must, name, parked, rebuild, to, unknown};

fn of(generation: Generation) -> Claim {
    Claim { generation, ..claim("a", "builder") }
}

pub(in crate::read_side) async fn checkpoints_of_a_new_generation_stand_beside_the_others(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let on_first = side.working("a").await;
    must("to advance", side.advance(&to(&on_first, 5))).await;
    let active = side.status("a").await.generations[0].clone();
    let new = Enrol { partitions: 2, after: Position::new(3), now: at(7), ..enrol("a", 1) };
    let second = must("to begin", side.begin_generation(new)).await;
    let status = side.status("a").await;
    assert_eq!(status.active(), Some(&active), "it goes on being read");
    let building = status.building().expect("it is being built");
    let told = (building.generation, building.version, building.begun_at, building.position());
    assert_eq!(told, (second, 1, at(7), Position::new(3)));
    assert_eq!(building.partitions.len(), 2);

    // Both are worked, each by itself.
    let on_second = side.claimed(of(second)).await;
    assert_eq!(on_second.position, Position::new(3));
    must("to advance", side.advance(&to(&on_second, 4))).await;
    must("to advance", side.advance(&to(&on_first, 6))).await;
    let renewed = must("to renew", side.renew(&on_second, at(20))).await;
    assert_eq!(renewed.role, Role::Building);
    assert_eq!(side.part("a").await.position, Position::new(6));

    let third = must("to begin", side.begin_generation(enrol("a", 1))).await;
    let status = side.status("a").await;
    let numbers: Vec<_> = status.generations.iter().map(|built| built.generation).collect();
    assert_eq!(numbers, [Generation::FIRST, third], "the second is discarded");
    side.has_lost(&on_second).await;
}

pub(in crate::read_side) async fn checkpoints_activated_fence_those_before(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let a = name("a");
    let old = side.working("a").await;
    let aside = annals_core::Advance { parked: vec![parked(5, "old")], ..to(&old, 5) };
    must("to advance", side.advance(&aside)).await;
    must("to pause", side.set_state(&a, SubscriberState::Paused)).await;
    let second = side.begun("a").await;
    let new = side.claimed(of(second)).await;
    let aside = annals_core::Advance { parked: vec![parked(6, "new")], ..to(&new, 6) };
    must("to advance", side.advance(&aside)).await;

    side.activated("a", second).await;
    let status = side.status("a").await;
    assert_eq!(status.generations.len(), 1, "the old one is forgotten: {status:?}");
    assert_eq!(status.state, SubscriberState::Paused, "what it was told holds");
    let active = status.active().expect("it has taken the place").clone();
    assert_eq!((active.generation, active.position()), (second, Position::new(6)));
    assert_eq!(must("what is parked", side.parked(&a, 9)).await, [parked(6, "new")]);
    side.has_lost(&old).await;
    unknown("the old generation", side.claim(claim("a", "owner"))).await;
    unknown("the old generation", side.activate(&a, Generation::FIRST, at(8))).await;
    unknown("a generation", side.activate(&a, second.next(), at(8))).await;

    // Whoever built it goes on.
    let renewed = must("to renew", side.renew(&new, at(20))).await;
    assert_eq!(renewed.role, Role::Active);
    must("to advance", side.advance(&to(&new, 9))).await;
    let before = side.status("a").await;
    side.activated("a", second).await;
    let third = side.begun("a").await;
    side.activated("a", second).await;
    let status = side.status("a").await;
    assert_eq!(status.active(), before.active(), "it does nothing");
    assert_eq!(status.building().map(|built| built.generation), Some(third), "it does nothing");
}

pub(in crate::read_side) async fn checkpoints_activated_are_as_far_as_those_before(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let parts = async |generation, count: u32| {
        let mut leases = Vec::new();
        for partition in 0..count {
            leases.push(side.claimed(Claim { partition, ..of(generation) }).await);
        }
        leases
    };
    side.enrolled("a", 2).await;
    let first = parts(Generation::FIRST, 2).await;
    must("to advance", side.advance(&to(&first[0], 9))).await;
    must("to advance", side.advance(&to(&first[1], 5))).await;

    // In the same parts: each as far as its counterpart, whatever the least of them is.
    let second = Enrol { partitions: 2, ..enrol("a", 1) };
    let second = must("to begin", side.begin_generation(second)).await;
    side.is_behind("a", second).await;
    let on_second = parts(second, 2).await;
    must("to advance", side.advance(&to(&on_second[0], 8))).await;
    must("to advance", side.advance(&to(&on_second[1], 9))).await;
    side.is_behind("a", second).await;
    must("to advance", side.advance(&to(&on_second[0], 9))).await;
    side.activated("a", second).await;
    let ninth = Position::new(9);
    assert_eq!(side.status("a").await.active().map(|active| active.position()), Some(ninth));

    must("to advance", side.advance(&to(&on_second[1], 12))).await;
    let third = Enrol { partitions: 2, ..enrol("a", 1) };
    let third = must("to begin", side.begin_generation(third)).await;
    let on_third = parts(third, 2).await;
    must("to advance", side.advance(&to(&on_third[0], 10))).await;
    must("to advance", side.advance(&to(&on_third[1], 12))).await;
    side.activated("a", third).await;

    // In other parts, or by other code: what was in the part that is furthest may be anywhere.
    for (version, partitions) in [(1, 3), (2, 3)] {
        let active = side.status("a").await;
        let furthest = active
            .active()
            .and_then(|active| active.partitions.iter().map(|part| part.position).max());
        let furthest = furthest.expect("it has parts").get();
        let next = Enrol { partitions, ..rebuild("a", version) };
        let next = must("to begin", side.begin_generation(next)).await;
        let leases = parts(next, partitions).await;
        for lease in &leases {
            side.is_behind("a", next).await;
            must("to advance", side.advance(&to(lease, furthest - 1))).await;
        }
        for lease in &leases {
            side.is_behind("a", next).await;
            must("to advance", side.advance(&to(lease, furthest))).await;
        }
        must("to advance", side.advance(&to(&leases[0], furthest + 2))).await;
        side.activated("a", next).await;
    }
}

/// What was acknowledged to whoever worked the active generation is in what is read from then on.
pub(in crate::read_side) async fn checkpoints_activated_while_others_move_never_go_back(
    backend: &dyn ReadSideBackend,
) {
    let (side, a) = (Probe::open(backend).await, name("a"));
    side.enrolled("a", 1).await;
    for _ in 0..16 {
        let active = side.status("a").await.active().expect("it is active").generation;
        let old = side.claimed(of(active)).await;
        let next = side.begun("a").await;
        let new = side.claimed(of(next)).await;
        let start = side.part("a").await.position.get();
        let moves = async {
            let mut acknowledged = start;
            while side.advance(&to(&old, acknowledged + 1)).await.is_ok() {
                acknowledged += 1;
                tokio::task::yield_now().await;
            }
            acknowledged
        };
        let builds = async {
            // Further ahead each time, or it might never be far enough.
            for ahead in 1.. {
                let seen = side.part("a").await.position.get();
                must("to advance", side.advance(&to(&new, seen + ahead))).await;
                let activated = must("to activate", side.activate(&a, next, at(8))).await;
                if activated == Activation::Done {
                    break;
                }
            }
        };
        let (acknowledged, ()) = within("a swap", async { tokio::join!(moves, builds) }).await;
        let read = side.part("a").await.position.get();
        assert!(read >= acknowledged, "{acknowledged} was acknowledged, and {read} is read");
    }
}

pub(in crate::read_side) async fn checkpoints_discarded_are_fenced(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    let a = name("a");
    let old = side.working("a").await;
    let before = side.status("a").await;
    let second = side.begun("a").await;
    let new = side.claimed(of(second)).await;
    let aside = annals_core::Advance { parked: vec![parked(4, "new")], ..to(&new, 4) };
    must("to advance", side.advance(&aside)).await;
    let both = side.status("a").await;
    must("the active one stays", side.discard(&a, Generation::FIRST)).await;
    must("there is none", side.discard(&a, second.next())).await;
    assert_eq!(side.status("a").await, both);

    must("to discard", side.discard(&a, second)).await;
    assert_eq!(side.status("a").await, before);
    assert_eq!(must("what is parked", side.parked(&a, 9)).await, []);
    side.has_lost(&new).await;
    unknown("what is discarded", side.claim(of(second))).await;
    unknown("what is discarded", side.activate(&a, second, at(8))).await;
    must("to discard again", side.discard(&a, second)).await;
    must("the active one goes on", side.advance(&to(&old, 5))).await;
}

/// What is left of one that is gone would be taken for part of the new one.
pub(in crate::read_side) async fn checkpoints_of_a_generation_never_come_again(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let a = name("a");
    side.enrolled("a", 1).await;
    let mut last = Generation::FIRST;
    for round in 0..8 {
        let begun = if round % 4 == 3 {
            let enrolled = must("to enrol", side.enrol(rebuild("a", 100 + round))).await;
            enrolled.building().expect("another version is built").generation
        } else {
            side.begun("a").await
        };
        assert!(begun > last, "round {round}: {begun} comes behind {last}");
        last = begun;
        match round % 3 {
            0 => must("to discard", side.discard(&a, begun)).await,
            1 => side.activated("a", begun).await,
            _ => {}
        }
    }
}
