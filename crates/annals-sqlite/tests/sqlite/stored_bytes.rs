//! What is stored, to the byte: files written by any version stay readable for ever.
//!
//! `golden/schema_2.txt` is every row that a fixed history and a snapshot leave behind,
//! `golden/schema_2.db` the file itself, `golden/schema_1.db` the file of that history when there
//! were no snapshots. `golden/read_side_1.txt` and `.db` are the same of a read side. A change to the text is a decision (`docs/decisions`); the files never change.
//! `ANNALS_BLESS=1` writes what is missing.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_core::{
    Advance, Append, Attempt, CheckpointStore, Claim, ContentType, Data, DeliveryId, DeliveryQueue,
    Enqueue, Enrol, EventId, EventRef, EventStore, EventStoreExt, EventType, ExpectedVersion,
    Failure, Fingerprint, Generation, ManualClock, Metadata, NewDelivery, NewEvent, OnNewVersion,
    Parked, Position, Read, RecordedEvent, RowChange, RowStore, SelectDeliveries, SelectSnapshots,
    Settled, Snapshot, SnapshotStore, StreamId, SubscriberName, SubscriberState, Tag, Take, Then,
    Timestamp, Version,
};
use annals_sqlite::{Check, SqliteReadSide, SqliteStore};
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

const OF_THE_LOG: &[&str] = &[
    "annals_schema",
    "annals_types",
    "annals_events",
    "annals_tags",
    "annals_totals",
    "annals_snapshots",
];

const OF_THE_READ_SIDE: &[&str] = &[
    "annals_read_side_schema",
    "annals_subscribers",
    "annals_generations",
    "annals_partitions",
    "annals_parked",
    "annals_rows",
    "annals_tables",
    "annals_inboxes",
    "annals_deliveries",
    "annals_attempts",
];

