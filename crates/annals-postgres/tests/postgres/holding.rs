//! Transactions that hold what others want to append to, and do not end.

use std::time::Duration;

use annals_core::{
    Append, AppendError, Data, EventStore, EventStoreExt, EventType, ExpectedVersion, NewEvent,
    Read, StreamId,
};
use annals_postgres::PostgresStore;
use annals_scratch::Database;
use sqlx_core::connection::Connection;
use sqlx_core::query_scalar::query_scalar;
use sqlx_core::transaction::Transaction;
use sqlx_postgres::{PgConnection, Postgres};
use tokio::time::{Instant, timeout};

const DEADLINE: Duration = Duration::from_secs(60);

fn append(stream: u32) -> Append {
    let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    let stream = StreamId::of("a", stream).expect("a stream id");
    Append::to(stream, ExpectedVersion::Any, [event])
}

async fn open(database: &Database, patience: Duration) -> PostgresStore {
    let options = PostgresStore::options().patience(patience);
    options.connect(database.url()).await.expect("the store opens")
}

async fn connect(database: &Database) -> PgConnection {
    PgConnection::connect(database.url()).await.expect("a connection")
}

/// A transaction that has appended to a stream.
async fn hold<'c>(
    store: &PostgresStore,
    connection: &'c mut PgConnection,
    stream: u32,
) -> Transaction<'c, Postgres> {
    let mut transaction = connection.begin().await.expect("a transaction");
    store.append_in(&mut transaction, &append(stream)).await.expect("it may append");
    transaction
}

/// A transaction that waits for somebody who waits for it: the server sees only one of them.
#[tokio::test]
async fn an_append_inside_the_transaction_that_holds_its_stream_is_refused_in_time() {
    let database = Database::create().await;
    let store = open(&database, Duration::from_millis(500)).await;
    let mut connection = connect(&database).await;
    let transaction = hold(&store, &mut connection, 1).await;
    let refused = timeout(DEADLINE, store.append(append(1))).await.expect("it is answered");
    let Err(AppendError::Unavailable(fault)) = refused else { panic!("{refused:?}") };
    assert!(fault.to_string().contains("annals doctor"), "{fault}");
    transaction.commit().await.unwrap();
    store.append(append(1)).await.unwrap();
    assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), 2);
}

/// More streams are held than there are connections to wait on.
#[tokio::test(flavor = "multi_thread")]
async fn held_streams_do_not_hold_up_others() {
    const HELD: u32 = 6;
    let patience = Duration::from_secs(20);
    let database = Database::create().await;
    let store = open(&database, patience).await;
    let mut connections = Vec::new();
    for _ in 0..=HELD {
        connections.push(connect(&database).await);
    }
    let mut holders = Vec::new();
    for (stream, connection) in (0..).zip(&mut connections) {
        holders.push(hold(&store, connection, stream).await);
    }
    let submit = |stream| {
        let store = store.clone();
        tokio::spawn(async move { store.append(append(stream)).await })
    };
    let waiting: Vec<_> = (0..HELD).map(submit).collect();
    let mut observer = connect(&database).await;
    let waits = "SELECT count(*) >= 4 FROM pg_locks
                 WHERE NOT granted AND locktype = 'advisory'
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let seen = async {
        while !query_scalar::<_, bool>(waits).fetch_one(&mut observer).await.expect("an answer") {}
    };
    timeout(DEADLINE, seen).await.expect("as many wait as can");
    let begun = Instant::now();
    let mut last = submit(HELD);
    // Too short this proves less, and never fails wrongly.
    timeout(Duration::from_millis(300), &mut last).await.expect_err("its stream is held");
    holders.pop().unwrap().commit().await.unwrap();
    timeout(DEADLINE, last).await.expect("it is answered").unwrap().unwrap();
    assert!(begun.elapsed() < patience, "it was not held up by the others");
    for holder in holders {
        holder.rollback().await.unwrap();
    }
    for held in waiting {
        timeout(DEADLINE, held).await.expect("it is answered").unwrap().unwrap();
    }
}
