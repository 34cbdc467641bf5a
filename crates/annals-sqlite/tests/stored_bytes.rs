//! What is stored, to the byte: files written by any version stay readable for ever.
//!
//! `golden/schema_2.txt` is every row that a fixed history and a snapshot leave behind,
//! `golden/schema_2.db` the file itself, `golden/schema_1.db` the file of that history when there
//! were no snapshots. A change to the text is a decision (`docs/decisions`); the files never change.
//! `ANNALS_BLESS=1` writes what is missing.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_core::{
    Append, ContentType, Data, EventId, EventStore, EventStoreExt, EventType, ExpectedVersion,
    Fingerprint, ManualClock, Metadata, NewEvent, Read, RecordedEvent, SelectSnapshots, Snapshot,
    SnapshotStore, StreamId, Tag, Timestamp, Version,
};
use annals_sqlite::{Check, SqliteStore};
use futures_util::StreamExt;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A history with everything an event can have.
fn history() -> Vec<Append> {
    let event = |number: u8, event_type: &'static str, data: Data| {
        NewEvent::new(EventType::from_static(event_type), data)
            .with_id(EventId::from_bytes([number; 16]))
    };
    let plain = event(1, "AccountOpened", Data::json(r#"{"owner":"Ada"}"#));
    let mut full = event(2, "MoneyDeposited", Data::json(r#"{ "amount":100 }"#))
        .with_metadata(Metadata::from_json(r#"{ "actor":"teller-7" }"#).expect("an object"))
        .tagged(Tag::from_static("branch:7"))
        .tagged(Tag::from_static("adviser:\u{c9}va"))
        .occurred_at(Timestamp::from_micros(1_600_000_000_000_001));
    full.schema_version = 3;
    let picture = Data {
        content_type: ContentType::new("image/png").expect("a media type"),
        bytes: vec![0x89, b'P', b'N', b'G', 0].into(),
    };
    let scan = event(3, "PassportScanned", picture);
    let account = StreamId::from_static("account-1");
    vec![
        Append::to(account.clone(), ExpectedVersion::NoStream, [plain]),
        Append::to(account, ExpectedVersion::StreamExists, [full]).and_to(
            StreamId::from_static("customers"),
            ExpectedVersion::Any,
            [scan],
        ),
    ]
}

fn snapshot() -> Snapshot {
    Snapshot {
        stream: StreamId::from_static("account-1"),
        fold: Fingerprint::from_static("account.v1"),
        version: Version::new(2),
        last_event: EventId::from_bytes([2; 16]),
        taken_at: Timestamp::from_micros(1_700_000_000_000_001),
        state: vec![0, b'{', 0xff].into(),
    }
}

async fn write(path: &Path) -> Vec<RecordedEvent> {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000)));
    let store = SqliteStore::options().clock(clock).open(path).expect("the store opens");
    for append in history() {
        store.append(append).await.expect("the history is stored");
    }
    store.save_snapshot(snapshot()).await.expect("the snapshot is saved");
    let events = store.read_to_end(Read::all()).await.expect("the history is read");
    store.close().await;
    events
}

/// Every table, column and row, as text.
fn dump(path: &Path) -> String {
    let connection = Connection::open(path).expect("the file opens");
    let mut text = String::new();
    for table in [
        "annals_schema",
        "annals_types",
        "annals_events",
        "annals_tags",
        "annals_totals",
        "annals_snapshots",
    ] {
        let mut select = connection.prepare(&format!("SELECT * FROM {table}")).expect("a table");
        let columns: Vec<String> = (0..select.column_count())
            .map(|index| select.column_name(index).expect("a column").to_owned())
            .collect();
        let mut rows = select.query([]).expect("the rows are read");
        while let Some(row) = rows.next().expect("a row") {
            writeln!(text, "{table}").expect("text grows");
            for (index, column) in columns.iter().enumerate() {
                let value = match row.get_ref(index).expect("a value") {
                    ValueRef::Null => "NULL".into(),
                    ValueRef::Integer(number) => number.to_string(),
                    ValueRef::Real(number) => number.to_string(),
                    ValueRef::Text(text) => format!("text {:?}", String::from_utf8_lossy(text)),
                    ValueRef::Blob(bytes) => format!("blob {:?}", bytes.escape_ascii().to_string()),
                };
                writeln!(text, "  {column} = {value}").expect("text grows");
            }
        }
    }
    text
}

#[tokio::test]
async fn rows_are_stored_as_ever() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("annals.db");
    write(&path).await;
    let (found, file) = (dump(&path), golden("schema_2.txt"));
    if std::env::var_os("ANNALS_BLESS").is_some() && !file.exists() {
        std::fs::write(&file, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(file).unwrap());
}

#[tokio::test]
async fn a_file_of_schema_1_is_read_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_copy("schema_1.db", &directory.path().join("copy.db"));
    reads_as_written(&store, directory.path()).await;
    // It was made when there were no snapshots, and keeps them since it was opened.
    let mut kept = store.snapshots(SelectSnapshots::all());
    assert!(kept.next().await.is_none());
    let made = snapshot();
    store.save_snapshot(made.clone()).await.unwrap();
    assert_eq!(store.load_snapshot(&made.stream, &made.fold).await.unwrap(), Some(made));
}

#[tokio::test]
async fn a_file_of_schema_2_is_read_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let file = golden("schema_2.db");
    if std::env::var_os("ANNALS_BLESS").is_some() && !file.exists() {
        let path = directory.path().join("new.db");
        write(&path).await;
        let connection = Connection::open(&path).unwrap();
        connection.execute("VACUUM INTO ?1", [file.to_str().unwrap()]).unwrap();
    }
    let store = open_copy("schema_2.db", &directory.path().join("copy.db"));
    reads_as_written(&store, directory.path()).await;
    let kept = snapshot();
    assert_eq!(store.load_snapshot(&kept.stream, &kept.fold).await.unwrap(), Some(kept));
}

/// Opens a copy: opening a store may write to it.
fn open_copy(name: &str, copy: &Path) -> SqliteStore {
    std::fs::copy(golden(name), copy).expect("the golden file is there");
    SqliteStore::options().check(Check::Full).open(copy).expect("the store opens")
}

async fn reads_as_written(store: &SqliteStore, directory: &Path) {
    let found = store.read_to_end(Read::all()).await.expect("the log is read");
    let written = write(&directory.join("again.db")).await;
    assert_eq!(found, written);
    for append in history() {
        let receipt = store.append(append).await.expect("repeats are recognised");
        assert!(receipt.last_position <= found[2].position, "repeats are recognised");
    }
}
