//! Several stores on one file, as several processes have them.

use std::collections::BTreeMap;
use std::time::Duration;

use annals_core::{
    Append, AppendError, Data, EventStore, EventStoreExt, EventType, ExpectedVersion, NewEvent,
    Notice, Read, StreamCatalog, StreamId, Subscribe,
};
use annals_sqlite::SqliteStore;
use futures_util::StreamExt;
use rusqlite::{Connection, TransactionBehavior};

const WRITERS: usize = 8;
const APPENDS: usize = 25;

fn append(stream: StreamId, expected: ExpectedVersion) -> Append {
    let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    Append::to(stream, expected, [event])
}

/// Both stores append to streams of their own and to one they share, under exact versions.
#[tokio::test(flavor = "multi_thread")]
async fn two_stores_on_one_file_keep_one_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shared.db");
    let stores = [SqliteStore::open(&path).unwrap(), SqliteStore::open(&path).unwrap()];
    let mut subscription = stores[0].subscribe(Subscribe::all());

    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = stores[writer % 2].clone();
            tokio::spawn(async move {
                for _ in 0..APPENDS {
                    let own = StreamId::of("own", writer).unwrap();
                    store.append(append(own, ExpectedVersion::Any)).await.unwrap();
                    contend(&store).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }

    let log = stores[1].read_to_end(Read::all()).await.unwrap();
    assert_eq!(log.len(), WRITERS * APPENDS * 2);
    let mut versions = BTreeMap::<_, Vec<u64>>::new();
    for event in &log {
        versions.entry(event.stream.clone()).or_default().push(event.version.get());
    }
    for (stream, versions) in versions {
        let dense: Vec<u64> = (1..=versions.len() as u64).collect();
        assert_eq!(versions, dense, "{stream}");
    }
    let mut seen = Vec::new();
    while seen.len() < log.len() {
        let notice = tokio::time::timeout(Duration::from_secs(20), subscription.next()).await;
        if let Notice::Event(event) = notice.expect("notices arrive in time").unwrap().unwrap() {
            seen.push(event);
        }
    }
    assert_eq!(seen, log, "a subscriber sees what both stores append");
    assert_eq!(stores[0].stats().await.unwrap(), stores[1].stats().await.unwrap());
}

/// Appends one event under an exact version, as often as it takes.
async fn contend(store: &SqliteStore) {
    let shared = StreamId::from_static("shared");
    loop {
        let version = store.version_of(shared.clone()).await.expect("the stream can be read");
        match store.append(append(shared.clone(), ExpectedVersion::Exact(version))).await {
            Ok(receipt) => {
                assert_eq!(receipt.version_of(&shared), Some(version.next()));
                return;
            }
            Err(AppendError::Conflict(_)) => {}
            Err(error) => panic!("only conflicts are expected: {error:?}"),
        }
    }
}

/// A store that nobody subscribed to has no reason to look at what others append, until now.
#[tokio::test]
async fn subscribers_from_the_head_begin_behind_what_others_appended_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shared.db");
    let (ours, theirs) = (SqliteStore::open(&path).unwrap(), SqliteStore::open(&path).unwrap());
    let stream = StreamId::from_static("a-1");
    let before = append(stream.clone(), ExpectedVersion::Any);
    let before = theirs.append(before).await.unwrap().last_position;

    let mut subscription = ours.subscribe(Subscribe::all().from_head());
    let after = ours.append(append(stream, ExpectedVersion::Any)).await.unwrap().last_position;
    let mut seen = Vec::new();
    while seen.last() != Some(&after) {
        match subscription.next().await.unwrap().unwrap() {
            Notice::Event(event) => seen.push(event.position),
            Notice::CaughtUp(position) => assert!(position >= before),
        }
    }
    assert_eq!(seen, [after]);
}

#[tokio::test]
async fn an_append_does_not_wait_for_ever_for_another_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("locked.db");
    let store = SqliteStore::options().busy_timeout(Duration::from_millis(20)).open(&path).unwrap();
    let mut other = Connection::open(&path).unwrap();
    let lock = other.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();

    let stream = StreamId::from_static("a-1");
    let blocked = append(stream.clone(), ExpectedVersion::NoStream);
    let error = store.append(blocked.clone()).await.unwrap_err();
    assert!(matches!(error, AppendError::Unavailable(_)), "{error:?}");

    lock.rollback().unwrap();
    store.append(blocked).await.unwrap();
    assert_eq!(store.version_of(stream).await.unwrap().get(), 1);
}

/// An application's own file, without a write-ahead log, that the application is writing to.
#[test]
fn a_file_in_use_is_adopted_as_soon_as_it_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.db");
    let mut application = Connection::open(&path).unwrap();
    application.execute("CREATE TABLE users (id INTEGER PRIMARY KEY)", []).unwrap();
    let lock = application.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();

    let at_once = SqliteStore::options().busy_timeout(Duration::ZERO).open(&path);
    assert!(at_once.is_err(), "the file is in use");
    let opening = std::thread::spawn({
        let path = path.clone();
        move || SqliteStore::options().busy_timeout(Duration::from_secs(60)).open(&path)
    });
    lock.commit().unwrap();
    opening.join().unwrap().unwrap();
}
