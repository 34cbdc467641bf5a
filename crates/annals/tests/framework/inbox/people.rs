//! What people do with inboxes while they run.

use std::sync::Arc;
use std::time::Duration;

use annals::inbox::{StartError, WaitError};
use annals::{Inbox, Inboxes, Position, ReadSideError, SubscriberState};

use crate::inbox::world::{Witness, World, idle, until};

on_every_read_side!(
    a_paused_inbox_delivers_nothing_until_it_is_resumed,
    a_pause_survives_a_restart_and_is_told_from_elsewhere,
    a_disabled_inbox_never_gets_what_came_meanwhile,
    status_tells_how_inboxes_stand,
    an_inbox_that_nobody_runs_is_deleted_and_begins_anew,
    what_was_made_long_ago_is_forgotten,
    an_engine_forgets_what_is_its_own,
    waiting_ends_with_the_time_and_names_who_is_behind,
    inboxes_with_the_same_name_do_not_start,
    what_is_stopped_finishes_what_it_makes_and_gives_back_the_rest,
);

async fn a_paused_inbox_delivers_nothing_until_it_is_resumed(world: World) {
    let [email, chat] = [Witness::new(), Witness::new()];
    let inboxes =
        world.start([Inbox::new("email", email.clone()), Inbox::new("chat", chat.clone())]).await;
    inboxes.pause("email").await.unwrap();
    world.append("issue-1", &["Opened", "Closed"]).await;
    idle(&inboxes).await;
    assert_eq!((email.count(), chat.count()), (0, 2));
    inboxes.resume("email").await.unwrap();
    idle(&inboxes).await;
    assert_eq!(email.count(), 2);
    let unknown = inboxes.pause("mail").await.unwrap_err();
    assert!(matches!(unknown, ReadSideError::Unknown(_)), "{unknown:?}");
}

async fn a_pause_survives_a_restart_and_is_told_from_elsewhere(world: World) {
    let email = Witness::new();
    let inboxes = world.start([Inbox::new("email", email.clone())]).await;
    let elsewhere = Inboxes::over(Arc::clone(&world.queue));
    elsewhere.pause("email").await.unwrap();
    inboxes.stop().await;
    let inboxes = world.start([Inbox::new("email", email.clone())]).await;
    world.append("issue-1", &["Opened"]).await;
    idle(&inboxes).await;
    assert_eq!(email.count(), 0);
    elsewhere.resume("email").await.unwrap();
    until("it goes on", || email.count() == 1).await;
}

async fn a_disabled_inbox_never_gets_what_came_meanwhile(world: World) {
    let email = Witness::new();
    let inboxes = world.start([Inbox::new("email", email.clone())]).await;
    world.append("issue-1", &["Opened"]).await;
    idle(&inboxes).await;
    inboxes.disable("email").await.unwrap();
    world.append("issue-1", &["Assigned"]).await;
    idle(&inboxes).await;
    inboxes.enable("email").await.unwrap();
    world.append("issue-1", &["Closed"]).await;
    idle(&inboxes).await;
    assert_eq!(email.events(), ["issue-1@1 Opened", "issue-1@3 Closed"]);
}

async fn status_tells_how_inboxes_stand(world: World) {
    let inboxes = world
        .start([Inbox::new("email", Witness::failing(1)), Inbox::new("chat", Witness::new())])
        .await;
    let head = world.append("issue-1", &["Opened", "Closed"]).await;
    idle(&inboxes).await;
    inboxes.pause("chat").await.unwrap();
    let status = inboxes.status().await.unwrap();
    assert_eq!(status.iter().map(|one| one.inbox.as_str()).collect::<Vec<_>>(), ["chat", "email"]);
    assert_eq!(
        (status[0].state, status[1].state),
        (SubscriberState::Paused, SubscriberState::Running)
    );
    assert!(status.iter().all(|one| one.position == head && one.reader.is_some()), "{status:?}");
    assert_eq!((status[1].retrying, status[1].waiting, status[1].dead), (1, 1, 0));
    // Elsewhere, one that has nothing to do is known to be an inbox as well.
    let elsewhere = Inboxes::over(Arc::clone(&world.queue)).status().await.unwrap();
    assert_eq!(elsewhere.len(), 2);
}

async fn an_inbox_that_nobody_runs_is_deleted_and_begins_anew(world: World) {
    let define = |witness: &Witness| Inbox::new("email", witness.clone()).from_beginning();
    let (failing, chat) = (Witness::failing(1), Witness::new());
    let inboxes = world.start([define(&failing), Inbox::new("chat", chat)]).await;
    world.append("issue-1", &["Opened", "Closed"]).await;
    idle(&inboxes).await;
    let elsewhere = Inboxes::over(Arc::clone(&world.queue)).with_clock(Arc::clone(&world.clock));
    let refused = elsewhere.delete("email").await.unwrap_err();
    assert!(matches!(refused, ReadSideError::InUse { .. }), "{refused:?}");
    inboxes.stop().await;

    assert_eq!(elsewhere.delete("email").await.unwrap().deliveries, 2);
    let status = elsewhere.status().await.unwrap();
    assert_eq!(status.iter().map(|one| one.inbox.as_str()).collect::<Vec<_>>(), ["chat"]);
    for unknown in ["email", "mail", ""] {
        let unknown = elsewhere.delete(unknown).await.unwrap_err();
        assert!(matches!(unknown, ReadSideError::Unknown(_)), "{unknown:?}");
    }
    let email = Witness::new();
    let inboxes = world.start([define(&email)]).await;
    idle(&inboxes).await;
    assert_eq!(email.events(), ["issue-1@1 Opened", "issue-1@2 Closed"]);
    assert!(email.seen().iter().all(|seen| seen.attempt == 1), "{:?}", email.seen());
}

