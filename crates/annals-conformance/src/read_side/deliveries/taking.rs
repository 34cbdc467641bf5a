//! A delivery is made by one at a time, when it is due.

use std::collections::HashSet;

use annals_core::{Delivery, DeliveryState, NewDelivery, SelectDeliveries, SubscriberState, Take};

use super::words::{
    HIDDEN, again, dead, delivery, done, given_back, in_lane, positions, take, to_recipient,
};
use crate::read_side::ReadSideBackend;
use crate::read_side::probe::{Probe, at, must, name};
use crate::storm::together;

pub(in crate::read_side) async fn deliveries_are_taken_by_their_positions(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    side.put([9, 2, 40, 1, 30].map(|position| delivery("mail", position))).await;
    side.put([8, 3].map(|position| delivery("chat", position))).await;
    let bob = to_recipient(delivery("mail", 30), "bob");
    let ada = to_recipient(delivery("mail", 30), "ada");
    side.put([bob.clone(), ada.clone()]).await;
    assert_eq!(side.taken("mail", 1, 0).await, []);
    assert_eq!(positions(&side.taken("mail", 1, 2).await), [1, 2]);
    assert_eq!(positions(&side.taken("mail", 1, 1).await), [9]);
    assert_eq!(side.taken("ma", 1, 9).await, []);
    let rest = side.taken("mail", 1, 99).await;
    assert_eq!(positions(&rest), [30, 30, 30, 40]);
    let mut ids = [delivery("mail", 30).id, ada.id, bob.id];
    ids.sort();
    assert_eq!(rest[..3].iter().map(|taken| taken.id.clone()).collect::<Vec<_>>(), ids);
    assert_eq!(side.takes("mail", 1).await, [0_u64; 0]);
    assert_eq!(side.takes("chat", 1).await, [3, 8]);
}

pub(in crate::read_side) async fn deliveries_are_not_taken_before_their_time(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let due = |position, due| NewDelivery { due_at: at(due), ..delivery("mail", position) };
    side.put([due(1, 20), due(2, 10), due(3, 30)]).await;
    assert_eq!(side.takes("mail", 9).await, [0_u64; 0]);
    assert_eq!(side.takes("mail", 10).await, [2]);
    assert_eq!(side.takes("mail", 19).await, [0_u64; 0]);
    assert_eq!(side.state("mail", 1).await, DeliveryState::Waiting);
    assert_eq!(side.takes("mail", 100).await, [1, 2, 3]);
}

pub(in crate::read_side) async fn deliveries_that_are_taken_are_hidden(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    side.put([delivery("mail", 1)]).await;
    let mut now = 0;
    let mut last: Option<Delivery> = None;
    for attempt in 1..=4 {
        let taken = side.takes_one("mail", now).await;
        assert_eq!(taken.attempt, attempt, "one that was never settled counts");
        if let Some(last) = last {
            assert!(taken.token > last.token, "{taken:?} comes behind {last:?}");
        }
        let info = side.info("mail", 1).await;
        assert_eq!((info.state, info.attempts), (DeliveryState::Taken, attempt));
        for later in [0, 1, HIDDEN - 1] {
            assert_eq!(side.takes("mail", now + later).await, [0_u64; 0]);
        }
        assert_eq!(side.info("mail", 1).await, info);
        last = Some(taken);
        now += HIDDEN;
    }
}

pub(in crate::read_side) async fn deliveries_that_are_kept_are_hidden_longer(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    side.put([1, 2, 3].map(|position| delivery("mail", position))).await;
    let first = side.taken("mail", 0, 3).await;
    let of = |taken: &Delivery| (taken.id.clone(), taken.token);
    side.settled(done(&first[2]), 0).await;
    must("to keep", side.keep(&[of(&first[0]), of(&first[2])], at(30))).await;
    assert_eq!(side.state("mail", 3).await, DeliveryState::Done);
    assert_eq!(positions(&side.taken("mail", HIDDEN, 9).await), [2]);
    // What was lost is not kept, and those beside it are.
    must("to keep", side.keep(&first.iter().map(of).collect::<Vec<_>>(), at(60))).await;
    let second = side.taken("mail", 2 * HIDDEN, 9).await;
    assert_eq!(positions(&second), [2]);
    assert_eq!(side.takes("mail", 59).await, [2]);
    assert_eq!(side.takes("mail", 60).await, [1]);
    must("to keep nothing", side.keep(&[], at(60))).await;
}

