//! A log that finds itself on another timeline: a standby has taken over.

use std::time::Duration;

use annals_core::{
    Append, AppendError, Data, EventStore, EventType, ExpectedVersion, NewEvent, StreamId,
};
use annals_postgres::PostgresStore;
use annals_scratch::Database;
use sqlx_core::connection::Connection;
use sqlx_core::query::query;
use sqlx_postgres::PgConnection;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(30);
/// So many groups are left free for what the other server may have stored, times its places.
const FREE: u64 = 536_870_912 * 4_096;

fn append() -> Append {
    let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    Append::to(StreamId::from_static("a-1"), ExpectedVersion::Any, [event])
}

async fn world() -> (Database, PostgresStore, PgConnection) {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.expect("the store opens");
    let connection = PgConnection::connect(database.url()).await.expect("a connection");
    (database, store, connection)
}

/// As it is when the store's connections are to a server that has just taken over.
async fn take_over(connection: &mut PgConnection) {
    let update = "UPDATE annals.origin SET timeline = timeline - 1";
    query(update).execute(connection).await.expect("its owner may");
}

#[tokio::test]
async fn an_append_settles_the_log_first() {
    let (_database, store, mut connection) = world().await;
    let before = store.append(append()).await.unwrap();
    take_over(&mut connection).await;
    let after = timeout(DEADLINE, store.append(append())).await.expect("it is answered").unwrap();
    assert!(after.first_position.get() >= before.last_position.get() + FREE, "{after:?}");
    let next = store.append(append()).await.unwrap();
    assert!(next.first_position.get() < after.last_position.get() + FREE, "settled once");
}

#[tokio::test]
async fn a_transaction_is_tried_again() {
    let (_database, store, mut connection) = world().await;
    let before = store.append(append()).await.unwrap();
    take_over(&mut connection).await;
    let mut transaction = connection.begin().await.unwrap();
    let refused = store.append_in(&mut transaction, &append()).await;
    let Err(AppendError::Unavailable(fault)) = refused else { panic!("{refused:?}") };
    assert!(fault.to_string().contains("try the transaction again"), "{fault}");
    transaction.rollback().await.unwrap();
    let tried = async {
        loop {
            let mut transaction = connection.begin().await.unwrap();
            match store.append_in(&mut transaction, &append()).await {
                Ok(receipt) => {
                    transaction.commit().await.unwrap();
                    return receipt;
                }
                Err(AppendError::Unavailable(_)) => transaction.rollback().await.unwrap(),
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    let after = timeout(DEADLINE, tried).await.expect("it settles");
    assert!(after.first_position.get() >= before.last_position.get() + FREE, "{after:?}");
}
