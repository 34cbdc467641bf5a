//! What is sent, and what is made of the answer.

use std::time::Duration;

use annals::{Clock, ReactError, ReactErrorKind};
use annals_webhooks::{EventFilter, Outcome};
use axum::body::Body;

use crate::world::{Receiver, World, silent};

fn message(error: &ReactError) -> String {
    let first = error.source() as &(dyn std::error::Error + 'static);
    let chain = std::iter::successors(Some(first), |&error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn a_receiver_can_verify_what_it_gets() {
    let (world, receiver) = (World::new(), Receiver::start().await);
    let crm = world.register(&receiver.url()).await;
    let event = world.deposit().await;
    world.attempt(&crm.id, &event, 1).await.unwrap();

    let [got] = &receiver.got()[..] else { panic!("one request") };
    assert!(got.verified_by(&crm.secret, world.clock.now()));
    let other = annals_webhooks::Secret::generate().unwrap();
    assert!(!got.verified_by(&other, world.clock.now()));
    assert_eq!(got.header("webhook-id"), event.id.to_string());
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.path, "/hook");
}

#[tokio::test]
async fn a_repeat_has_the_same_id_and_body_and_another_timestamp() {
    let (world, receiver) = (World::new(), Receiver::start().await);
    let crm = world.register(&receiver.url()).await;
    let event = world.deposit().await;
    world.attempt(&crm.id, &event, 1).await.unwrap();
    world.later(Duration::from_hours(1));
    world.attempt(&crm.id, &event, 2).await.unwrap();
    let [first, second] = &receiver.got()[..] else { panic!("two requests") };
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!(first.body, second.body);
    assert_ne!(first.header("webhook-timestamp"), second.header("webhook-timestamp"));
    assert!(second.verified_by(&crm.secret, world.clock.now()));
}

#[tokio::test]
async fn both_secrets_sign_while_one_takes_the_place_of_the_other() {
    let (world, receiver) = (World::new(), Receiver::start().await);
    let crm = world.register(&receiver.url()).await;
    let new = world.webhooks.rotate(&crm.id, Duration::from_hours(24)).await.unwrap();
    let event = world.deposit().await;
    world.attempt(&crm.id, &event, 1).await.unwrap();
    world.later(Duration::from_hours(24));
    world.attempt(&crm.id, &event, 2).await.unwrap();

    let [within, after] = &receiver.got()[..] else { panic!("two requests") };
    let before = world.clock.now();
    let earlier = crate::world::NOW.parse().unwrap();
    assert_eq!(within.header("webhook-signature").split(' ').count(), 2);
    assert!(within.verified_by(&crm.secret, earlier) && within.verified_by(&new, earlier));
    assert!(!after.verified_by(&crm.secret, before) && after.verified_by(&new, before));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (world, receiver, elsewhere) =
        (World::new(), Receiver::start().await, Receiver::start().await);
    let crm = world.register(&receiver.url()).await;
    for status in [301, 302, 303, 307, 308] {
        receiver.answers(status, &[("location", &elsewhere.url())], "");
        let event = world.deposit().await;
        let error = world.attempt(&crm.id, &event, 1).await.unwrap_err();
        assert_eq!(error.kind(), ReactErrorKind::Permanent, "{status}");
        let message = message(&error);
        assert!(message.contains("a redirect, which is not followed"), "{message}");
    }
    assert!(elsewhere.got().is_empty());
}

#[tokio::test]
async fn a_receiver_that_says_nothing_is_given_up_in_time() {
    let world = World::with(|options| options.timeout(Duration::from_millis(200)));
    let crm = world.register(&format!("http://{}/", silent().await)).await;
    let event = world.deposit().await;
    let attempt = tokio::time::timeout(Duration::from_secs(10), world.attempt(&crm.id, &event, 1));
    let error = attempt.await.expect("the attempt has an end of its own").unwrap_err();
    assert_eq!(error.kind(), ReactErrorKind::Transient);
    assert_eq!(message(&error), "there was no answer within 200ms");
}

#[tokio::test]
async fn tls_that_never_begins_is_given_up_in_time() {
    let world = World::with(|options| options.connect_timeout(Duration::from_millis(200)));
    let crm = world.register(&format!("https://{}/", silent().await)).await;
    let event = world.deposit().await;
    let attempt = tokio::time::timeout(Duration::from_secs(10), world.attempt(&crm.id, &event, 1));
    let error = attempt.await.expect("the attempt has an end of its own").unwrap_err();
    assert_eq!(error.kind(), ReactErrorKind::Transient);
    let message = message(&error);
    assert!(message.contains("no connection within 200ms"), "{message}");
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_tried_again() {
    let world = World::new();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let crm = world.register(&format!("http://{gone}/")).await;
    let event = world.deposit().await;
    let error = world.attempt(&crm.id, &event, 1).await.unwrap_err();
    assert_eq!(error.kind(), ReactErrorKind::Transient);
    assert!(message(&error).starts_with("could not connect"), "{}", message(&error));
}

#[tokio::test]
async fn a_giant_answer_is_cut() {
    let world = World::with(|options| options.response_bytes_max(10));
    let receiver = Receiver::start().await;
    let crm = world.register(&receiver.url()).await;
    let event = world.deposit().await;
    let chunk = || Ok::<_, std::io::Error>(vec![b'x'; 1 << 16]);
    let endless = futures_util::stream::repeat_with(chunk);
    receiver.answers(200, &[], Body::from_stream(endless));
    let attempt = tokio::time::timeout(Duration::from_secs(10), world.attempt(&crm.id, &event, 1));
    let noted = attempt.await.expect("nobody reads to the end").unwrap();
    assert_eq!(noted, "200 xxxxxxxxxx…");
    let attempts = world.webhooks.attempts(&crm.id);
    assert_eq!((attempts[0].response.as_str(), attempts[0].truncated), ("xxxxxxxxxx", true));
}

#[tokio::test]
async fn an_answer_that_never_ends_says_by_its_status_that_it_arrived() {
    let world = World::with(|options| options.timeout(Duration::from_millis(500)));
    let receiver = Receiver::start().await;
    let crm = world.register(&receiver.url()).await;
    let event = world.deposit().await;
    let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    receiver.answers(200, &[], Body::from_stream(never));
    assert_eq!(world.attempt(&crm.id, &event, 1).await.unwrap(), "200 …");
}

#[tokio::test]
async fn a_message_that_is_too_large_is_not_sent() {
    let world = World::with(|options| options.body_bytes_max(100));
    let receiver = Receiver::start().await;
    let crm = world.register(&receiver.url()).await;
    let event = world.deposit().await;
    let error = world.attempt(&crm.id, &event, 1).await.unwrap_err();
    assert_eq!(error.kind(), ReactErrorKind::Permanent);
    assert!(message(&error).contains("at most 100 are sent"), "{}", message(&error));
    assert!(receiver.got().is_empty());
}

#[tokio::test]
async fn a_receiver_is_left_alone_for_as_long_as_it_asks() {
    let world = World::with(|options| options.retry_after_max(Duration::from_mins(2)));
    let receiver = Receiver::start().await;
    let crm = world.register(&receiver.url()).await;
    let event = world.deposit().await;
    for (status, asked, granted) in
        [(429, "7", 7), (503, "3600", 120), (503, "Sun, 01 Mar 2026 12:01:00 GMT", 60)]
    {
        receiver.answers(status, &[("retry-after", asked)], "");
        let error = world.attempt(&crm.id, &event, 1).await.unwrap_err();
        let wait = Duration::from_secs(granted);
        assert_eq!(error.kind(), ReactErrorKind::RetryAfter(wait), "{status} {asked}");
    }
    receiver.answers(500, &[("retry-after", "7")], "");
    let error = world.attempt(&crm.id, &event, 1).await.unwrap_err();
    assert_eq!(error.kind(), ReactErrorKind::Transient);
}

#[tokio::test]
async fn the_last_attempts_are_kept_the_newest_first() {
    let world = World::with(|options| options.attempts_kept_max(2));
    let receiver = Receiver::start().await;
    let crm = world.register(&receiver.url()).await;
    let event = world.deposit().await;
    receiver.answers(500, &[], "first");
    receiver.answers(500, &[], "second");
    world.attempt(&crm.id, &event, 1).await.unwrap_err();
    world.attempt(&crm.id, &event, 2).await.unwrap_err();
    world.attempt(&crm.id, &event, 3).await.unwrap();

    let kept = world.webhooks.attempts(&crm.id);
    let [third, second] = &kept[..] else { panic!("two of three attempts: {kept:?}") };
    assert_eq!((third.number, third.status, third.outcome), (3, Some(204), Outcome::Delivered));
    assert_eq!(third.error, None);
    assert_eq!((second.number, second.status, &*second.response), (2, Some(500), "second"));
    assert_eq!(second.error.as_deref(), Some("the receiver answered 500"));
    assert_eq!(second.event, event.id);
}

#[tokio::test]
async fn what_waits_goes_to_the_new_url() {
    let (world, old, new) = (World::new(), Receiver::start().await, Receiver::start().await);
    let crm = world.register(&old.url()).await;
    let event = world.deposit().await;
    world.webhooks.update(&crm.id, new.url(), EventFilter::all(), None).await.unwrap();
    world.attempt(&crm.id, &event, 1).await.unwrap();
    assert_eq!((old.got().len(), new.got().len()), (0, 1));
}
