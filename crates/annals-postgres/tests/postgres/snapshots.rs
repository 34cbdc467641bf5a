//! Snapshots beside events, which come first.

use std::time::Duration;

use annals_core::{
    Data, EventId, EventStoreExt, EventType, ExpectedVersion, Fingerprint, NewEvent,
    SelectSnapshots, Snapshot, SnapshotError, SnapshotStore, StreamId, Timestamp, Version,
};
use annals_postgres::PostgresStore;
use annals_scratch::Database;
use futures_util::StreamExt;
use sqlx_core::executor::Executor;
use sqlx_core::pool::PoolOptions;
use sqlx_core::raw_sql::raw_sql;
use sqlx_postgres::{PgPool, Postgres};

const DEADLINE: Duration = Duration::from_secs(30);

fn snapshot(version: u64) -> Snapshot {
    Snapshot {
        stream: StreamId::from_static("a-1"),
        fold: Fingerprint::from_static("f"),
        version: Version::new(version),
        last_event: EventId::from_bytes([7; 16]),
        taken_at: Timestamp::EPOCH,
        state: vec![b'x'; 10_000].into(),
    }
}

async fn loaded(store: &PostgresStore) -> Result<Option<Snapshot>, SnapshotError> {
    store.load_snapshot(&snapshot(1).stream, &snapshot(1).fold).await
}

/// Neither the disk nor a standby must have what can be made again, but an append waits for them
/// on the same connection.
#[tokio::test]
async fn saving_does_not_wait_for_the_commit() {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    // Runs at the commit.
    let look = "CREATE TABLE seen (setting text);
        CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO seen VALUES (TG_TABLE_NAME || ' ' || current_setting('synchronous_commit'));
            RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER look AFTER INSERT ON annals.snapshots DEFERRABLE INITIALLY
            DEFERRED FOR EACH ROW EXECUTE FUNCTION look();
        CREATE CONSTRAINT TRIGGER look AFTER INSERT ON annals.events DEFERRABLE INITIALLY
            DEFERRED FOR EACH ROW EXECUTE FUNCTION look();";
    store.pool().execute(raw_sql(look)).await.unwrap();
    store.save_snapshot(snapshot(1)).await.unwrap();
    append(&store).await;
    let seen: Vec<String> = sqlx_core::query_scalar::query_scalar("SELECT setting FROM seen")
        .fetch_all(store.pool())
        .await
        .unwrap();
    assert_eq!(seen, ["snapshots off", "events on"]);
}

async fn append(store: &PostgresStore) {
    let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    let stream = StreamId::from_static("a-1");
    let append = store.append_to(stream, ExpectedVersion::Any, [event]);
    let appended = tokio::time::timeout(DEADLINE, append).await;
    appended.expect("an append does not wait for snapshots").expect("it is stored");
}

/// However many wait to save, events have their connections.
#[tokio::test(flavor = "multi_thread")]
async fn snapshots_that_wait_hold_up_no_append() {
    let database = Database::create().await;
    let options = PostgresStore::options().patience(Duration::from_secs(120));
    let store = options.connect(database.url()).await.unwrap();
    let other = PgPool::connect(database.url()).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    lock.execute(raw_sql("LOCK TABLE annals.snapshots")).await.unwrap();
    let saving: Vec<_> = (1..=100)
        .map(|version| {
            let store = store.clone();
            tokio::spawn(async move { store.save_snapshot(snapshot(version)).await })
        })
        .collect();
    for _ in 0..20 {
        append(&store).await;
    }
    assert!(!saving.iter().any(tokio::task::JoinHandle::is_finished));
    lock.rollback().await.unwrap();
    for saved in saving {
        saved.await.unwrap().unwrap();
    }
    assert_eq!(loaded(&store).await.unwrap(), Some(snapshot(100)));
}

/// The server was restarted, say: what was at hand is broken.
#[tokio::test]
async fn broken_connections_are_replaced() {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    let other = PgPool::connect(database.url()).await.unwrap();
    store.save_snapshot(snapshot(1)).await.unwrap();
    for round in 2..5 {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
              AND backend_type = 'client backend'";
        other.execute(raw_sql(kill)).await.unwrap();
        match round {
            2 => store.save_snapshot(snapshot(2)).await.unwrap(),
            3 => assert_eq!(loaded(&store).await.unwrap(), Some(snapshot(2))),
            _ => assert_eq!(store.drop_snapshots(SelectSnapshots::all()).await.unwrap(), 1),
        }
    }
}

/// A replica may be far behind, and a list or a load would mix what it has with what is.
#[tokio::test]
async fn snapshots_are_read_from_the_primary() {
    let database = Database::create().await;
    let nowhere = PoolOptions::<Postgres>::new().acquire_timeout(Duration::from_secs(1));
    let nowhere = nowhere.connect_lazy("postgres://nobody@127.0.0.1:1/nothing").unwrap();
    let store = PostgresStore::options().replica(nowhere).connect(database.url()).await.unwrap();
    store.save_snapshot(snapshot(1)).await.unwrap();
    assert_eq!(loaded(&store).await.unwrap(), Some(snapshot(1)));
    let listed: Vec<_> = store.snapshots(SelectSnapshots::all()).collect().await;
    assert!(matches!(&listed[..], [Ok(info)] if *info == snapshot(1).info()), "{listed:?}");
}

#[tokio::test]
async fn a_closed_store_keeps_no_snapshots() {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    store.save_snapshot(snapshot(1)).await.unwrap();
    store.close().await;
    let errors = [
        store.save_snapshot(snapshot(2)).await.unwrap_err(),
        loaded(&store).await.unwrap_err(),
        store.drop_snapshots(SelectSnapshots::all()).await.unwrap_err(),
        store.snapshots(SelectSnapshots::all()).next().await.unwrap().unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, SnapshotError::Closed), "{error:?}");
    }
}
