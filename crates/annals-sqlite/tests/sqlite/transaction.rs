//! Events and the application's own rows in one transaction.

use std::time::Duration;

use annals_core::{
    Append, AppendError, Data, EventStore, EventStoreExt, EventType, ExpectedVersion, Limits,
    NewEvent, Notice, Read, StreamCatalog, StreamId, Subscribe,
};
use annals_sqlite::SqliteStore;
use futures_util::StreamExt;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tempfile::TempDir;

struct Application {
    _directory: TempDir,
    store: SqliteStore,
    connection: Connection,
}

impl Application {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("the test can be prepared");
        let path = directory.path().join("app.db");
        let store = SqliteStore::open(&path).expect("the test can be prepared");
        let connection = Connection::open(&path).expect("the test can be prepared");
        connection
            .execute("CREATE TABLE users (id INTEGER PRIMARY KEY)", [])
            .expect("the test can be prepared");
        Self { _directory: directory, store, connection }
    }

    fn begin(&mut self) -> (&SqliteStore, Transaction<'_>) {
        let behavior = TransactionBehavior::Immediate;
        (
            &self.store,
            self.connection.transaction_with_behavior(behavior).expect("the test can be prepared"),
        )
    }

    fn users(&self) -> i64 {
        self.connection
            .query_row("SELECT count(*) FROM users", [], |row| row.get(0))
            .expect("the test can be prepared")
    }

    async fn events(&self) -> usize {
        self.store.read_to_end(Read::all()).await.expect("the test can be prepared").len()
    }
}

fn created(id: u32) -> Append {
    let event = NewEvent::new(EventType::from_static("UserCreated"), Data::json("{}"));
    let stream = StreamId::of("user", id).expect("the test can be prepared");
    Append::to(stream, ExpectedVersion::NoStream, [event])
}

#[tokio::test]
async fn rows_and_events_commit_together() {
    let mut app = Application::new();
    let (store, transaction) = app.begin();
    transaction.execute("INSERT INTO users VALUES (1)", []).unwrap();
    let append = created(1);
    let receipt = store.append_in(&transaction, &append).unwrap();
    assert_eq!(store.append_in(&transaction, &append).unwrap(), receipt, "a repeat is recognised");
    transaction.commit().unwrap();

    assert_eq!((app.users(), app.events().await), (1, 1));
    assert_eq!(app.store.append(append).await.unwrap(), receipt);
    assert_eq!(app.store.stats().await.unwrap().streams, 1);
}

#[tokio::test]
async fn rows_and_events_roll_back_together() {
    let mut app = Application::new();
    let (store, transaction) = app.begin();
    transaction.execute("INSERT INTO users VALUES (1)", []).unwrap();
    store.append_in(&transaction, &created(1)).unwrap();
    transaction.rollback().unwrap();

    assert_eq!((app.users(), app.events().await), (0, 0));
    assert_eq!(app.store.stats().await.unwrap().streams, 0);
    let receipt = app.store.append(created(1)).await.unwrap();
    assert_eq!(receipt.first_position.get(), 1, "nothing is left of what was rolled back");
}

#[tokio::test]
async fn a_refused_append_leaves_the_transaction_usable() {
    let mut app = Application::new();
    app.store.append(created(1)).await.unwrap();
    let (store, transaction) = app.begin();
    transaction.execute("INSERT INTO users VALUES (2)", []).unwrap();
    let error = store.append_in(&transaction, &created(1)).unwrap_err();
    assert!(matches!(error, AppendError::Conflict(_)), "{error}");
    store.append_in(&transaction, &created(2)).unwrap();
    transaction.commit().unwrap();

    assert_eq!((app.users(), app.events().await), (1, 2));
}

#[tokio::test]
async fn limits_hold_inside_a_transaction_too() {
    let mut app = Application::new();
    let (store, transaction) = app.begin();
    let mut append = created(1);
    append.streams[0].events[0].data =
        Data::json(vec![b' '; Limits::DEFAULT.event_data_bytes_max + 1]);
    let error = store.append_in(&transaction, &append).unwrap_err();
    assert!(matches!(error, AppendError::Invalid(_)), "{error}");
}

#[tokio::test]
async fn subscribers_see_what_a_transaction_appended() {
    let mut app = Application::new();
    let mut subscription = app.store.subscribe(Subscribe::all());
    assert!(matches!(subscription.next().await, Some(Ok(Notice::CaughtUp(_)))));

    let (store, transaction) = app.begin();
    store.append_in(&transaction, &created(1)).unwrap();
    transaction.commit().unwrap();
    let notice = tokio::time::timeout(Duration::from_secs(20), subscription.next()).await;
    let notice = notice.expect("the event arrives in time").unwrap().unwrap();
    assert!(matches!(notice, Notice::Event(event) if event.stream.as_str() == "user-1"));
}

#[tokio::test]
async fn a_transaction_that_began_too_early_is_told_to_retry() {
    let mut app = Application::new();
    let transaction = app.connection.transaction().unwrap();
    let users: i64 =
        transaction.query_row("SELECT count(*) FROM users", [], |row| row.get(0)).unwrap();
    assert_eq!(users, 0, "the transaction has begun to read");
    app.store.append(created(1)).await.unwrap();
    let error = app.store.append_in(&transaction, &created(2)).unwrap_err();
    assert!(matches!(error, AppendError::Unavailable(_)), "{error:?}");
}