async fn waiting_ends_with_the_time_and_names_who_is_behind(world: World) {
    let slow = Witness::new().taking(Duration::from_secs(3600));
    let inboxes =
        world.start([Inbox::new("slow", slow), Inbox::new("quick", Witness::new())]).await;
    let position = world.append("issue-1", &["Opened"]).await;
    let error = inboxes.wait_for(position, Duration::from_millis(300)).await.unwrap_err();
    let WaitError::TimedOut { behind, .. } = error else { panic!("{error:?}") };
    assert_eq!(behind.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["slow"]);
    let error = inboxes.wait_for(Position::new(1_000_000), Duration::ZERO).await.unwrap_err();
    let WaitError::TimedOut { behind, .. } = error else { panic!("{error:?}") };
    assert_eq!(behind.len(), 2);
}

async fn inboxes_with_the_same_name_do_not_start(world: World) {
    let twice = [(), ()].map(|()| Inbox::new("email", Witness::new()));
    let runner = twice.into_iter().fold(world.runner(), annals::inbox::InboxRunner::inbox);
    let error = runner.start().await.unwrap_err();
    assert!(matches!(error, StartError::Twice(_)), "{error:?}");
}

async fn what_is_stopped_finishes_what_it_makes_and_gives_back_the_rest(world: World) {
    let slow = Witness::new().taking(Duration::from_millis(100));
    let stuck = Witness::new().taking(Duration::from_secs(3600));
    let define = |stuck: &Witness| {
        [
            Inbox::new("slow", slow.clone()).unordered().concurrency(2),
            Inbox::new("stuck", stuck.clone()).unordered().concurrency(2),
        ]
    };
    let runner = define(&stuck).into_iter().fold(world.runner(), annals::inbox::InboxRunner::inbox);
    let inboxes = runner.grace(Duration::from_millis(400)).start().await.unwrap();
    world.append("issue-1", &["Opened"; 4]).await;
    until("they are being made", || slow.count() == 2 && stuck.count() == 2).await;
    inboxes.stop().await;
    assert_eq!(slow.count(), 2);
    let queue = Inboxes::over(Arc::clone(&world.queue)).status().await.unwrap();
    assert!(queue.iter().all(|one| one.taken == 0 && one.reader.is_none()), "{queue:?}");
    // No lease has to run out, and what was given back was no attempt.
    let free = Witness::new();
    let inboxes = world.start(define(&free)).await;
    idle(&inboxes).await;
    assert_eq!((slow.count(), free.count()), (4, 4));
    assert!(free.seen().iter().all(|seen| seen.attempt == 1), "{:?}", free.seen());
}

async fn what_was_made_long_ago_is_forgotten(world: World) {
    let email = Witness::new();
    let inboxes = world.start([Inbox::new("email", email.clone())]).await;
    world.append("issue-1", &["Opened", "Closed"]).await;
    idle(&inboxes).await;
    inboxes.stop().await;
    let remembered = async || {
        let all = annals::SelectDeliveries::all();
        world.queue.deliveries(&all, 10).await.expect("the queue answers").len()
    };
    assert_eq!(remembered().await, 2);
    let day = Duration::from_secs(24 * 3_600);
    world.clock.set(annals::Clock::now(&*world.clock).saturating_add(day));
    let runner = world.annals().inboxes(Arc::clone(&world.queue));
    let running = runner.inbox(Inbox::new("email", email.clone())).remember(day * 2);
    running.start().await.expect("it starts").stop().await;
    assert_eq!(remembered().await, 2, "it is not long ago yet");
    let runner = world.annals().inboxes(Arc::clone(&world.queue)).remember(day / 2);
    let running = runner.inbox(Inbox::new("email", email.clone())).start().await.unwrap();
    let begun = tokio::time::Instant::now();
    while remembered().await > 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing is forgotten");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    idle(&running).await;
    assert_eq!(email.count(), 2, "what is forgotten is not made again");
}

async fn an_engine_forgets_what_is_its_own(world: World) {
    let define = |name| Inbox::new(name, Witness::new());
    let other = world.start([define("audit"), define("email")]).await;
    world.append("issue-1", &["Opened"]).await;
    idle(&other).await;
    world.pass(Duration::from_secs(24 * 3_600));
    let runner = world.runner().remember(Duration::from_secs(3_600));
    let forgetful = runner.inbox(define("email")).start().await.unwrap();
    let remembered = async |inbox: &str| {
        let which = annals::SelectDeliveries::inbox(inbox.parse().unwrap());
        world.queue.deliveries(&which, 10).await.expect("the queue answers").len()
    };
    let begun = tokio::time::Instant::now();
    while remembered("email").await > 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing is forgotten");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    forgetful.stop().await;
    assert_eq!(remembered("audit").await, 1, "whoever runs it remembers for longer");
}
