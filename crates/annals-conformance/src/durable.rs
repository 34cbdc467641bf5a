//! S2: what append acknowledged is still there after opening again.
//!
//! Killing the process and cutting the power need a process of their own and are tested by each
//! backend; here the store is dropped and opened again.

use annals_core::{Append, AppendCondition, Data, ExpectedVersion, Position, Read, Subscribe};

use crate::Durable;
use crate::probe::{Probe, same_events};
use crate::storm::storm;
use crate::words::{event, events, exact, stream, tag, tagged};

use ExpectedVersion::{Any, NoStream};

async fn open(backend: &dyn Durable) -> Probe {
    Probe::over(backend.open_at("place").await)
}

pub(crate) async fn s2_every_event_is_found_again(backend: &dyn Durable) {
    let store = open(backend).await;
    let mut odd = event("Odd").tagged(tag("b:2")).tagged(tag("a:1"));
    odd.data = Data::json(vec![0, 159, 146, 150]);
    odd.schema_version = 7;
    let append =
        Append::to(stream("a-1"), NoStream, events("Made", 3)).and_to(stream("b-1"), Any, [odd]);
    store.accepts(append).await;
    storm(&store, 8, 3, |writer, _| {
        Append::to(stream(format!("c-{}", writer % 3)), Any, events("Made", 2))
    })
    .await;
    let (log, head) = (store.log().await, store.head().await);
    assert_eq!(log.len(), 4 + 48);
    drop(store);
    for _ in 0..2 {
        let store = open(backend).await;
        same_events("the log opened again", &log, &store.log().await);
        assert_eq!(store.head().await, head);
    }
}

/// A reader may have seen every position up to the head: nothing new may come there (S5).
pub(crate) async fn s2_the_log_goes_on_behind_its_head(backend: &dyn Durable) {
    let mut head = Position::START;
    for round in 0..3 {
        let store = open(backend).await;
        assert_eq!(store.head().await, head);
        for n in 0..2 {
            let append = Append::to(stream("a-1"), exact(2 * round + n), events("Made", 1));
            let receipt = store.accepts(append).await;
            assert!(receipt.first_position > head, "{receipt:?} must stand behind {head}");
            head = receipt.last_position;
        }
    }
    assert_eq!(open(backend).await.log().await.len(), 6);
}

pub(crate) async fn s2_repeats_are_known_after_opening_again(backend: &dyn Durable) {
    let store = open(backend).await;
    let append = Append::to(stream("b-1"), NoStream, events("Made", 2)).and_to(
        stream("a-1"),
        Any,
        events("Made", 2),
    );
    let first = store.accepts(append.clone()).await;
    store.accepts(Append::to(stream("b-1"), Any, events("Made", 1))).await;
    drop(store);
    let store = open(backend).await;
    assert_eq!(store.accepts(append.clone()).await, first);
    let partial = Append::to(stream("b-1"), Any, append.streams[0].events.clone());
    store.refuses(partial).await;
}

pub(crate) async fn s2_conflicts_are_known_after_opening_again(backend: &dyn Durable) {
    let store = open(backend).await;
    let seen = store.head().await;
    let taken = Append::to(stream("a-1"), NoStream, [event("Taken").tagged(tag("seat:1"))]);
    store.accepts(taken).await;
    drop(store);
    let store = open(backend).await;
    store.conflicts(Append::to(stream("a-1"), NoStream, events("Made", 1))).await;
    let condition = AppendCondition::none_match_after(tagged(["seat:1"]), seen);
    let other = Append::to(stream("b-1"), Any, events("Made", 1));
    store.conflicts(other.only_if(condition)).await;
}

pub(crate) async fn s2_a_subscriber_goes_on_after_opening_again(backend: &dyn Durable) {
    let store = open(backend).await;
    store.accepts(Append::to(stream("a-1"), Any, events("Made", 3))).await;
    let (seen, checkpoint) = store.subscribe(Subscribe::all()).until_caught_up().await;
    store.accepts(Append::to(stream("a-1"), Any, events("Made", 2))).await;
    drop(store);
    let store = open(backend).await;
    let mut follower = store.subscribe(Subscribe::all().after(checkpoint));
    let (mut all, _) = follower.until_caught_up().await;
    let receipt = store.accepts(Append::to(stream("a-1"), Any, events("Made", 1))).await;
    all.extend(follower.up_to(receipt.last_position).await);
    same_events("both subscriptions", &store.read(Read::all()).await, &[seen, all].concat());
}