/// Each takes as much as it gets, and nobody settles.
pub(in crate::read_side) async fn deliveries_are_taken_by_one_of_16_tasks(
    backend: &dyn ReadSideBackend,
) {
    const LANES: u64 = 40;
    const MANY: u64 = 200;
    let side = Probe::open(backend).await;
    let lane = |position| format!("{}", position % LANES);
    side.put((1..=MANY).map(|position| in_lane("mail", position, &lane(position)))).await;
    side.put((MANY + 1..=2 * MANY).map(|position| delivery("mail", position))).await;
    let taken = together(16, |_| {
        let side = side.clone();
        async move {
            let mut all = Vec::new();
            loop {
                let some = side.taken("mail", 1, 7).await;
                if some.is_empty() {
                    return all;
                }
                all.extend(some);
            }
        }
    })
    .await;
    let taken: Vec<_> = taken.into_iter().flatten().collect();
    let ids: HashSet<_> = taken.iter().map(|delivery| delivery.id.clone()).collect();
    assert_eq!(taken.len(), ids.len(), "each is taken by one");
    assert_eq!(taken.len() as u64, MANY + LANES, "one of each lane, and those without");
    assert!(taken.iter().all(|delivery| delivery.attempt == 1));
}

pub(in crate::read_side) async fn deliveries_of_a_paused_inbox_are_not_taken(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    for inbox in ["mail", "chat"] {
        side.enrolled(inbox, 1).await;
        side.put((1..=4).map(|position| delivery(inbox, position))).await;
    }
    let tell = |state| {
        let side = side.clone();
        async move { must("to tell", side.set_state(&name("mail"), state)).await }
    };
    assert_eq!(positions(&side.taken("mail", 1, 1).await), [1]);
    tell(SubscriberState::Paused).await;
    assert_eq!(side.takes("mail", 1).await, [0_u64; 0]);
    assert_eq!(side.takes("mail", 100).await, [0_u64; 0], "nor what was taken before");
    assert_eq!(side.takes("chat", 1).await, [1, 2, 3, 4]);
    tell(SubscriberState::Running).await;
    assert_eq!(positions(&side.taken("mail", 1, 1).await), [2]);
    tell(SubscriberState::Disabled).await;
    assert_eq!(side.takes("mail", 1).await, [3, 4], "they were enqueued before");
}

pub(in crate::read_side) async fn deliveries_say_when_the_next_is_due(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    let due = |new: NewDelivery, due| NewDelivery { due_at: at(due), ..new };
    let next = || {
        let side = side.clone();
        async move { must("a look", side.next_due(&name("mail"))).await }
    };
    side.put([due(delivery("chat", 1), 1)]).await;
    assert_eq!(next().await, None);
    side.put([due(delivery("mail", 1), 30), due(in_lane("mail", 2, "l"), 20)]).await;
    // It waits for its lane.
    side.put([due(in_lane("mail", 3, "l"), 10)]).await;
    assert_eq!(next().await, Some(at(20)));
    let second = side.takes_one("mail", 20).await;
    assert_eq!(next().await, Some(at(20 + HIDDEN)), "whoever has taken it may die");
    must("to keep", side.keep(&[(second.id.clone(), second.token)], at(90))).await;
    assert_eq!(next().await, Some(at(30)));
    side.settled(again(&second, 25), 20).await;
    assert_eq!(next().await, Some(at(25)));
    let second = side.takes_one("mail", 25).await;
    side.settled(given_back(&second, 27), 25).await;
    assert_eq!(next().await, Some(at(27)));
    let second = side.takes_one("mail", 27).await;
    side.settled(dead(&second), 27).await;
    assert_eq!(next().await, Some(at(30)), "a dead letter is not due, nor what is behind it");
    must("to skip", side.skip(&super::words::one("mail", 2), "why", at(28))).await;
    assert_eq!(next().await, Some(at(10)), "it is due since then");
    let taken = side.taken("mail", 30, 9).await;
    assert_eq!(positions(&taken), [1, 3]);
    side.settled(done(&taken[0]), 31).await;
    side.settled(dead(&taken[1]), 31).await;
    assert_eq!(next().await, None);
    must("to retry", side.retry(&SelectDeliveries::all(), at(50))).await;
    assert_eq!(next().await, Some(at(50)));
    let until = Take { until: at(51), ..take("mail", 50, 9) };
    must("to take", (*side).take(until)).await;
    assert_eq!(next().await, Some(at(51)));
}
