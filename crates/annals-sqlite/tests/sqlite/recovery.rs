//! What a process that died leaves behind.

use std::path::Path;

use annals_core::{
    Append, Data, EventStore, EventStoreExt, EventType, ExpectedVersion, NewEvent, Read, StreamId,
};
use annals_sqlite::{Check, SqliteStore};

fn append(number: u32) -> Append {
    let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    Append::to(StreamId::of("a", number).expect("a stream id"), ExpectedVersion::NoStream, [event])
}

async fn events(path: &Path) -> usize {
    let store = SqliteStore::options().check(Check::Full).open(path).expect("the store opens");
    store.read_to_end(Read::all()).await.expect("the log is read").len()
}

/// The files are copied while the store is open, as a crash would leave them: the file itself is
/// far behind, and everything is in the write-ahead log. Goal: after opening them all of it is in
/// the file, for only what was folded in is known to be synced, whoever wrote the log.
#[tokio::test]
async fn what_is_recovered_is_folded_in_before_anybody_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    let store = SqliteStore::open(place("live.db")).unwrap();
    for number in 0..20 {
        store.append(append(number)).await.unwrap();
    }
    for end in ["", "-wal"] {
        std::fs::copy(place(&format!("live.db{end}")), place(&format!("dead.db{end}"))).unwrap();
    }
    std::fs::copy(place("dead.db"), place("without-log.db")).unwrap();
    assert_eq!(events(&place("without-log.db")).await, 0, "the log holds everything");

    let recovered = SqliteStore::open(place("dead.db")).unwrap();
    std::fs::copy(place("dead.db"), place("folded.db")).unwrap();
    assert_eq!(events(&place("folded.db")).await, 20);
    assert_eq!(recovered.read_to_end(Read::all()).await.unwrap().len(), 20);
}
