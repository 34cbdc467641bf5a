//! Snapshots beside appends, which come first.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_core::{
    Data, EventId, EventStoreExt, EventType, ExpectedVersion, Fingerprint, NewEvent, Read,
    SelectSnapshots, Snapshot, SnapshotError, SnapshotStore, StreamId, Timestamp, Version,
};
use annals_sqlite::SqliteStore;
use futures_util::{StreamExt, TryStreamExt};
use rusqlite::Connection;

const DEADLINE: Duration = Duration::from_secs(20);

fn snapshot(version: u64, bytes: usize) -> Snapshot {
    Snapshot {
        stream: StreamId::from_static("a-1"),
        fold: Fingerprint::from_static("f"),
        version: Version::new(version),
        last_event: EventId::from_bytes([7; 16]),
        taken_at: Timestamp::EPOCH,
        state: vec![b'x'; bytes].into(),
    }
}

async fn append(store: &SqliteStore, number: usize) -> Result<(), annals_core::AppendError> {
    let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    let stream = StreamId::of("a", number).expect("a stream id");
    store.append_to(stream, ExpectedVersion::Any, [event]).await.map(drop)
}

async fn loaded(store: &SqliteStore) -> Option<Snapshot> {
    let Snapshot { stream, fold, .. } = snapshot(1, 0);
    store.load_snapshot(&stream, &fold).await.expect("a snapshot can be loaded")
}

/// What a table of snapshots says no to concerns nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_snapshot_fails_no_append() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("annals.db");
    let store = SqliteStore::open(&path).unwrap();
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "CREATE TRIGGER none BEFORE INSERT ON annals_snapshots
             BEGIN SELECT RAISE(ROLLBACK, 'no snapshots here'); END;",
        )
        .unwrap();
    let tasks = (0..200).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            if number % 2 == 0 {
                append(&store, number).await.unwrap();
            } else {
                store.save_snapshot(snapshot(1, 10_000)).await.unwrap_err();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), 100);
    assert_eq!(loaded(&store).await, None);
}

/// Behind callers that never pause a snapshot has its turn all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_snapshot_is_saved_beside_a_storm_of_appends() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("annals.db")).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..64)
        .map(|number| {
            let (store, done) = (store.clone(), done.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    append(&store, number).await.unwrap();
                }
            })
        })
        .collect();
    for version in 1..=10 {
        let saved = store.save_snapshot(snapshot(version, 100_000));
        tokio::time::timeout(DEADLINE, saved).await.expect("has its turn").unwrap();
    }
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(loaded(&store).await, Some(snapshot(10, 100_000)));
}

fn locked(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("the file opens");
    connection.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
    connection
}

/// Another process writes: the snapshot waits for it without holding up the writer, which answers
/// others meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_waits_for_another_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("annals.db");
    let store = SqliteStore::options().busy_timeout(Duration::from_secs(600)).open(&path).unwrap();
    let other = locked(&path);
    let saving = tokio::spawn({
        let store = store.clone();
        async move { store.save_snapshot(snapshot(1, 10)).await }
    });
    // The writer tells where the log ends, behind what it was asked before.
    let from_head = annals_core::Subscribe::all().from_head();
    for _ in 0..3 {
        let mut notices = annals_core::EventStore::subscribe(&store, from_head.clone());
        let first = tokio::time::timeout(DEADLINE, notices.next()).await;
        first.expect("the writer does not wait").unwrap().unwrap();
    }
    assert!(!saving.is_finished());
    other.execute_batch("ROLLBACK").unwrap();
    tokio::time::timeout(DEADLINE, saving).await.unwrap().unwrap().unwrap();
    assert_eq!(loaded(&store).await, Some(snapshot(1, 10)));
}

#[tokio::test]
async fn a_snapshot_does_not_wait_for_ever_for_another_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("annals.db");
    let store = SqliteStore::options().busy_timeout(Duration::from_millis(20)).open(&path).unwrap();
    let other = locked(&path);
    let error = store.save_snapshot(snapshot(1, 10)).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Unavailable(_)), "{error:?}");
    other.execute_batch("ROLLBACK").unwrap();
    store.save_snapshot(snapshot(1, 10)).await.unwrap();
}

#[tokio::test]
async fn a_closed_store_saves_and_drops_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("annals.db")).unwrap();
    store.save_snapshot(snapshot(1, 10)).await.unwrap();
    store.close().await;
    let error = store.save_snapshot(snapshot(2, 10)).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Closed), "{error:?}");
    let error = store.drop_snapshots(SelectSnapshots::all()).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Closed), "{error:?}");
    assert_eq!(loaded(&store).await, Some(snapshot(1, 10)));
}

/// As two processes have it.
#[tokio::test(flavor = "multi_thread")]
async fn two_stores_on_one_file_keep_the_newest() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("annals.db");
    let stores = [SqliteStore::open(&path).unwrap(), SqliteStore::open(&path).unwrap()];
    let saves: Vec<_> = (0..100)
        .map(|number| {
            let store = stores[number % 2].clone();
            // Every number from 1 to 100, neither rising nor falling.
            let version = (number * 37 % 100 + 1) as u64;
            tokio::spawn(async move { store.save_snapshot(snapshot(version, 10_000)).await })
        })
        .collect();
    for saved in saves {
        saved.await.unwrap().unwrap();
    }
    for store in &stores {
        assert_eq!(loaded(store).await, Some(snapshot(100, 10_000)));
        let infos = store.snapshots(SelectSnapshots::all()).try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(infos, [snapshot(100, 10_000).info()]);
    }
}