/// Every column and row of tables, as text.
fn dump(path: &Path, tables: &[&str]) -> String {
    let connection = Connection::open(path).expect("the file opens");
    let mut text = String::new();
    for table in tables {
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
    same(&dump(&path, OF_THE_LOG), &golden("schema_2.txt"));
}

fn same(found: &str, file: &Path) {
    if std::env::var_os("ANNALS_BLESS").is_some() && !file.exists() {
        std::fs::write(file, found).expect("the golden file is written");
    }
    assert_eq!(found, std::fs::read_to_string(file).expect("the golden file is there"));
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

/// A read side with everything that one can hold.
async fn derive(path: &Path) {
    let read_side = SqliteReadSide::open(path).expect("the read side opens");
    let now = |micros| Timestamp::from_micros(1_700_000_000_000_000 + micros);
    let name = SubscriberName::from_static;
    let enrol = |subscriber, version, on_new_version| Enrol {
        subscriber,
        version,
        partitions: 2,
        after: Position::new(7),
        on_new_version,
        now: now(0),
    };
    let [balances, email] = [name("balances"), name("email")];
    for subscriber in [&balances, &email] {
        let enrol = enrol(subscriber.clone(), 1, OnNewVersion::Refuse);
        read_side.enrol(enrol).await.expect("a subscriber enrols");
    }
    let claim = |partition| Claim {
        subscriber: balances.clone(),
        generation: Generation::FIRST,
        partition,
        owner: "somebody".into(),
        now: now(0),
        until: now(9),
    };
    let claimed = async |partition| {
        let lease = read_side.claim(claim(partition)).await.expect("it answers");
        lease.expect("nobody else has it")
    };
    let event = EventId::from_bytes([2; 16]);
    let error = "no number".to_owned();
    let parked = Parked { position: Position::new(8), event, error: error.clone(), at: now(1) };
    let advance = Advance {
        lease: claimed(0).await,
        to: Position::new(9),
        events: 3,
        parked: vec![parked],
        now: now(2),
    };
    let row = RowChange { key: "account-1".into(), value: Some(r#"{"amount":100}"#.into()) };
    read_side.commit_rows(vec![row], &advance).await.expect("rows are written");
    let failure = Failure { event: Some((Position::new(8), event)), error, at: now(3) };
    read_side.fail(&claimed(1).await, failure).await.expect("a failure is kept");
    let rebuilt = enrol(balances, 2, OnNewVersion::Rebuild);
    read_side.enrol(rebuilt).await.expect("a generation begins");
    read_side.set_state(&email, SubscriberState::Paused).await.expect("it waits");
    read_side.set_state(&email, SubscriberState::Running).await.expect("it goes on");
    deliver(&read_side, email, now).await;
    read_side.close().await;
}

/// Deliveries: one made, one tried again, one that waits for its lane, one dead, one skipped.
async fn deliver(
    read_side: &SqliteReadSide,
    inbox: SubscriberName,
    now: impl Fn(i64) -> Timestamp,
) {
    let deliveries = (1..=5).map(|number: u8| {
        let id = EventId::from_bytes([number; 16]);
        let recipient = Some(format!("{number}@example.org"));
        NewDelivery {
            id: DeliveryId::new(&inbox, id, recipient.as_deref()),
            inbox: inbox.clone(),
            event: EventRef {
                id,
                position: Position::new(number.into()),
                stream: StreamId::from_static("account-1"),
                version: Version::new(number.into()),
                event_type: EventType::from_static("MoneyDeposited"),
            },
            recipient,
            lane: (number == 2 || number == 3).then(|| "account-1".into()),
            due_at: now(number.into()),
        }
    });
    let enqueue = Enqueue { deliveries: deliveries.collect(), advances: Vec::new() };
    read_side.enqueue(enqueue, now(1)).await.expect("deliveries are enqueued");
    let take = Take { inbox, limit: 3, now: now(9), until: now(20) };
    let taken = read_side.take(take).await.expect("deliveries are taken");
    let attempt = |error: Option<&str>| Attempt {
        number: 1,
        at: now(10),
        duration: std::time::Duration::from_millis(30),
        error: error.map(str::to_owned),
        note: Some("503".into()),
    };
    let ends = [
        (Then::Done, attempt(None)),
        (Then::Again(now(100)), attempt(Some("timed out"))),
        (Then::Dead, attempt(Some("refused"))),
    ];
    let settled = taken.into_iter().zip(ends).map(|(delivery, (then, attempt))| Settled {
        id: delivery.id,
        token: delivery.token,
        attempt: Some(attempt),
        then,
    });
    read_side.settle(settled.collect(), now(11)).await.expect("attempts are settled");
    let fifth = SelectDeliveries::all().recipient("5@example.org");
    read_side.skip(&fifth, "gone", now(12)).await.expect("one is skipped");
}

#[tokio::test]
async fn what_is_derived_is_stored_as_ever() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("derived.db");
    derive(&path).await;
    same(&dump(&path, OF_THE_READ_SIDE), &golden("read_side_1.txt"));
}

#[tokio::test]
async fn a_read_side_of_schema_1_is_read_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let file = golden("read_side_1.db");
    let (new, copy) = (directory.path().join("new.db"), directory.path().join("copy.db"));
    derive(&new).await;
    if std::env::var_os("ANNALS_BLESS").is_some() && !file.exists() {
        let connection = Connection::open(&new).unwrap();
        connection.execute("VACUUM INTO ?1", [file.to_str().unwrap()]).unwrap();
    }
    std::fs::copy(file, &copy).unwrap();
    let [old, new] = [copy, new].map(|path| SqliteReadSide::open(path).unwrap());
    let seen = async |read_side: &SqliteReadSide| {
        let subscribers = read_side.subscribers().await.unwrap();
        let deliveries = read_side.deliveries(&SelectDeliveries::all(), 100).await.unwrap();
        let name = SubscriberName::from_static("balances");
        let row = read_side.row(&name, &"account-1".into()).await.unwrap();
        format!("{subscribers:#?} {deliveries:#?} {row:?}")
    };
    assert_eq!(seen(&old).await, seen(&new).await);
}
