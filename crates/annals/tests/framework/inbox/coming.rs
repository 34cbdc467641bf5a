//! Inboxes that come and go while others run, and those that are fed.

use std::sync::Arc;
use std::time::Duration;

use annals::inbox::{StartError, WaitError};
use annals::{DeliveryState, Inbox, Inboxes, Position, SelectDeliveries, SubscriberName};

use crate::inbox::world::{PATIENCE, Witness, World, idle, of, until};

on_every_read_side!(
    an_inbox_comes_while_others_run,
    an_inbox_that_is_removed_is_handed_over_and_the_others_go_on,
    what_is_removed_finishes_what_it_makes_and_gives_back_the_rest,
    attempts_of_a_removed_inbox_that_take_too_long_are_given_back,
    an_inbox_that_is_fed_reads_nothing,
    what_is_enqueued_here_is_noticed_at_once,
    an_inbox_that_is_fed_can_be_paused,
    intervals_of_zero_are_taken_for_short_ones,
);

fn name(name: &'static str) -> SubscriberName {
    SubscriberName::from_static(name)
}

async fn an_inbox_comes_while_others_run(world: World) {
    let [email, chat, late] = [Witness::new(), Witness::new(), Witness::new()];
    let inboxes = world.start([Inbox::new("email", email.clone())]).await;
    world.append("issue-1", &["Opened"]).await;
    idle(&inboxes).await;
    inboxes.add(Inbox::new("chat", chat.clone()).accepts(of(&["Opened"]))).await.unwrap();
    inboxes.add(Inbox::new("late", late.clone()).from_now()).await.unwrap();
    world.append("issue-1", &["Closed"]).await;
    idle(&inboxes).await;
    assert_eq!(email.events(), ["issue-1@1 Opened", "issue-1@2 Closed"]);
    assert_eq!(chat.events(), ["issue-1@1 Opened"]);
    assert_eq!(late.events(), ["issue-1@2 Closed"]);
    let twice = inboxes.add(Inbox::new("chat", Witness::new())).await.unwrap_err();
    assert!(matches!(&twice, StartError::Twice(one) if *one == name("chat")), "{twice:?}");
    assert_eq!(format!("{inboxes:?}"), r#"["chat", "email", "late"]"#);
}

async fn an_inbox_that_is_removed_is_handed_over_and_the_others_go_on(world: World) {
    let [email, chat, elsewhere] = [Witness::new(), Witness::new(), Witness::new()];
    let inboxes =
        world.start([Inbox::new("email", email.clone()), Inbox::new("chat", chat.clone())]).await;
    world.append("issue-1", &["Opened"]).await;
    idle(&inboxes).await;
    assert!(inboxes.remove(&name("chat")).await);
    assert!(!inboxes.remove(&name("chat")).await);
    let status = inboxes.status().await.unwrap();
    assert!(status[0].reader.is_none() && status[1].reader.is_some(), "{status:?}");
    world.append("issue-1", &["Closed"]).await;
    idle(&inboxes).await;
    assert_eq!((email.count(), chat.count()), (2, 1));
    // Whoever runs it next, here or elsewhere, begins where it was.
    let other = world.start([Inbox::new("chat", elsewhere.clone())]).await;
    idle(&other).await;
    assert_eq!(elsewhere.events(), ["issue-1@2 Closed"]);
    other.stop().await;
    inboxes.add(Inbox::new("chat", chat.clone())).await.unwrap();
    world.append("issue-1", &["Opened"]).await;
    idle(&inboxes).await;
    assert_eq!(chat.events(), ["issue-1@1 Opened", "issue-1@3 Opened"]);
}

async fn what_is_removed_finishes_what_it_makes_and_gives_back_the_rest(world: World) {
    let slow = Witness::new().taking(Duration::from_millis(100));
    let inboxes = world.start([Inbox::new("slow", slow.clone()).unordered().concurrency(2)]).await;
    world.append("issue-1", &["Opened"; 9]).await;
    until("it makes some", || slow.count() >= 2).await;
    assert!(inboxes.remove(&name("slow")).await);
    slow.until_alone().await;
    let all = inboxes.deliveries(SelectDeliveries::all(), 99).await.unwrap();
    let done = all.iter().filter(|one| one.state == DeliveryState::Done).count();
    let fresh =
        |one: &&annals::DeliveryInfo| (one.state, one.attempts) == (DeliveryState::Waiting, 0);
    assert_eq!(done, slow.count(), "{all:?}");
    assert_eq!((done + all.iter().filter(fresh).count(), all.len()), (9, 9), "{all:?}");
}

async fn attempts_of_a_removed_inbox_that_take_too_long_are_given_back(world: World) {
    let stuck = Witness::new().taking(Duration::from_secs(3600));
    let runner = world.runner().grace(Duration::from_millis(50));
    let inboxes = runner.inbox(Inbox::new("stuck", stuck.clone())).start().await.unwrap();
    world.append("issue-1", &["Opened"]).await;
    until("it is stuck", || stuck.count() == 1).await;
    assert!(inboxes.remove(&name("stuck")).await);
    let all = inboxes.deliveries(SelectDeliveries::all(), 99).await.unwrap();
    assert_eq!((all[0].state, all[0].attempts), (DeliveryState::Waiting, 0), "{all:?}");
    // It is free for whoever runs it next, and nobody keeps it.
    let quick = Witness::new();
    inboxes.add(Inbox::new("stuck", quick.clone())).await.unwrap();
    until("it is made", || quick.count() == 1).await;
}

async fn an_inbox_that_is_fed_reads_nothing(world: World) {
    let email = Witness::new();
    let fed = Inbox::new("email", email.clone()).fed().accepts(of(&["Opened"]));
    let inboxes = world.start([fed]).await;
    world.append("issue-1", &["Closed"]).await;
    let closed = world.delivery_of_last("email").await;
    let head = world.append("issue-1", &["Opened"]).await;
    let opened = world.delivery_of_last("email").await;
    idle(&inboxes).await;
    assert_eq!(email.count(), 0);
    let status = inboxes.status().await.unwrap();
    assert_eq!((status[0].position, &status[0].reader), (Position::START, &None));
    assert_eq!(inboxes.enqueue(vec![closed.clone(), opened.clone()]).await.unwrap(), 2);
    assert_eq!(inboxes.enqueue(vec![opened, closed]).await.unwrap(), 0);
    inboxes.wait_for(head, PATIENCE).await.unwrap();
    assert_eq!(email.events(), ["issue-1@2 Opened"], "what it accepts still holds");
}

async fn what_is_enqueued_here_is_noticed_at_once(world: World) {
    let email = Witness::new();
    let runner = world.runner().poll(Duration::from_secs(3600));
    let inboxes = runner.inbox(Inbox::new("email", email.clone()).fed()).start().await.unwrap();
    let feeds = (*inboxes).clone();
    for count in 1..=3 {
        world.append("issue-1", &["Opened"]).await;
        feeds.enqueue(vec![world.delivery_of_last("email").await]).await.unwrap();
        until("it is made", || email.count() == count).await;
    }
}

async fn an_inbox_that_is_fed_can_be_paused(world: World) {
    let email = Witness::new();
    let inboxes = world.start([Inbox::new("email", email.clone()).fed()]).await;
    let elsewhere = Inboxes::over(Arc::clone(&world.queue));
    elsewhere.pause("email").await.unwrap();
    world.append("issue-1", &["Opened"]).await;
    elsewhere.enqueue(vec![world.delivery_of_last("email").await]).await.unwrap();
    idle(&inboxes).await;
    assert_eq!(email.count(), 0);
    inboxes.resume("email").await.unwrap();
    idle(&inboxes).await;
    assert_eq!(email.count(), 1);
    let behind = inboxes.wait_for(Position::new(1_000_000), Duration::ZERO).await;
    assert!(!matches!(behind, Err(WaitError::TimedOut { .. })), "it is never behind the log");
}

async fn intervals_of_zero_are_taken_for_short_ones(world: World) {
    let email = Witness::new();
    let runner = world.runner().poll(Duration::ZERO).lease(Duration::ZERO);
    let inboxes = runner.inbox(Inbox::new("email", email.clone())).start().await.unwrap();
    world.append("issue-1", &["Opened"]).await;
    idle(&inboxes).await;
    assert_eq!(email.count(), 1);
    let reader = inboxes.status().await.unwrap().remove(0).reader.unwrap();
    assert!(reader.1 > annals::Clock::now(&*world.clock), "a lease lasts for a while");
}
