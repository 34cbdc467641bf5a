//! Closing a store.

use std::time::Duration;

use annals_core::{
    AppendError, Data, EventStore, EventStoreExt, EventType, ExpectedVersion, NewEvent, StreamId,
};
use annals_postgres::PostgresStore;
use annals_scratch::Database;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_closed_store_has_given_its_connections_back_and_refuses_appends() {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.expect("the store opens");
    let append = || {
        let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
        store.append_to(StreamId::from_static("a-1"), ExpectedVersion::Any, [event])
    };
    append().await.expect("the store is open");
    // The store keeps more than one connection from now on.
    let (one, another) = tokio::join!(store.head(), store.head());
    one.and(another).expect("the store is open");
    timeout(DEADLINE, store.close()).await.expect("no connection is kept");
    assert_eq!(store.pool().size(), 0);
    let refused = append().await.expect_err("the store is closed");
    assert!(matches!(refused, AppendError::Closed), "{refused:?}");
}
