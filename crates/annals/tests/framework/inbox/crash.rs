//! The engine dies, or the queue does not answer, at every step: nothing is lost, and what comes
//! again has the same id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use annals::{DeliveryInfo, DeliveryState, Inbox, SelectDeliveries};
use annals_conformance::read_side::{DecoratedReadSide, Faults, Meet};

use crate::inbox::world::{LEASE, PATIENCE, Witness, World, idle, of, quick, until};

on_every_read_side!(
    nothing_is_lost_by_an_engine_that_dies_before_a_step,
    nothing_is_lost_by_an_engine_that_dies_after_a_step,
    an_engine_goes_on_when_a_step_could_not_be_made,
    an_engine_goes_on_when_an_answer_was_lost,
    an_engine_that_dies_while_it_makes_a_delivery_makes_it_again_under_the_same_id,
);

const STREAMS: [&str; 2] = ["issue-1", "issue-2"];

fn inboxes(email: &Witness, chat: &Witness) -> [Inbox; 2] {
    [
        Inbox::new("email", email.clone()).concurrency(2),
        Inbox::new("chat", chat.clone()).accepts(of(&["Closed"])).unordered(),
    ]
}

/// Says whether it came to that. Afterwards all is delivered.
async fn struck(world: &World, meet: Meet, at: usize) -> bool {
    let [email, chat] = [Witness::failing(1), Witness::new()];
    let faults = Faults::at(at, meet).sparing(&["enrol"]);
    let faulty = Arc::new(DecoratedReadSide::over(Arc::clone(&world.side), faults));
    let runner = quick(world.annals().inboxes(faulty.clone())).poll(Duration::from_millis(2));
    let first = inboxes(&email, &chat);
    let first = first.into_iter().fold(runner, annals::inbox::InboxRunner::inbox);
    let first = first.start().await.unwrap();
    for stream in STREAMS {
        world.append(stream, &["Opened", "Closed"]).await;
    }
    tokio::select! {
        () = until("it dies", || faulty.decorator().is_dead()) => {}
        () = made(world) => {}
    }
    let has_struck = faulty.decorator().met() > 0;
    drop(first);
    email.until_alone().await;
    world.pass(LEASE);
    let second = world.start(inboxes(&email, &chat)).await;
    for _ in 0..8 {
        idle(&second).await;
        world.pass(Duration::from_secs(600));
    }
    idle(&second).await;
    check(world, &email, 4, meet, at).await;
    check(world, &chat, 2, meet, at).await;
    has_struck
}

/// Waits until all is made, while time passes.
async fn made(world: &World) {
    let all = async || world.queue.deliveries(&SelectDeliveries::all(), 99).await.unwrap();
    let is_made = |all: &[DeliveryInfo]| {
        all.len() == 6 && all.iter().all(|one| one.state == DeliveryState::Done)
    };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let all = all().await;
        if is_made(&all) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "not all is made: {all:#?}");
        world.pass(Duration::from_millis(500));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn check(world: &World, witness: &Witness, events: usize, meet: Meet, at: usize) {
    let seen = witness.seen();
    let said = || format!("{meet:?} at call {at}: {seen:#?}");
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

async fn at_every_call(world: World, meet: Meet) {
    let mut at = 0;
    while struck(&world.again().await, meet, at).await {
        at += 1;
    }
    // To claim two, to enqueue for them, and to take and settle at least.
    assert!(at >= 6, "only {at} calls were made");
}

async fn nothing_is_lost_by_an_engine_that_dies_before_a_step(world: World) {
    at_every_call(world, Meet::DeadBefore).await;
}

async fn nothing_is_lost_by_an_engine_that_dies_after_a_step(world: World) {
    at_every_call(world, Meet::DeadAfter).await;
}

async fn an_engine_goes_on_when_a_step_could_not_be_made(world: World) {
    at_every_call(world, Meet::NotAtAll).await;
}

async fn an_engine_goes_on_when_an_answer_was_lost(world: World) {
    at_every_call(world, Meet::AnswerLost).await;
}

async fn an_engine_that_dies_while_it_makes_a_delivery_makes_it_again_under_the_same_id(
    world: World,
) {
    let hanging = Witness::new().taking(Duration::from_secs(3600));
    let first = world.start([Inbox::new("email", hanging.clone())]).await;
    world.append("issue-1", &["Opened"]).await;
    until("it is being made", || hanging.count() == 1).await;
    drop(first);
    hanging.until_alone().await;
    let witness = Witness::new();
    let second = world.start([Inbox::new("email", witness.clone())]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(witness.count(), 0, "the lease is not up");
    world.pass(LEASE);
    until("it is made", || witness.count() == 1).await;
    idle(&second).await;
    assert_eq!(witness.seen()[0].id, hanging.seen()[0].id);
    assert_eq!(witness.seen()[0].attempt, 2);
}
