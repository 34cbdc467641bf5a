//! When deliveries are made: their moment, open hours, rates, priorities.

use std::time::Duration;

use annals::inbox::{OpenHours, RateLimit};
use annals::{Clock, Inbox, ReactError, SelectDeliveries};

use crate::inbox::world::{Witness, World, at, idle, until};

on_every_read_side!(
    a_delivery_with_a_moment_waits_for_it,
    an_inbox_makes_no_more_attempts_than_its_rate_allows,
    an_inbox_is_open_by_the_local_clock_also_when_that_is_put_forward,
    scarce_workers_go_to_the_higher_priority_first,
);

async fn a_delivery_with_a_moment_waits_for_it(world: World) {
    let witness = Witness::new();
    let tomorrow = at("2026-03-02T08:00:00Z");
    let inbox = Inbox::new("reminder", witness.clone())
        .unordered()
        .due(move |event| (event.event_type.as_str() == "Deferred").then_some(tomorrow));
    let inboxes = world.start([inbox]).await;
    world.append("issue-1", &["Deferred", "Opened"]).await;
    idle(&inboxes).await;
    assert_eq!(witness.events(), ["issue-1@2 Opened"]);
    // It survives that nobody is there.
    inboxes.stop().await;
    let again = Inbox::new("reminder", witness.clone());
    let inboxes = world.start([again]).await;
    world.clock.set(at("2026-03-02T07:59:59Z"));
    idle(&inboxes).await;
    assert_eq!(witness.count(), 1);
    world.clock.set(tomorrow);
    until("it is delivered", || witness.count() == 2).await;
}

async fn an_inbox_makes_no_more_attempts_than_its_rate_allows(world: World) {
    let witness = Witness::new();
    let inbox = Inbox::new("api", witness.clone()).unordered().concurrency(8);
    let inboxes = world.start([inbox.rate(RateLimit::per_second(3))]).await;
    world.append("issue-1", &["Opened"; 8]).await;
    for count in [3, 6, 8] {
        until("as many as are allowed", || witness.count() == count).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(witness.count(), count);
        world.pass(Duration::from_secs(1));
    }
    idle(&inboxes).await;
    // What had to wait was not counted as an attempt.
    assert!(witness.seen().iter().all(|seen| seen.attempt == 1));
}

async fn an_inbox_is_open_by_the_local_clock_also_when_that_is_put_forward(world: World) {
    let witness = Witness::new();
    let hours = OpenHours::in_zone("Europe/Berlin").unwrap().open("08:00", "20:00").unwrap();
    let inboxes = world.start([Inbox::new("email", witness.clone()).hours(hours)]).await;
    // Saturday evening, the night before clocks are put forward.
    world.clock.set(at("2026-03-28T18:59:00Z"));
    world.append("issue-1", &["Opened"]).await;
    until("it is open", || witness.count() == 1).await;
    world.clock.set(at("2026-03-28T19:00:00Z"));
    world.append("issue-1", &["Closed"]).await;
    for closed in ["2026-03-28T19:00:01Z", "2026-03-29T01:30:00Z", "2026-03-29T05:59:59Z"] {
        world.clock.set(at(closed));
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(witness.count(), 1, "{closed}");
    }
    // Eight o'clock in summer, an hour earlier than the day before.
    world.clock.set(at("2026-03-29T06:00:00Z"));
    until("it is open again", || witness.count() == 2).await;
    idle(&inboxes).await;
    assert_eq!(witness.seen()[1].attempt, 1);
    let all = inboxes.deliveries(SelectDeliveries::all(), 9).await.unwrap();
    assert!(all[1].enqueued_at < world.clock.now());
}

async fn scarce_workers_go_to_the_higher_priority_first(world: World) {
    let [high, low] = [(), ()].map(|()| Witness::new().taking(Duration::from_millis(5)));
    let blocker = Witness::that(|_| Err(ReactError::permanent("done")));
    let blocker = blocker.taking(Duration::from_millis(300));
    let only = |name, witness: &Witness, kind| {
        Inbox::new(name, witness.clone())
            .unordered()
            .accepts(crate::inbox::world::of(&[kind]))
    };
    let runner = world.runner().workers_max(1);
    let inboxes = runner
        .inbox(only("low", &low, "Work").priority(-5))
        .inbox(only("high", &high, "Work").priority(5))
        .inbox(only("blocker", &blocker, "Block"))
        .start()
        .await
        .unwrap();
    world.append("issue-1", &["Block"]).await;
    until("the only worker is busy", || blocker.count() == 1).await;
    world.append("issue-1", &["Work"; 10]).await;
    until("the urgent are done", || high.count() == 10).await;
    // One at most was taken while nobody urgent was waiting.
    assert!(low.count() <= 2, "{} of the others were made meanwhile", low.count());
    idle(&inboxes).await;
    assert_eq!(low.count(), 10);
}
