//! What becomes of deliveries that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use annals::inbox::Retries;
use annals::{
    Clock, DeliveryId, DeliveryState, Enqueue, Inbox, ReactError, ReactErrorKind, RunningInboxes,
    SelectDeliveries, Take,
};

use crate::inbox::world::{Witness, World, idle, until};

on_every_read_side!(
    a_delivery_is_tried_again_when_its_time_has_come_and_no_sooner,
    a_delivery_that_runs_out_of_attempts_is_a_dead_letter_with_its_reasons,
    an_error_says_whether_and_when_to_try_again,
    an_inbox_may_judge_errors_by_itself,
    a_delivery_that_is_too_old_is_a_dead_letter,
    an_attempt_that_takes_too_long_has_failed,
    what_no_process_survives_is_a_dead_letter_in_the_end,
    what_has_waited_for_too_long_is_not_tried_unless_somebody_wants_that,
    a_dead_letter_holds_up_its_stream_until_it_is_retried,
    a_dead_letter_that_is_skipped_lets_its_stream_go_on,
    dead_letters_are_found_and_retried_by_what_they_are,
);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn exact() -> Retries {
    Retries::default().without_jitter()
}

async fn only(inboxes: &RunningInboxes) -> annals::DeliveryInfo {
    let mut all = inboxes.deliveries(SelectDeliveries::all(), 2).await.unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

async fn a_delivery_is_tried_again_when_its_time_has_come_and_no_sooner(world: World) {
    let witness = Witness::failing(3);
    let inboxes = world.start([Inbox::new("email", witness.clone()).retry(exact())]).await;
    world.append("issue-1", &["Opened"]).await;
    for (attempt, wait) in [(1, 1), (2, 2), (3, 4)] {
        idle(&inboxes).await;
        assert_eq!(witness.count(), attempt);
        let due = world.clock.now().saturating_add(seconds(wait));
        assert_eq!(only(&inboxes).await.due_at, due);
        world.pass(seconds(wait) - Duration::from_micros(1));
        // It looks several times in this while.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(witness.count(), attempt);
        world.pass(Duration::from_micros(1));
        until("it is tried again", || witness.count() == attempt + 1).await;
    }
    idle(&inboxes).await;
    assert_eq!(only(&inboxes).await.state, DeliveryState::Done);
    let seen = witness.seen();
    assert!(seen.iter().all(|one| one.id == seen[0].id), "{seen:?}");
    assert_eq!(seen.iter().map(|one| one.attempt).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

async fn a_delivery_that_runs_out_of_attempts_is_a_dead_letter_with_its_reasons(world: World) {
    #[derive(Debug, thiserror::Error)]
    #[error("the mail was not sent")]
    struct NotSent(#[source] std::io::Error);
    let witness = Witness::that(|reacting| {
        reacting.note(format!("421 at attempt {}", reacting.attempt()));
        Err(NotSent(std::io::Error::other("connection refused")).into())
    });
    let retries = exact().attempts_max(3);
    let inboxes = world.start([Inbox::new("email", witness.clone()).retry(retries)]).await;
    world.append("issue-1", &["Opened"]).await;
    for attempts in 1..=3 {
        until("it is tried", || witness.count() == attempts).await;
        idle(&inboxes).await;
        world.pass(seconds(4));
    }
    idle(&inboxes).await;
    let dead = only(&inboxes).await;
    assert_eq!(dead.state, DeliveryState::Dead);
    let error = "the mail was not sent: connection refused";
    assert_eq!(dead.last_error.as_deref(), Some(error));
    let attempts = inboxes.attempts(&dead.id).await.unwrap();
    assert_eq!(attempts.iter().map(|one| one.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(attempts.iter().all(|one| one.error.as_deref() == Some(error)), "{attempts:?}");
    assert_eq!(attempts[2].note.as_deref(), Some("421 at attempt 3"));
    assert!(attempts[0].at < attempts[1].at && attempts[1].at < attempts[2].at);
    let status = inboxes.status().await.unwrap();
    assert_eq!((status[0].dead, status[0].retrying, status[0].waiting), (1, 0, 0));
    world.pass(seconds(1_000_000));
    idle(&inboxes).await;
    assert_eq!(witness.count(), 3);
}

async fn an_error_says_whether_and_when_to_try_again(world: World) {
    let witness = Witness::that(|reacting| match reacting.event().event_type.as_str() {
        "Unknown" => Err(ReactError::permanent("nobody of that name")),
        _ if reacting.attempt() == 1 => Err(ReactError::retry_after(seconds(90), "slow down")),
        _ => Ok(()),
    });
    let inboxes = world.start([Inbox::new("email", witness.clone()).unordered()]).await;
    world.append("issue-1", &["Unknown", "Busy"]).await;
    idle(&inboxes).await;
    let dead = inboxes.dead_letters(SelectDeliveries::all(), 9).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].event.event_type.as_str(), "Unknown");
    world.pass(seconds(89));
    idle(&inboxes).await;
    assert_eq!(witness.count(), 2);
    world.pass(seconds(1));
    until("it is tried again", || witness.count() == 3).await;
}

async fn an_inbox_may_judge_errors_by_itself(world: World) {
    let witness = Witness::failing(u32::MAX);
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let inbox = Inbox::new("email", witness.clone()).classify(move |error| {
        count.fetch_add(1, Ordering::Relaxed);
        assert!(error.source().to_string().contains("away"), "{error:?}");
        ReactErrorKind::Permanent
    });
    let inboxes = world.start([inbox]).await;
    world.append("issue-1", &["Opened"]).await;
    idle(&inboxes).await;
    assert_eq!(only(&inboxes).await.state, DeliveryState::Dead);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

async fn a_delivery_that_is_too_old_is_a_dead_letter(world: World) {
    let witness = Witness::failing(u32::MAX);
    let retries = exact().attempts_max(100).longest(seconds(10)).age_max(seconds(25));
    let inboxes = world.start([Inbox::new("email", witness.clone()).retry(retries)]).await;
    world.append("issue-1", &["Opened"]).await;
    // At 0, 1, 3, 7 and 15 s; the next one would be at 25 s, and then one too late.
    for (wait, count) in [(0, 1), (1, 2), (2, 3), (4, 4), (8, 5), (10, 6)] {
        world.pass(seconds(wait));
        until("it is tried", || witness.count() == count).await;
        idle(&inboxes).await;
    }
    assert_eq!(only(&inboxes).await.state, DeliveryState::Dead);
}

async fn an_attempt_that_takes_too_long_has_failed(world: World) {
    let witness = Witness::new().taking(seconds(3600));
    let inbox = Inbox::new("email", witness.clone()).timeout(Duration::from_millis(20));
    let inboxes = world.start([inbox.retry(exact().attempts_max(2))]).await;
    world.append("issue-1", &["Opened"]).await;
    idle(&inboxes).await;
    let error = only(&inboxes).await.last_error.unwrap();
    assert!(error.contains("took longer than 20ms"), "{error}");
    world.pass(seconds(1));
    until("it is tried again", || witness.count() == 2).await;
    idle(&inboxes).await;
    assert_eq!(only(&inboxes).await.state, DeliveryState::Dead);
}

async fn what_no_process_survives_is_a_dead_letter_in_the_end(world: World) {
    world.append("issue-1", &["Opened"]).await;
    let poison = world.delivery_of_last("email").await;
    let enqueue = Enqueue { deliveries: vec![poison], advances: Vec::new() };
    world.queue.enqueue(enqueue, world.clock.now()).await.unwrap();
    for attempt in 1..=3 {
        let now = world.clock.now();
        let take = Take {
            inbox: "email".parse().unwrap(),
            limit: 9,
            now,
            until: now.saturating_add(seconds(1)),
        };
        let taken = world.queue.take(take).await.unwrap();
        assert_eq!(taken[0].attempt, attempt, "and whoever took it dies");
        world.pass(seconds(1));
    }
    let witness = Witness::new();
    let email = Inbox::new("email", witness.clone()).fed().retry(exact().attempts_max(3));
    let inboxes = world.start([email]).await;
    idle(&inboxes).await;
    let dead = only(&inboxes).await;
    assert_eq!((dead.state, witness.count()), (DeliveryState::Dead, 0));
    let error = dead.last_error.unwrap();
    assert!(error.starts_with("3 attempts were begun, and 3 are allowed"), "{error}");
    assert!(error.contains("process that made it ended"), "{error}");
    // By hand it is tried once more.
    assert_eq!(inboxes.retry(SelectDeliveries::all()).await.unwrap(), 1);
    idle(&inboxes).await;
    assert_eq!((only(&inboxes).await.state, witness.count()), (DeliveryState::Done, 1));
}

async fn what_has_waited_for_too_long_is_not_tried_unless_somebody_wants_that(world: World) {
    let witness = Witness::failing(u32::MAX);
    let due = world.clock.now().saturating_add(seconds(100));
    let email =
        Inbox::new("email", witness.clone()).unordered().retry(exact().age_max(seconds(25)));
    let email = email.due(move |event| (event.event_type.as_str() == "Later").then_some(due));
    let inboxes = world.start([email]).await;
    inboxes.pause("email").await.unwrap();
    world.append("issue-1", &["Opened", "Later"]).await;
    idle(&inboxes).await;
    world.pass(seconds(26));
    inboxes.resume("email").await.unwrap();
    idle(&inboxes).await;
    let dead = inboxes.dead_letters(SelectDeliveries::all(), 9).await.unwrap();
    assert_eq!((dead.len(), witness.count()), (1, 0));
    let error = dead[0].last_error.as_deref().unwrap();
    assert!(error.contains("it has waited since 2026-03-01T12:00:00Z"), "{error}");
    // By hand it is tried, and fails; it is not tried again by itself.
    assert_eq!(inboxes.retry(SelectDeliveries::one(dead[0].id.clone())).await.unwrap(), 1);
    idle(&inboxes).await;
    let dead = inboxes.dead_letters(SelectDeliveries::all(), 9).await.unwrap();
    assert_eq!((dead.len(), witness.count()), (1, 1));
    assert!(dead[0].last_error.as_deref().unwrap().contains("away"), "{dead:?}");
    // The age of the other one is counted from when it was due first.
    world.pass(seconds(80));
    until("it is tried", || witness.count() == 2).await;
    idle(&inboxes).await;
    assert_eq!(inboxes.status().await.unwrap()[0].retrying, 1);
}

async fn a_dead_letter_holds_up_its_stream_until_it_is_retried(world: World) {
    let witness = Witness::that(|reacting| match reacting.attempt() {
        1 if reacting.event().event_type.as_str() == "Cursed" => Err(ReactError::permanent("no")),
        _ => Ok(()),
    });
    let tolerant = Arc::new(AtomicU32::new(0));
    let allowed = Arc::clone(&tolerant);
    let picky = Inbox::new("email", witness.clone()).accepts_if(move |_| {
        allowed.fetch_add(1, Ordering::Relaxed);
        true
    });
    let inboxes = world.start([picky]).await;
    world.append("issue-1", &["Opened", "Cursed", "Closed"]).await;
    world.append("issue-2", &["Opened", "Closed"]).await;
    idle(&inboxes).await;
    let before = ["issue-1@1 Opened", "issue-1@2 Cursed", "issue-2@1 Opened", "issue-2@2 Closed"];
    assert_eq!(witness.sorted(), before);
    let dead = inboxes.dead_letters(SelectDeliveries::all(), 9).await.unwrap();
    // Its attempts are counted anew, so that the first one fails again.
    assert_eq!(inboxes.retry(SelectDeliveries::one(dead[0].id.clone())).await.unwrap(), 1);
    idle(&inboxes).await;
    assert_eq!(witness.count(), 5);
    assert_eq!(inboxes.attempts(&dead[0].id).await.unwrap().len(), 2);
    assert!(tolerant.load(Ordering::Relaxed) >= 5);
}

async fn a_dead_letter_that_is_skipped_lets_its_stream_go_on(world: World) {
    let witness = Witness::that(|reacting| match reacting.event().event_type.as_str() {
        "Cursed" => Err(ReactError::permanent("no")),
        _ => Ok(()),
    });
    let inboxes = world.start([Inbox::new("email", witness.clone())]).await;
    world.append("issue-1", &["Cursed", "Closed"]).await;
    idle(&inboxes).await;
    assert_eq!(witness.events(), ["issue-1@1 Cursed"]);
    let dead = SelectDeliveries::all().state(DeliveryState::Dead);
    assert_eq!(inboxes.skip(dead, "the address is gone, says ada").await.unwrap(), 1);
    until("the next is delivered", || witness.count() == 2).await;
    idle(&inboxes).await;
    let all = inboxes.deliveries(SelectDeliveries::all(), 9).await.unwrap();
    assert_eq!(all[0].state, DeliveryState::Skipped);
    assert_eq!(all[0].skipped.as_deref(), Some("the address is gone, says ada"));
    assert_eq!(all[1].state, DeliveryState::Done);
}

async fn dead_letters_are_found_and_retried_by_what_they_are(world: World) {
    let away = Arc::new(AtomicU32::new(1));
    let is_away = Arc::clone(&away);
    let witness = Witness::that(move |_| match is_away.load(Ordering::Relaxed) {
        0 => Ok(()),
        _ => Err(ReactError::permanent("away")),
    });
    let inboxes = world
        .start([
            Inbox::new("email", witness.clone()).unordered(),
            Inbox::new("chat", witness.clone()).unordered(),
        ])
        .await;
    world.append("issue-1", &["Opened", "Closed"]).await;
    idle(&inboxes).await;
    let email = SelectDeliveries::inbox("email".parse().unwrap());
    assert_eq!(inboxes.dead_letters(email.clone(), 9).await.unwrap().len(), 2);
    away.store(0, Ordering::Relaxed);
    let closed = email.event_type("Closed".parse().unwrap());
    assert_eq!(inboxes.retry(closed).await.unwrap(), 1);
    idle(&inboxes).await;
    let dead = inboxes.dead_letters(SelectDeliveries::all(), 9).await.unwrap();
    let ids: Vec<&DeliveryId> = dead.iter().map(|dead| &dead.id).collect();
    assert_eq!(dead.len(), 3, "{ids:?}");
    assert_eq!(inboxes.retry(SelectDeliveries::all()).await.unwrap(), 3);
    idle(&inboxes).await;
    assert!(inboxes.dead_letters(SelectDeliveries::all(), 9).await.unwrap().is_empty());
}
