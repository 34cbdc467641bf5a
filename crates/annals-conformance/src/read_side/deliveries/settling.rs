//! What comes of an attempt decides what happens next, if the delivery is still its own.

use annals_core::{Attempt, DeliveryState, Settled, Then};

use super::words::{HIDDEN, again, attempt, dead, delivery, done, given_back, id};
use crate::read_side::ReadSideBackend;
use crate::read_side::probe::{HOSTILE, Probe, at, must};

pub(in crate::read_side) async fn deliveries_that_are_done_are_done(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    side.put((1..=3).map(|position| delivery("mail", position))).await;
    let taken = side.taken("mail", 1, 9).await;
    must("to settle", side.settle(vec![done(&taken[0]), dead(&taken[1])], at(2))).await;
    let [first, second] = [side.info("mail", 1).await, side.info("mail", 2).await];
    let told = (first.state, first.attempts, first.last_error, first.skipped);
    assert_eq!(told, (DeliveryState::Done, 1, None, None));
    let told = (second.state, second.attempts, second.last_error.as_deref());
    assert_eq!(told, (DeliveryState::Dead, 1, Some("given up")));
    assert_eq!(side.state("mail", 3).await, DeliveryState::Taken);
    assert_eq!(side.takes("mail", 10_000).await, [3]);
}

pub(in crate::read_side) async fn deliveries_are_tried_again_when_they_are_told(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    side.put([delivery("mail", 1)]).await;
    for number in 1..=5 {
        let now = u64::from(number) * 100;
        let taken = side.takes_one("mail", now).await;
        assert_eq!(taken.attempt, number);
        let error = format!("error {number}");
        let failed = Attempt { error: Some(error.clone()), ..attempt(&taken, None) };
        let settled = Settled { attempt: Some(failed), ..again(&taken, now + 50) };
        side.settled(settled, now).await;
        let info = side.info("mail", 1).await;
        let told = (info.state, info.attempts, info.due_at, info.last_error);
        assert_eq!(told, (DeliveryState::Waiting, number, at(now + 50), Some(error)));
        assert_eq!(side.takes("mail", now + 49).await, [0_u64; 0], "also when it is visible again");
    }
    let last = side.takes_one("mail", 550).await;
    assert_eq!(last.attempt, 6);
    side.settled(done(&last), 550).await;
    let info = side.info("mail", 1).await;
    assert_eq!((info.state, info.attempts), (DeliveryState::Done, 6));
}

pub(in crate::read_side) async fn deliveries_given_back_were_not_tried(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    side.put([delivery("mail", 1)]).await;
    for round in 0..3 {
        let taken = side.takes_one("mail", 20 * round).await;
        assert_eq!(taken.attempt, 1);
        side.settled(given_back(&taken, 20 * round + 5), 20 * round).await;
        let info = side.info("mail", 1).await;
        let told = (info.state, info.attempts, info.due_at);
        assert_eq!(told, (DeliveryState::Waiting, 0, at(20 * round + 5)));
        assert_eq!(side.takes("mail", 20 * round + 4).await, [0_u64; 0]);
    }
    let failed = side.takes_one("mail", 60).await;
    side.settled(again(&failed, 61), 60).await;
    let taken = side.takes_one("mail", 61).await;
    assert_eq!(taken.attempt, 2);
    side.settled(given_back(&taken, 62), 61).await;
    let info = side.info("mail", 1).await;
    assert_eq!((info.attempts, info.last_error.as_deref()), (1, Some("try again")));
    assert_eq!(side.takes_one("mail", 62).await.attempt, 2);
    assert_eq!(side.remembered(&id("mail", 1)).await, [attempt(&failed, Some("try again"))]);
}

