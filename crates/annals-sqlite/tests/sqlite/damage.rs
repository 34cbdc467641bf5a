//! Files that are not what they should be.

use std::path::{Path, PathBuf};

use annals_core::{
    Data, EventId, EventStoreExt, EventType, ExpectedVersion, Fingerprint, NewEvent, Read,
    Snapshot, SnapshotError, SnapshotStore, StreamId, Tag, Timestamp, Version,
};
use annals_sqlite::{Check, OpenError, SqliteStore};
use rusqlite::Connection;
use tempfile::TempDir;

/// A closed store of some streams with some events.
async fn written() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("the test can be prepared");
    let path = directory.path().join("annals.db");
    let store = SqliteStore::open(&path).expect("the test can be prepared");
    for number in 0..40 {
        let event = || {
            NewEvent::new(EventType::from_static("Happened"), Data::json(vec![b'x'; 20]))
                .tagged(Tag::of("number", number).expect("the test can be prepared"))
        };
        let stream = StreamId::of("thing", number % 4).expect("the test can be prepared");
        store
            .append_to(stream, ExpectedVersion::Any, [event(), event()])
            .await
            .expect("the test can be prepared");
    }
    store.close().await;
    drop(store);
    // The last connection to close folds the write-ahead log into the file.
    let connection = Connection::open(&path).expect("the test can be prepared");
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .expect("the test can be prepared");
    (directory, path)
}

/// Changes the file behind the store's back, its guards taken away.
fn tamper(path: &Path, change: &str) {
    let connection = Connection::open(path).expect("the test can be prepared");
    connection
        .execute_batch(&format!(
            "PRAGMA foreign_keys = OFF;
             DROP TRIGGER annals_events_are_never_changed;
             DROP TRIGGER annals_events_are_never_deleted;
             {change};"
        ))
        .expect("the test can be prepared");
}

fn open(path: &Path, check: Check) -> Result<SqliteStore, OpenError> {
    SqliteStore::options().check(check).open(path)
}

#[tokio::test]
async fn an_undamaged_file_passes_both_checks() {
    let (_directory, path) = written().await;
    for check in [Check::Tail, Check::Full] {
        open(&path, check).unwrap();
    }
}

#[tokio::test]
async fn a_text_file_is_no_database() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    std::fs::write(&path, "Dear diary, ".repeat(500)).unwrap();
    let error = open(&path, Check::Tail).unwrap_err();
    assert!(matches!(error, OpenError::NotADatabase), "{error:?}");
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("Dear diary"));
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let error = open(Path::new("/nonexistent/annals.db"), Check::Tail).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/annals.db"), "{error}");
}

#[tokio::test]
async fn tampering_with_the_newest_events_is_found_on_opening() {
    for change in [
        "DELETE FROM annals_events WHERE position = 79",
        "UPDATE annals_events SET version = 99 WHERE position = 80",
        "UPDATE annals_events SET append_index = 5 WHERE position = 80",
        "UPDATE annals_events SET type = 77 WHERE position = 80",
    ] {
        let (_directory, path) = written().await;
        tamper(&path, change);
        let error = open(&path, Check::Tail).unwrap_err();
        assert!(matches!(error, OpenError::Damaged(_)), "{change}: {error:?}");
    }
}

#[tokio::test]
async fn a_full_check_finds_old_tampering() {
    for change in [
        "DELETE FROM annals_events WHERE position = 3",
        "DELETE FROM annals_tags WHERE position = 3",
        "UPDATE annals_totals SET streams = 17",
    ] {
        let (_directory, path) = written().await;
        tamper(&path, change);
        let error = open(&path, Check::Full).unwrap_err();
        assert!(matches!(error, OpenError::Damaged(_)), "{change}: {error:?}");
    }
}

/// Whatever byte is flipped: opening or reading says so, or the bytes meant nothing.
#[tokio::test]
async fn flipped_bytes_never_panic_and_full_checks_find_broken_pages() {
    let (directory, path) = written().await;
    let bytes = std::fs::read(&path).unwrap();
    let original = read(&open(&path, Check::Full).unwrap()).await.unwrap();
    let broken = directory.path().join("broken.db");
    let mut found = 0;
    for step in 0..60 {
        let mut bytes = bytes.clone();
        let place = 100 + step * (bytes.len() - 100) / 60;
        bytes[place] ^= 0xff;
        std::fs::write(&broken, &bytes).unwrap();
        match open(&broken, Check::Full) {
            Err(_) => found += 1,
            Ok(store) => match read(&store).await {
                Err(_) => found += 1,
                Ok(events) => assert_eq!(events.len(), original.len(), "byte {place}"),
            },
        }
        for file in ["broken.db", "broken.db-wal", "broken.db-shm"] {
            let _ = std::fs::remove_file(directory.path().join(file));
        }
    }
    assert!(found > 10, "only {found} of 60 flips were noticed");
}

async fn read(store: &SqliteStore) -> Result<Vec<Data>, annals_core::ReadError> {
    let events = store.read_to_end(Read::all()).await?;
    Ok(events.into_iter().map(|event| event.data).collect())
}

#[tokio::test]
async fn a_damaged_snapshot_is_not_loaded_but_can_be_replaced() {
    let (_directory, path) = written().await;
    let good = Snapshot {
        stream: StreamId::from_static("thing-1"),
        fold: Fingerprint::from_static("thing.v1"),
        version: Version::new(20),
        last_event: EventId::from_bytes([7; 16]),
        taken_at: Timestamp::EPOCH,
        state: "20".into(),
    };
    open(&path, Check::Tail).unwrap().save_snapshot(good.clone()).await.unwrap();
    tamper(&path, "UPDATE annals_snapshots SET last_event = x'00'");
    let store = open(&path, Check::Full).unwrap();
    let error = store.load_snapshot(&good.stream, &good.fold).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Corrupt(_)), "{error:?}");
    store.save_snapshot(good.clone()).await.unwrap();
    assert_eq!(store.load_snapshot(&good.stream, &good.fold).await.unwrap(), Some(good));
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let (_directory, path) = written().await;
    let bytes = std::fs::read(&path).unwrap();
    for part in [1, 2, 3] {
        std::fs::write(&path, &bytes[..bytes.len() * part / 4]).unwrap();
        open(&path, Check::Full).unwrap_err();
    }
}
