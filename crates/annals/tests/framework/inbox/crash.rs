//! The engine dies, or the queue does not answer, at every step: nothing is lost, and what comes
//! again has the same id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use annals::{DeliveryState, Inbox, SelectDeliveries};

use crate::inbox::faults::{Faulty, Strike};
use crate::inbox::world::{LEASE, Witness, World, idle, of, quick, until};

const STREAMS: [&str; 2] = ["issue-1", "issue-2"];

fn inboxes(email: &Witness, chat: &Witness) -> [Inbox; 2] {
    [
        Inbox::new("email", email.clone()).concurrency(2),
        Inbox::new("chat", chat.clone()).accepts(of(&["Closed"])).unordered(),
    ]
}

/// Says whether it came to the strike. Afterwards all is delivered.
async fn struck(strike: Strike, at: usize) -> bool {
    let world = World::in_memory().await;
    let [email, chat] = [Witness::failing(1), Witness::new()];
    let faulty = Faulty::new(&world.queue, strike, at);
    let runner = quick(world.annals().inboxes(faulty.clone())).poll(Duration::from_millis(2));
    let first = inboxes(&email, &chat);
    let first = first.into_iter().fold(runner, annals::inbox::InboxRunner::inbox);
    let first = first.start().await.unwrap();
    for stream in STREAMS {
        world.append(stream, &["Opened", "Closed"]).await;
    }
    let is_deadly = matches!(strike, Strike::DeadBefore | Strike::DeadAfter);
    let has_struck;
    if is_deadly {
        let done = async {
            // What failed once is due after a second.
            while !(email.count() >= 8 && chat.count() >= 2) {
                world.pass(Duration::from_millis(500));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            idle(&first).await;
        };
        tokio::select! {
            () = until("it dies", || faulty.has_struck()) => {}
            () = done => {}
        }
        has_struck = faulty.has_struck();
        drop(first);
    } else {
        until("all is made in spite of it", || {
            world.pass(Duration::from_millis(500));
            email.count() >= 8 && chat.count() >= 2
        })
        .await;
        idle(&first).await;
        has_struck = faulty.has_struck();
        first.stop().await;
    }
    world.pass(LEASE);
    let second = world.start(inboxes(&email, &chat)).await;
    for _ in 0..8 {
        idle(&second).await;
        world.pass(Duration::from_secs(600));
    }
    idle(&second).await;
    check(&world, &email, 4, strike, at).await;
    check(&world, &chat, 2, strike, at).await;
    has_struck
}

async fn check(world: &World, witness: &Witness, events: usize, strike: Strike, at: usize) {
    let seen = witness.seen();
    let said = || format!("{strike:?} at call {at}: {seen:#?}");
    let mut ids: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for one in &seen {
        ids.entry(one.event.clone()).or_default().insert(one.id.clone());
    }
    assert_eq!(ids.len(), events, "each event is delivered; {}", said());
    assert!(ids.values().all(|ids| ids.len() == 1), "under one id; {}", said());
    let all = world.queue.deliveries(&SelectDeliveries::all(), 99).await.unwrap();
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|one| one.state == DeliveryState::Done), "{all:#?}; {}", said());
}

async fn at_every_call(strike: Strike) {
    let mut at = 0;
    while struck(strike, at).await {
        at += 1;
    }
    // To claim two, to enqueue for them, and to take and settle at least.
    assert!(at >= 6, "only {at} calls were made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_an_engine_that_dies_before_a_step() {
    at_every_call(Strike::DeadBefore).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_an_engine_that_dies_after_a_step() {
    at_every_call(Strike::DeadAfter).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_goes_on_when_a_step_could_not_be_made() {
    for at in 0..12 {
        struck(Strike::FailsBefore, at).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_goes_on_when_an_answer_was_lost() {
    for at in 0..12 {
        struck(Strike::FailsAfter, at).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_dies_while_it_makes_a_delivery_makes_it_again_under_the_same_id() {
    let world = World::in_memory().await;
    let hanging = Witness::new().taking(Duration::from_secs(3600));
    let first = world.start([Inbox::new("email", hanging.clone())]).await;
    world.append("issue-1", &["Opened"]).await;
    until("it is being made", || hanging.count() == 1).await;
    drop(first);
    let witness = Witness::new();
    let second = world.start([Inbox::new("email", witness.clone())]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(witness.count(), 0, "the lease is not up");
    world.pass(LEASE);
    until("it is made", || witness.count() == 1).await;
    idle(&second).await;
    assert_eq!(witness.seen()[0].id, hanging.seen()[0].id);
    assert_eq!(witness.seen()[0].attempt, 2);
    drop(Arc::clone(&world.queue));
}