pub(in crate::read_side) async fn deliveries_are_not_settled_with_an_old_token(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    side.put([delivery("mail", 1)]).await;
    let old = side.takes_one("mail", 0).await;
    let new = side.takes_one("mail", HIDDEN).await;
    let before = side.info("mail", 1).await;
    for late in [done(&old), again(&old, 11), dead(&old), given_back(&old, 11)] {
        side.settled(late, HIDDEN).await;
        assert_eq!(side.info("mail", 1).await, before, "the new attempt goes on");
        assert_eq!(side.takes("mail", HIDDEN + 1).await, [0_u64; 0], "and stays hidden");
    }
    side.settled(again(&new, 30), 12).await;
    let waiting = side.info("mail", 1).await;
    for late in [done(&old), dead(&new), given_back(&new, 0), done(&new)] {
        side.settled(late, 13).await;
        assert_eq!(side.info("mail", 1).await, waiting, "it is taken by nobody");
    }
    // Late, but nobody else has begun.
    let last = side.takes_one("mail", 30).await;
    side.settled(done(&last), 1_000).await;
    let made = side.info("mail", 1).await;
    assert_eq!((made.state, made.attempts), (DeliveryState::Done, 3));
    for late in [again(&last, 0), dead(&new), again(&old, 0)] {
        side.settled(late, 1_001).await;
        assert_eq!(side.info("mail", 1).await, made, "it is made");
    }
    let unknown = Settled { id: id("mail", 9), ..done(&last) };
    must("to settle what is unknown", side.settle(vec![unknown], at(1))).await;
}

pub(in crate::read_side) async fn deliveries_remember_their_attempts(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    side.put([delivery("mail", 1), delivery("mail", 2)]).await;
    let both = side.taken("mail", 0, 9).await;
    side.settled(done(&both[1]), 0).await;
    assert_eq!(side.remembered(&id("mail", 2)).await, [], "it was made at once");
    let first = &both[0];
    let second = side.taken("mail", HIDDEN, 1).await[0].clone();
    side.settled(again(&second, 20), HIDDEN).await;
    side.settled(again(&second, 20), HIDDEN).await;
    let remembered = [attempt(&second, Some("try again"))];
    assert_eq!(side.remembered(&id("mail", 1)).await, remembered, "once");
    // The one before is heard of late.
    side.settled(dead(first), HIDDEN + 1).await;
    let third = side.takes_one("mail", 20).await;
    let success = Attempt { note: Some("201 Created".to_owned()), ..attempt(&third, None) };
    side.settled(Settled { attempt: Some(success.clone()), ..done(&third) }, 20).await;
    let remembered =
        [attempt(first, Some("given up")), attempt(&second, Some("try again")), success];
    assert_eq!(side.remembered(&id("mail", 1)).await, remembered);
    assert_eq!(side.remembered(&id("mail", 3)).await, []);
}

pub(in crate::read_side) async fn deliveries_keep_any_text(backend: &dyn ReadSideBackend) {
    let side = Probe::open(backend).await;
    side.put([delivery("mail", 1)]).await;
    let mut written = Vec::new();
    let long = "\u{e9}".repeat(4 * 1024);
    for (number, text) in HOSTILE.into_iter().chain([&*long]).enumerate() {
        let taken = side.takes_one("mail", 100 * number as u64).await;
        let note = Some(text.to_owned());
        let made = Attempt { note, ..attempt(&taken, Some(text)) };
        side.settled(Settled { attempt: Some(made.clone()), ..again(&taken, 0) }, 0).await;
        assert_eq!(side.info("mail", 1).await.last_error.as_deref(), Some(text));
        written.push(made);
    }
    assert_eq!(side.remembered(&id("mail", 1)).await, written);
    let taken = side.takes_one("mail", 10_000).await;
    let nul = Some("nul \0 and more".to_owned());
    let made = Attempt { note: nul.clone(), error: nul, ..attempt(&taken, None) };
    side.settled(Settled { attempt: Some(made), then: Then::Dead, ..done(&taken) }, 0).await;
    let error = side.info("mail", 1).await.last_error.expect("it is dead");
    assert!(error.starts_with("nul ") && error.ends_with(" and more"), "{error:?}");
    for text in HOSTILE {
        side.put([delivery("skipped", text.len() as u64 + 1_000)]).await;
        let skipped = crate::read_side::probe::name("skipped");
        let which = annals_core::SelectDeliveries::inbox(skipped.clone());
        must("to skip", side.skip(&which, text, at(1))).await;
        let listed = side.listed(which).await;
        assert_eq!(listed.last().and_then(|info| info.skipped.as_deref()), Some(text));
        must("to forget", side.forget(&skipped, at(2), 99)).await;
    }
}
