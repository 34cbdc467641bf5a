//! What happens to those who wait when a store is closed.

use std::time::Duration;

use annals_core::{
    Append, AppendError, Data, EventStore, EventStoreExt, EventType, ExpectedVersion, NewEvent,
    Notice, Read, ReadError, StreamId, Subscribe,
};
use annals_sqlite::SqliteStore;
use futures_util::StreamExt;

fn append(number: u32) -> Append {
    let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    Append::to(
        StreamId::of("a", number).expect("a valid stream id"),
        ExpectedVersion::NoStream,
        [event],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_stores_what_was_asked_for_and_refuses_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("annals.db")).unwrap();
    let asked: Vec<_> = (0..200)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.append(append(number)).await })
        })
        .collect();
    store.close().await;
    let mut stored = 0;
    for answer in asked {
        match answer.await.unwrap() {
            Ok(_) => stored += 1,
            Err(AppendError::Closed) => {}
            Err(error) => panic!("either stored or refused: {error:?}"),
        }
    }
    assert!(matches!(store.append(append(999)).await, Err(AppendError::Closed)));
    assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), stored);
    store.close().await;
}

#[tokio::test]
async fn closing_ends_subscriptions() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("annals.db")).unwrap();
    let mut subscription = store.subscribe(Subscribe::all());
    assert!(matches!(subscription.next().await, Some(Ok(Notice::CaughtUp(_)))));
    store.close().await;
    assert!(matches!(subscription.next().await, Some(Err(ReadError::Closed))));
    assert!(subscription.next().await.is_none());
}

#[tokio::test]
async fn dropping_the_store_ends_subscriptions_too() {
    for from_head in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("annals.db")).unwrap();
        let subscribe = if from_head { Subscribe::all().from_head() } else { Subscribe::all() };
        let mut subscription = store.subscribe(subscribe);
        assert!(matches!(subscription.next().await, Some(Ok(Notice::CaughtUp(_)))));
        drop(store);
        let end = tokio::time::timeout(Duration::from_secs(20), subscription.next()).await;
        assert!(matches!(end.unwrap(), Some(Err(ReadError::Closed))), "from head: {from_head}");
    }
}
