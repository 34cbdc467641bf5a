//! Who holds readers back, and who does not.

use std::time::Duration;

use annals_core::{
    Append, AppendError, Data, EventStore, EventStoreExt, EventType, ExpectedVersion, NewEvent,
    Notice, Read, ReadError, StreamId, Subscribe, error::Chain,
};
use annals_postgres::{PostgresStore, SchemaName};
use annals_scratch::Database;
use futures_util::StreamExt;
use sqlx_core::connection::Connection;
use sqlx_core::query::query;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::PgConnection;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

fn append(name: &str) -> Append {
    let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    Append::to(StreamId::new(name).expect("a stream id"), ExpectedVersion::Any, [event])
}

async fn connect(database: &Database) -> PgConnection {
    PgConnection::connect(database.url()).await.expect("a connection")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_that_has_appended_holds_readers_back_and_is_named() {
    let database = Database::create().await;
    let options = PostgresStore::options().patience(Duration::from_millis(200));
    let store = options.connect(database.url()).await.unwrap();
    let mut connection = connect(&database).await;
    let pid: i32 =
        query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    store.append_in(&mut transaction, &append("slow-1")).await.unwrap();
    query("SELECT 'thinking about it'").execute(&mut *transaction).await.unwrap();
    let receipt = store.append(append("quick-1")).await.unwrap();

    // The stream itself can be read, and so be decided on.
    let stream = Read::stream(StreamId::from_static("quick-1"));
    assert_eq!(store.read_to_end(stream).await.unwrap().len(), 1);
    // The log beyond the open transaction cannot, and the error says because of whom.
    let error = store.read_to_end(Read::all()).await.unwrap_err();
    assert!(matches!(error, ReadError::Unavailable(_)), "{error:?}");
    let text = Chain(&error).to_string();
    assert!(text.contains(&format!("process {pid}")), "{text}");
    assert!(text.contains("idle in transaction"), "{text}");
    assert!(text.contains("thinking about it"), "{text}");
    assert!(matches!(store.head().await, Err(ReadError::Unavailable(_))));

    let status = store.watermark().await.unwrap();
    assert!(status.head < receipt.last_position);
    assert_eq!(status.newest, receipt.last_position);
    assert_eq!(status.blockers.iter().map(|b| b.pid).collect::<Vec<_>>(), [pid]);
    assert!(status.lag() > Duration::from_millis(200), "{:?}", status.lag());

    // A subscriber waits, and then sees both in the log's order.
    let mut notices = store.subscribe(Subscribe::all());
    assert!(matches!(notices.next().await, Some(Ok(Notice::CaughtUp(_)))));
    transaction.commit().await.unwrap();
    for expected in ["slow-1", "quick-1"] {
        let notice = timeout(PATIENCE, notices.next()).await.expect("in time").unwrap().unwrap();
        let Notice::Event(event) = notice else { panic!("an event, not {notice:?}") };
        assert_eq!(event.stream.as_str(), expected);
    }
    assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), 2);
    assert_eq!(store.watermark().await.unwrap().lag(), Duration::ZERO);
}

/// A watermark made of transaction ids would stand still here.
#[tokio::test(flavor = "multi_thread")]
async fn other_transactions_hold_nobody_back() {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    let ledger = SchemaName::new("ledger").unwrap();
    let ledger = PostgresStore::options().schema(ledger).connect(database.url()).await.unwrap();
    let mut connections =
        [connect(&database).await, connect(&database).await, connect(&database).await];
    let [writing, elsewhere, refused] = &mut connections;

    let mut writing = writing.begin().await.unwrap();
    query("CREATE TABLE report (line text)").execute(&mut *writing).await.unwrap();
    // One that has appended, but to another store of the same database.
    let mut elsewhere = elsewhere.begin().await.unwrap();
    ledger.append_in(&mut elsewhere, &append("a-1")).await.unwrap();
    // One whose append was refused.
    let mut refused = refused.begin().await.unwrap();
    let mut wrong = append("a-1");
    wrong.streams[0].expected = ExpectedVersion::StreamExists;
    let conflict = store.append_in(&mut refused, &wrong).await;
    assert!(matches!(conflict, Err(AppendError::Conflict(_))));

    store.append(append("b-1")).await.unwrap();
    assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), 1);
    assert_eq!(store.watermark().await.unwrap().blockers, []);
    assert_eq!(ledger.watermark().await.unwrap().blockers.len(), 1);
    for transaction in [writing, elsewhere, refused] {
        transaction.rollback().await.unwrap();
    }
}

/// A savepoint that is given up takes its append and its mark along.
#[tokio::test]
async fn a_savepoint_given_up_holds_nobody_back() {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    let mut connection = connect(&database).await;
    let mut transaction = connection.begin().await.unwrap();
    let mut savepoint = transaction.begin().await.unwrap();
    store.append_in(&mut savepoint, &append("a-1")).await.unwrap();
    savepoint.rollback().await.unwrap();
    store.append(append("b-1")).await.unwrap();
    assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), 1);
    transaction.commit().await.unwrap();
    assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), 1);
}

/// A busy stream holds up its own callers only.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_somebody_holds_keeps_no_neighbour_waiting() {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    let mut connection = connect(&database).await;
    let mut transaction = connection.begin().await.unwrap();
    store.append_in(&mut transaction, &append("held-1")).await.unwrap();
    let asked: Vec<_> = (0..20)
        .map(|number| {
            let store = store.clone();
            let name = if number % 2 == 0 { "held-1".to_owned() } else { format!("free-{number}") };
            tokio::spawn(async move { store.append(append(&name)).await.map(|_| number) })
        })
        .collect();
    let (held, free): (Vec<_>, Vec<_>) =
        asked.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
    for (_, caller) in free {
        timeout(PATIENCE, caller).await.expect("neighbours go on").unwrap().unwrap();
    }
    assert!(held.iter().all(|(_, caller)| !caller.is_finished()));
    transaction.commit().await.unwrap();
    for (_, caller) in held {
        timeout(PATIENCE, caller).await.expect("then all go on").unwrap().unwrap();
    }
    let held = store.read_to_end(Read::stream(StreamId::from_static("held-1"))).await.unwrap();
    assert_eq!(held.last().unwrap().version.get(), 11);
}

/// What an open transaction has appended is recorded already, and will belong to the past.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_about_the_past_waits_for_who_may_still_add_to_it() {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    let first = store.append(append("a-1")).await.unwrap().last_position;
    let mut connection = connect(&database).await;
    let mut transaction = connection.begin().await.unwrap();
    let receipt = store.append_in(&mut transaction, &append("a-1")).await.unwrap();
    // The log can be read up to before the transaction, and the moment is asked about.
    for past in [
        Read::all().up_to(first).as_at(receipt.recorded_at),
        Read::all().as_at(receipt.recorded_at),
        Read::stream(StreamId::from_static("a-1")).as_at(receipt.recorded_at),
    ] {
        let impatient = PostgresStore::options().patience(Duration::from_millis(100));
        let impatient = impatient.connect(database.url()).await.unwrap();
        let error = impatient.read_to_end(past).await.unwrap_err();
        assert!(matches!(error, ReadError::Unavailable(_)), "{error:?}");
    }
    let asking = store.clone();
    let answer = tokio::spawn(async move {
        asking
            .read_to_end(Read::stream(receipt.streams[0].stream.clone()).as_at(receipt.recorded_at))
            .await
    });
    transaction.commit().await.unwrap();
    assert_eq!(timeout(PATIENCE, answer).await.expect("in time").unwrap().unwrap().len(), 2);
}
