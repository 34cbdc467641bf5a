//! Logs that are not what they were: restored from a dump, or on a server that has taken over.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use annals_core::{
    Append, Data, EventStore, EventStoreExt, EventType, ExpectedVersion, NewEvent, Notice,
    Position, Read, ReadError, StreamId, Subscribe,
};
use annals_postgres::PostgresStore;
use annals_scratch::{Binaries, Cluster, Database};
use futures_util::StreamExt;
use sqlx_core::connection::Connection;
use sqlx_core::executor::Executor;
use sqlx_core::query_scalar::query_scalar;
use sqlx_core::raw_sql::raw_sql;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::PgConnection;
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);
/// How many positions a restored log skips at least, and one on another timeline.
const SKIPPED_RESTORED: u64 = (1 << 32) * 4_096;
const SKIPPED_TAKEN_OVER: u64 = (1 << 29) * 4_096;

fn append(number: u32) -> Append {
    let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    Append::to(StreamId::of("a", number).expect("a stream id"), ExpectedVersion::NoStream, [event])
}

async fn appended(store: &PostgresStore, number: u32) -> Position {
    store.append(append(number)).await.expect("it is stored").last_position
}

async fn execute(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.expect("the server answers");
    let sql = AssertSqlSafe(sql.to_owned());
    connection.execute(raw_sql(sql)).await.expect("the statement is right");
}

fn dumped(bin: &Binaries, url: &str, file: &Path) {
    let dump = Command::new(bin.folder().join("pg_dump")).arg(url).arg("-f").arg(file).output();
    let dump = dump.expect("pg_dump runs");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
}

fn restored(bin: &Binaries, url: &str, file: &Path) {
    let psql = Command::new(bin.folder().join("psql"))
        .args(["-q", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(file)
        .arg(url)
        .stdout(Stdio::null())
        .output()
        .expect("psql runs");
    assert!(psql.status.success(), "{}", String::from_utf8_lossy(&psql.stderr));
}

/// Positions that were given out after the dump was taken, and perhaps seen by somebody, are not
/// given out again.
#[tokio::test]
async fn a_restored_dump_goes_on_above_all_positions() {
    let bin = Binaries::find().expect("PostgreSQL is there");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("dump.sql");
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.expect("the store opens");
    appended(&store, 0).await;
    dumped(&bin, database.url(), &file);
    let mut seen = Position::START;
    for number in 1..50 {
        seen = appended(&store, number).await;
    }
    store.close().await;

    let elsewhere = Cluster::start(&[]).await.expect("a server starts");
    let same_cluster = Database::create().await;
    for url in [&*elsewhere.url("postgres"), same_cluster.url()] {
        restored(&bin, url, &file);
        let store = PostgresStore::connect(url).await.expect("the restored store opens");
        assert_eq!(store.read_to_end(Read::all()).await.expect("it is read").len(), 1);
        let position = appended(&store, 1).await;
        assert!(position > seen && position.get() > SKIPPED_RESTORED, "{position} after {seen}");
        // Once is enough.
        let again = PostgresStore::connect(url).await.expect("the store opens again");
        let next = appended(&again, 2).await;
        assert!(next.get() - position.get() < 1 << 20, "{next} after {position}");
    }
}

/// The timeline in the table is another than the server's, as after a standby has taken over.
async fn take_over(url: &str) {
    execute(url, "UPDATE annals.origin SET timeline = timeline + 1").await;
}

#[tokio::test]
async fn a_log_that_was_taken_over_skips_what_may_have_been_lost() {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.expect("the store opens");
    let before = appended(&store, 0).await;
    take_over(database.url()).await;
    let reopened = PostgresStore::connect(database.url()).await.expect("the store opens again");
    let after = appended(&reopened, 1).await;
    assert!(after.get() > before.get() + SKIPPED_TAKEN_OVER, "{after} after {before}");
}

/// A mark has the lower bits of a number only. Were the sequence advanced beside an open append,
/// its mark would be taken for one that is far higher, and readers would pass it by.
#[tokio::test]
async fn settling_waits_for_open_appends() {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.expect("the store opens");
    appended(&store, 0).await;
    let mut connection = PgConnection::connect(database.url()).await.expect("the server answers");
    let mut transaction = connection.begin().await.expect("a transaction begins");
    store.append_in(&mut transaction, &append(1)).await.expect("it is appended");

    take_over(database.url()).await;
    let url = database.url().to_owned();
    let opening = tokio::spawn(async move { PostgresStore::connect(&url).await });
    let deadline = Instant::now() + PATIENCE;
    let waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'advisory'
                   AND query LIKE '%settle%' AND datname = current_database())";
    while !query_scalar::<_, bool>(waiting).fetch_one(store.pool()).await.expect("it is asked") {
        assert!(Instant::now() < deadline && !opening.is_finished(), "it does not wait");
        sleep(Duration::from_millis(5)).await;
    }
    transaction.commit().await.expect("the commit is made");
    let opened = timeout(PATIENCE, opening).await.expect("it goes on").expect("no panic");
    let opened = opened.expect("the store opens");
    appended(&opened, 2).await;
    assert_eq!(opened.read_to_end(Read::all()).await.expect("it is read").len(), 3);
}

/// Events are gone that were there: another server has taken over without them, or answers in
/// place of the one that has them.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lacks_what_was_seen_is_not_believed() {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.expect("the store opens");
    let first = appended(&store, 0).await;
    let lost = appended(&store, 1).await;
    let mut notices = store.subscribe(Subscribe::all().after(first));
    let notice = timeout(PATIENCE, notices.next()).await.expect("in time").expect("a notice");
    assert!(matches!(&notice, Ok(Notice::Event(event)) if event.position == lost), "{notice:?}");

    execute(
        database.url(),
        "ALTER TABLE annals.events DISABLE TRIGGER USER;
         DELETE FROM annals.events WHERE stream = 'a-1';
         ALTER TABLE annals.events ENABLE TRIGGER USER",
    )
    .await;
    let read = store.read_to_end(Read::all().up_to(lost)).await;
    let Err(ReadError::Unavailable(fault)) = read else { panic!("{read:?}") };
    assert!(format!("{fault:?}").contains("which was there before"), "{fault:?}");

    // What comes next is delivered: it has a higher position than anything there ever was.
    take_over(database.url()).await;
    let reopened = PostgresStore::connect(database.url()).await.expect("the store opens again");
    let next = appended(&reopened, 2).await;
    let arrives = async {
        loop {
            match notices.next().await.expect("it goes on") {
                Ok(Notice::Event(event)) => return event.position,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    assert_eq!(timeout(PATIENCE, arrives).await.expect("in time"), next);
}
