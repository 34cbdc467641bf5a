//! Appends that cannot be stored, and their neighbours.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_core::{
    Append, AppendError, Clock, Data, EventStore, EventStoreExt, EventType, ExpectedVersion,
    Invalid, Metadata, NewEvent, Read, StreamId, Timestamp,
};
use annals_postgres::PostgresStore;
use annals_scratch::Database;
use bytes::Bytes;
use futures_util::future::join_all;
use sqlx_core::connection::Connection;
use sqlx_postgres::PgConnection;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(30);

fn append(stream: u32, metadata: &'static [u8]) -> Append {
    let mut event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    event.metadata = Metadata::from_stored(Bytes::from_static(metadata));
    let stream = StreamId::of("a", stream).expect("a stream id");
    Append::to(stream, ExpectedVersion::Any, [event])
}

#[tokio::test]
async fn metadata_that_is_no_text_is_refused_at_once() {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    let refused = timeout(DEADLINE, store.append(append(1, b"{\"a\":\"\xff\"}"))).await;
    let refused = refused.expect("it is answered");
    assert!(matches!(refused, Err(AppendError::Invalid(Invalid::Metadata))), "{refused:?}");
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    let refused = store.append_in(&mut connection, &append(1, b"{\"a\":\"\xff\"}")).await;
    assert!(matches!(refused, Err(AppendError::Invalid(Invalid::Metadata))), "{refused:?}");
    store.append(append(1, b"{}")).await.unwrap();
}

/// What only the server can tell fails the one, not the group.
#[tokio::test]
async fn one_that_the_server_refuses_fails_alone() {
    let database = Database::create().await;
    let store = PostgresStore::options().lanes(1).connect(database.url()).await.unwrap();
    let appends = (0..20).map(|stream| append(stream, if stream == 7 { b"{no}" } else { b"{}" }));
    let answers = join_all(appends.map(|append| store.append(append))).await;
    let refused: Vec<_> = (0..).zip(&answers).filter(|(_, answer)| answer.is_err()).collect();
    assert!(matches!(refused[..], [(7, Err(AppendError::Unavailable(_)))]), "{refused:?}");
    assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), 19);
}

/// Panics once, in the middle of an append.
#[derive(Debug, Default)]
struct Faulty(AtomicBool);

impl Clock for Faulty {
    fn now(&self) -> Timestamp {
        assert!(self.0.swap(true, Ordering::SeqCst), "the clock is faulty, as it is meant to be");
        Timestamp::EPOCH
    }
}

#[tokio::test]
async fn a_panic_holds_up_nobody_else() {
    let database = Database::create().await;
    let options = PostgresStore::options().lanes(1).clock(Arc::new(Faulty::default()));
    let store = options.connect(database.url()).await.unwrap();
    let conflicting = append(1, b"{}");
    // The same ids, so they are not in one group: one is lost, the other waits behind it.
    let both = join_all([store.append(conflicting.clone()), store.append(conflicting)]);
    let answers = timeout(DEADLINE, both).await.expect("they are answered");
    assert!(matches!(answers[0], Err(AppendError::Indeterminate(_))), "{answers:?}");
    assert!(answers[1].is_ok(), "{answers:?}");
    store.append(append(2, b"{}")).await.unwrap();
}
