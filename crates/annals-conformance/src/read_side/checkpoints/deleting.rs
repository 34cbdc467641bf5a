//! A subscriber that nobody runs is deleted, and begins anew if it comes again.

use annals_core::error::ReadSideError;
use annals_core::{
    Advance, Claim, Deleted, Generation, Position, SubscriberInfo, SubscriberState, UsedBy,
};

use crate::probe::within;
use crate::read_side::ReadSideBackend;
use crate::read_side::probe::{
    Probe, at, claim, enrol, failure, fenced, must, name, parked, to, unknown,
};

/// A subscriber of which there is something of all kinds, and that nobody works.
async fn grown(side: &Probe, subscriber: &str) {
    side.enrolled(subscriber, 2).await;
    let lease = side.claimed(claim(subscriber, "owner")).await;
    let parked = vec![parked(1, "one"), parked(2, "two")];
    must("to park", side.advance(&Advance { parked, ..to(&lease, 3) })).await;
    must("to fail", side.fail(&lease, failure("why"))).await;
    must("to release", side.release(&lease)).await;
    side.begun(subscriber).await;
    must("to pause", side.set_state(&name(subscriber), SubscriberState::Paused)).await;
}

async fn names(side: &Probe) -> Vec<String> {
    let all: Vec<SubscriberInfo> = must("a list", side.subscribers()).await;
    all.into_iter().map(|info| info.subscriber.to_string()).collect()
}

pub(in crate::read_side) async fn checkpoints_deleted_are_unknown(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    for subscriber in ["a", "ab", "A"] {
        grown(&side, subscriber).await;
    }
    let of_others = side.status("ab").await;
    let a = name("a");
    let deleted = must("to delete", side.delete(&a, at(5))).await;
    assert_eq!(deleted, Deleted { parked: 2, ..Deleted::default() });

    assert_eq!(names(&side).await, ["A", "ab"]);
    assert_eq!(must("nobody", side.subscriber(&a)).await, None);
    assert_eq!(must("parked", side.parked(&a, 9)).await, []);
    unknown("a claim", side.claim(claim("a", "owner"))).await;
    unknown("a generation", side.begin_generation(enrol("a", 1))).await;
    unknown("an order", side.set_state(&a, SubscriberState::Running)).await;
    unknown("deleting it again", side.delete(&a, at(5))).await;
    unknown("deleting nobody", side.delete(&name("nobody"), at(5))).await;
    assert_eq!(side.status("ab").await, of_others);

    // Another version is another subscriber's now.
    let anew = must("to enrol", side.enrol(enrol("a", 7))).await;
    assert_eq!(anew.state, SubscriberState::Running);
    let [begun] = &anew.generations[..] else { panic!("one generation: {anew:?}") };
    assert_eq!((begun.generation, begun.version), (Generation::FIRST, 7));
    let [part] = &begun.partitions[..] else { panic!("one part: {anew:?}") };
    assert_eq!((part.position, part.events, part.parked), (Position::START, 0, 0));
    assert_eq!((&part.owner, &part.failure), (&None, &None));
    assert_eq!(must("parked", side.parked(&a, 9)).await, []);
    assert_eq!(names(&side).await, ["A", "a", "ab"]);
}

/// It is refused, by whoever has the part, and nothing changes.
async fn worked(side: &Probe, now: u64, owner: &str, until: u64) {
    let before = side.status("a").await;
    let outcome = within("deleting it", side.delete(&name("a"), at(now))).await;
    let Err(ReadSideError::InUse { subscriber, by }) = outcome else {
        panic!("{owner} works it at {now}, but: {outcome:?}");
    };
    let expected = UsedBy::Owner { owner: owner.to_owned(), until: at(until) };
    assert_eq!((subscriber, by), (name("a"), expected));
    assert_eq!(side.status("a").await, before);
}

pub(in crate::read_side) async fn checkpoints_that_are_worked_are_not_deleted(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    side.enrolled("a", 2).await;
    let second = side.claimed(Claim { partition: 1, ..claim("a", "one") }).await;
    worked(&side, 0, "one", 10).await;
    worked(&side, 9, "one", 10).await;
    must("the owner goes on", side.renew(&second, at(20))).await;
    must("the owner goes on", side.advance(&to(&second, 3))).await;
    worked(&side, 19, "one", 20).await;
    must("to release", side.release(&second)).await;

    let generation = side.begun("a").await;
    let building = Claim { generation, until: at(30), ..claim("a", "builder") };
    let building = side.claimed(building).await;
    worked(&side, 29, "builder", 30).await;
    // Whoever has not renewed a lease is taken for dead.
    must("to delete", side.delete(&name("a"), at(30))).await;
    fenced("an advance", side.advance(&to(&building, 9))).await;
}

/// Whoever worked it before comes back while others work the one that has its name now.
pub(in crate::read_side) async fn checkpoints_deleted_fence_those_before(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let mut before = Vec::new();
    for _ in 0..3 {
        side.enrolled("a", 1).await;
        side.enrolled("b", 1).await;
        for turn in 0..4 {
            let lease = side.claimed(claim("a", "owner")).await;
            for lost in &before {
                side.has_lost(lost).await;
            }
            must("the owner goes on", side.advance(&to(&lease, turn + 1))).await;
            before.push(lease);
        }
        must("to delete", side.delete(&name("a"), at(10))).await;
        for lost in &before {
            fenced("an advance", side.advance(&to(lost, 100))).await;
        }
        // That another one goes, too, takes nothing from what is known of this one.
        must("to delete", side.delete(&name("b"), at(10))).await;
    }
}
