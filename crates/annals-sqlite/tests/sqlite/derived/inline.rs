//! What runs inside the transaction of an append.

use std::path::PathBuf;
use std::sync::Arc;

use annals_core::{
    Append, AppendError, CheckpointStore, Claim, Data, Enrol, EventStore, EventStoreExt, EventType,
    ExpectedVersion, Generation, NewEvent, OnNewVersion, Position, Query, Read, ReadSideError,
    RecordedEvent, RowStore, StreamCatalog, StreamId, SubscriberName, SubscriberState, Timestamp,
    UsedBy,
};
use annals_sqlite::{Check, Inline, OpenError, SqliteReactor, SqliteReadSide, SqliteStore};
use futures_util::future::join_all;
use rusqlite::{Connection, TransactionBehavior};
use tempfile::TempDir;

use crate::derived::bank::{Balances, BoxError, Totals, balances, deposit, sum};

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("app.db")
    }

    fn connect(&self) -> Connection {
        Connection::open(self.path()).expect("the file opens")
    }

    fn open(&self, inline: impl IntoIterator<Item = Inline>) -> SqliteStore {
        let options = SqliteStore::options().check(Check::Full);
        let options = inline.into_iter().fold(options, |options, one| options.inline(one));
        options.open(self.path()).expect("the store opens")
    }

    fn with_balances(&self) -> SqliteStore {
        self.open([Inline::projection(Balances::new())])
    }

    async fn total(&self, account: &str) -> Option<i64> {
        let read_side = SqliteReadSide::open(self.path()).expect("the read side opens");
        let row = read_side.row(&Totals::new().name, &account.into()).await.expect("it answers")?;
        std::str::from_utf8(&row.value).expect("a text").parse().ok()
    }

    async fn checkpoint(&self, subscriber: &SubscriberName) -> Position {
        let read_side = SqliteReadSide::open(self.path()).expect("the read side opens");
        let info = read_side.subscriber(subscriber).await.expect("it answers");
        info.expect("it is known").active().expect("it has an active generation").position()
    }
}

async fn append(store: &SqliteStore, account: &str, amount: impl std::fmt::Display) {
    store.append(deposit(account, amount)).await.expect("it is appended");
}

/// Puts 1 on the account for so many times, in one append.
async fn append_many(store: &SqliteStore, times: usize) {
    let event = || NewEvent::new(EventType::from_static("MoneyDeposited"), Data::json("1"));
    let events: Vec<NewEvent> = std::iter::repeat_with(event).take(times).collect();
    let stream = StreamId::from_static("account-1");
    store.append_to(stream, ExpectedVersion::Any, events).await.expect("they are appended");
}

#[tokio::test]
async fn rows_are_there_when_the_append_is_answered() {
    let place = Place::new();
    let both = [Inline::projection(Balances::new()), Inline::rows(Arc::new(Totals::new()))];
    let store = place.open(both);
    for amount in 1..=3 {
        append(&store, "1", amount).await;
        let sum_now = (1..=amount).sum();
        assert_eq!(sum(&place.connect()), sum_now);
        assert_eq!(place.total("account-1").await, Some(sum_now));
    }
    let other = NewEvent::new(EventType::from_static("Other"), Data::json("{}"));
    store.append_to(StreamId::from_static("a-1"), ExpectedVersion::Any, [other]).await.unwrap();
    let head = store.head().await.unwrap();
    for name in [Balances::new().name, Totals::new().name] {
        assert_eq!(place.checkpoint(&name).await, head, "what does not concern it is passed");
    }
}

#[tokio::test]
async fn a_repeat_runs_nothing_again() {
    let place = Place::new();
    let store = place.with_balances();
    let once = deposit("1", 5);
    let receipt = store.append(once.clone()).await.unwrap();
    assert_eq!(store.append(once.clone()).await.unwrap(), receipt);
    assert_eq!(sum(&place.connect()), 5);
    let mut connection = place.connect();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    assert_eq!(store.append_in(&transaction, &once).unwrap(), receipt);
    transaction.commit().unwrap();
    assert_eq!(sum(&place.connect()), 5);
}

/// Appends that wait together are stored in one transaction, in which some are refused: by a
/// table's rule, by an event that is no number, by a panic.
#[tokio::test]
async fn a_veto_refuses_one_append_and_not_its_neighbours() {
    let place = Place::new();
    let both = [Inline::projection(Balances::new()), Inline::rows(Arc::new(Totals::new()))];
    let store = place.open(both);
    append(&store, "1", 10).await;
    // Whoever comes first in the group catches up with this, and may be vetoed then.
    append(&place.open([]), "1", 100).await;
    let lock = place.connect();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let appends = (0..40).map(|number| {
        let amount = ["-1000", "\"x\"", "\"panic\"", "1"][number % 4];
        // Each begins a stream of its own, and some the same type: a veto must undo both.
        let event_type = EventType::new(format!("Type{}", number / 4)).unwrap();
        let stream = StreamId::of("own", number).unwrap();
        let own = NewEvent::new(event_type, Data::json(""));
        let append = deposit(&format!("{}", number % 5), amount);
        store.append(append.and_to(stream, ExpectedVersion::NoStream, [own]))
    });
    // All of them wait when the lock is given back.
    let unlock = async { lock.execute_batch("COMMIT").unwrap() };
    let (outcomes, ()) = tokio::join!(join_all(appends), unlock);
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(_) => assert_eq!(number % 4, 3),
            Err(AppendError::Vetoed { by, .. }) => {
                assert_ne!(number % 4, 3);
                assert_eq!(by.as_str(), "balances");
            }
            Err(error) => panic!("{number}: {error:?}"),
        }
    }
    let events = store.read_to_end(Read::all()).await.unwrap();
    assert_eq!(events.len(), 2 + 2 * 10);
    let positions: Vec<u64> = events.iter().map(|event| event.position.get()).collect();
    assert_eq!(positions, (1..=22).collect::<Vec<_>>(), "a veto uses no position up");
    assert_eq!(sum(&place.connect()), 120);
    store.close().await;
    // Streams, types and tags are what they must be.
    let store = place.with_balances();
    assert_eq!(store.stats().await.unwrap().streams, 5 + 10);
}

#[tokio::test]
async fn what_the_log_holds_already_is_applied_when_the_store_is_opened() {
    let place = Place::new();
    let without = place.open([]);
    // More than one transaction's worth.
    for _ in 0..5 {
        append_many(&without, 500).await;
    }
    drop(without);
    let store =
        place.open([Inline::projection(Balances::new()), Inline::rows(Arc::new(Totals::new()))]);
    assert_eq!(sum(&place.connect()), 2_500);
    assert_eq!(place.total("account-1").await, Some(2_500));
    append(&store, "1", 1).await;
    drop(store);
    let _again = place.with_balances();
    assert_eq!(sum(&place.connect()), 2_501, "nothing is applied twice");
}

/// Both stores are open; one has the projection.
#[tokio::test]
async fn what_others_append_without_it_is_applied_with_the_next_append() {
    let place = Place::new();
    let (with, without) = (place.with_balances(), place.open([]));
    append(&with, "1", 1).await;
    append(&without, "1", 10).await;
    append(&without, "2", 100).await;
    assert_eq!(sum(&place.connect()), 1, "the other one has no projection");
    append(&with, "1", 1_000).await;
    assert_eq!(sum(&place.connect()), 1_111);

    let mut connection = place.connect();
    append(&without, "1", 10_000).await;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    with.append_in(&transaction, &deposit("3", 100_000)).unwrap();
    transaction.commit().unwrap();
    assert_eq!(sum(&place.connect()), 111_111);
}

#[tokio::test]
async fn much_that_others_append_is_applied_before_and_not_inside_an_append() {
    let place = Place::new();
    let (with, without) = (place.with_balances(), place.open([]));
    for _ in 0..3 {
        append_many(&without, 500).await;
    }
    let mut connection = place.connect();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let error = with.append_in(&transaction, &deposit("1", 1)).unwrap_err();
    assert!(matches!(error, AppendError::Unavailable(_)), "{error:?}");
    drop(transaction);
    append(&with, "1", 1).await;
    assert_eq!(sum(&place.connect()), 1_501);
}

#[tokio::test]
async fn what_others_append_and_nobody_can_apply_vetoes_every_append() {
    let place = Place::new();
    let (with, without) = (place.with_balances(), place.open([]));
    let before = deposit("1", 1);
    let receipt = with.append(before.clone()).await.unwrap();
    append(&without, "1", "\"x\"").await;
    let error = with.append(deposit("2", 1)).await.unwrap_err();
    assert!(matches!(error, AppendError::Vetoed { .. }), "{error:?}");
    assert_eq!(with.append(before).await.unwrap(), receipt, "repeats are recognised all the same");
    drop(with);
    let opened = SqliteStore::options().inline(Inline::projection(Balances::new()));
    let error = opened.open(place.path()).unwrap_err();
    assert!(matches!(error, OpenError::Inline { .. }), "{error:?}");
}

#[tokio::test]
async fn a_new_version_is_built_when_the_store_is_opened() {
    let place = Place::new();
    let old = place.with_balances();
    append(&old, "1", 5).await;
    let new = place.open([Inline::projection(Balances::new().version(2, 100))]);
    assert_eq!(sum(&place.connect()), 500);
    append(&new, "1", 1).await;
    assert_eq!(sum(&place.connect()), 600);
    // A process that has the old code still appends, without the projection.
    append(&old, "1", 1).await;
    assert_eq!(sum(&place.connect()), 600);
    append(&new, "1", 1).await;
    assert_eq!(sum(&place.connect()), 800);
}

#[tokio::test]
async fn a_new_version_of_rows_leaves_none_of_the_old_ones() {
    let place = Place::new();
    let rows = |version| Inline::rows(Arc::new(Totals { version, ..Totals::new() }));
    append(&place.open([rows(1)]), "1", 5).await;
    let _store = place.open([rows(2)]);
    assert_eq!(place.total("account-1").await, Some(5));
    let kept: i64 = place
        .connect()
        .query_row("SELECT count(*) FROM annals_rows", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, 1);
}

#[tokio::test]
async fn a_paused_projection_is_left_out_and_catches_up() {
    let place = Place::new();
    let store = place.with_balances();
    append(&store, "1", 1).await;
    let read_side = SqliteReadSide::open(place.path()).unwrap();
    let name = Balances::new().name;
    read_side.set_state(&name, SubscriberState::Paused).await.unwrap();
    append(&store, "1", "\"x\"").await;
    assert_eq!(sum(&place.connect()), 1);
    let other = NewEvent::new(EventType::from_static("Other"), Data::json("{}"));
    let append_other =
        || store.append_to(StreamId::from_static("a-1"), ExpectedVersion::Any, [other.clone()]);
    append_other().await.unwrap();
    read_side.set_state(&name, SubscriberState::Running).await.unwrap();
    let error = store.append(deposit("1", 1)).await.unwrap_err();
    assert!(matches!(error, AppendError::Vetoed { .. }), "it catches up first: {error:?}");
}

#[tokio::test]
async fn one_is_not_rebuilt_by_hand_since_nobody_would_do_it() {
    let place = Place::new();
    let store = place.with_balances();
    append(&store, "1", 1).await;
    let read_side = SqliteReadSide::open(place.path()).unwrap();
    let name = Balances::new().name;
    let anew = Enrol {
        subscriber: name.clone(),
        version: 1,
        partitions: 1,
        after: Position::START,
        on_new_version: OnNewVersion::Rebuild,
        // Long after the last append: it goes on inline all the same.
        now: Timestamp::MAX,
    };
    let refused = read_side.begin_generation(anew.clone()).await.unwrap_err();
    let told = refused.to_string();
    assert!(matches!(refused, ReadSideError::Unsupported(_)), "{refused:?}");
    assert!(told.contains("count its version up"), "{told}");
    assert_eq!(read_side.subscriber(&name).await.unwrap().unwrap().building(), None);

    let used = read_side.delete(&name, Timestamp::EPOCH).await.unwrap_err();
    let by_appends = matches!(used, ReadSideError::InUse { by: UsedBy::Appends, .. });
    assert!(by_appends, "{used:?}");

    // Whoever works it behind the log from now on can rebuild it.
    let claim = Claim {
        subscriber: name.clone(),
        generation: Generation::FIRST,
        partition: 0,
        owner: "a runner".into(),
        now: Timestamp::MAX,
        until: Timestamp::MAX,
    };
    read_side.claim(claim).await.unwrap().expect("its time is up");
    read_side.begin_generation(anew).await.unwrap();
}

/// Whoever ran it outside of appends finds the part lost, and cannot apply anything twice.
#[tokio::test]
async fn a_runner_loses_its_lease_to_the_append() {
    let place = Place::new();
    let store = place.with_balances();
    append(&store, "1", 1).await;
    let read_side = SqliteReadSide::open(place.path()).unwrap();
    let claim = Claim {
        subscriber: Balances::new().name,
        generation: Generation::FIRST,
        partition: 0,
        owner: "a runner".into(),
        now: Timestamp::MAX,
        until: Timestamp::MAX,
    };
    let lease = read_side.claim(claim).await.unwrap().expect("the append's time is up");
    append(&store, "1", 1).await;
    let error = read_side.renew(&lease, Timestamp::MAX).await.unwrap_err();
    assert!(matches!(error, ReadSideError::Fenced(_)), "{error:?}");
}

#[tokio::test]
async fn the_applications_transaction_runs_it_and_undoes_it() {
    let place = Place::new();
    let store = place.with_balances();
    let mut connection = place.connect();
    connection.execute_batch("CREATE TABLE notes (note TEXT)").unwrap();
    let begin = |connection: &mut Connection, commits: bool| {
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        transaction.execute("INSERT INTO notes VALUES ('x')", []).unwrap();
        store.append_in(&transaction, &deposit("1", 5)).unwrap();
        store.append_in(&transaction, &deposit("1", 6)).unwrap();
        let error = store.append_in(&transaction, &deposit("1", -1_000)).unwrap_err();
        assert!(matches!(error, AppendError::Vetoed { .. }), "{error:?}");
        assert_eq!(sum(&transaction), 11, "it sees what it has written, without what was vetoed");
        if commits { transaction.commit().unwrap() } else { transaction.rollback().unwrap() }
    };
    begin(&mut connection, false);
    assert_eq!(sum(&connection), 0);
    assert_eq!(place.checkpoint(&Balances::new().name).await, Position::START);
    begin(&mut connection, true);
    let notes: i64 =
        connection.query_row("SELECT count(*) FROM notes", [], |row| row.get(0)).unwrap();
    assert_eq!((sum(&connection), notes), (11, 1));
    append(&store, "1", 1).await;
    assert_eq!(sum(&connection), 12);
}

/// Names and data are anything that a name may be.
#[tokio::test]
async fn events_of_hostile_names_are_only_values() {
    let place = Place::new();
    let both = [Inline::projection(Balances::new()), Inline::rows(Arc::new(Totals::new()))];
    let store = place.open(both);
    let hostile = ["'; DROP TABLE balances; --", "{balances}", "\u{1f4a3}\u{202e}", "?1", "%_\"`"];
    for account in hostile {
        append(&store, account, 1).await;
        assert_eq!(place.total(&format!("account-{account}")).await, Some(1), "{account}");
    }
    assert_eq!(balances(&place.connect()).len(), hostile.len());
}

/// Refuses by name, and keeps a list in a table of its own.
#[derive(Debug)]
struct Guests(SubscriberName);

impl SqliteReactor for Guests {
    fn name(&self) -> &SubscriberName {
        &self.0
    }

    fn query(&self) -> Query {
        Query::all()
    }

    fn react(&self, transaction: &Connection, event: &RecordedEvent) -> Result<(), BoxError> {
        let stored: i64 = transaction.query_row(
            "SELECT count(*) FROM annals_events WHERE position = ?1 AND stream = ?2
                 AND version = ?3 AND id = ?4 AND recorded_at = ?5",
            (
                event.position.get().cast_signed(),
                event.stream.as_str(),
                event.version.get().cast_signed(),
                event.id.as_bytes(),
                event.recorded_at.as_micros(),
            ),
            |row| row.get(0),
        )?;
        assert_eq!(stored, 1, "it sees the event in the log as it will be read");
        match &*event.data.bytes {
            b"\"no\"" => return Err("nobody of that name".into()),
            b"\"end\"" => transaction.execute_batch("COMMIT")?,
            _ => {}
        }
        transaction.execute("INSERT INTO guests VALUES (?1)", [event.stream.as_str()])?;
        Ok(())
    }
}

fn comes(streams: &[(&str, &str)]) -> Append {
    let event = |data: &str| {
        NewEvent::new(EventType::from_static("Came"), Data::json(format!("\"{data}\"")))
    };
    let (first, rest) = streams.split_first().expect("somebody comes");
    let to = |stream: &str| StreamId::new(stream).expect("a stream id");
    let append = Append::to(to(first.0), ExpectedVersion::Any, [event(first.1)]);
    rest.iter().fold(append, |append, (stream, data)| {
        append.and_to(to(stream), ExpectedVersion::Any, [event(data), event(data)])
    })
}

fn guests(connection: &Connection) -> i64 {
    connection.query_row("SELECT count(*) FROM guests", [], |row| row.get(0)).expect("a count")
}

#[tokio::test]
async fn a_reactor_writes_with_the_append_and_may_forbid_it() {
    let place = Place::new();
    place.connect().execute_batch("CREATE TABLE guests (name TEXT)").unwrap();
    append(&place.open([]), "1", 1).await;
    let guards = Guests(SubscriberName::from_static("guests"));
    let store = place.open([Inline::reactor(guards)]);
    assert_eq!(guests(&place.connect()), 0, "what the log holds already does not come to it");
    let all_come = comes(&[("a-1", "yes"), ("a-2", "yes")]);
    store.append(all_come.clone()).await.unwrap();
    assert_eq!(guests(&place.connect()), 3);
    store.append(all_come).await.unwrap();
    assert_eq!(guests(&place.connect()), 3, "a repeat runs nothing again");
    let error = store.append(comes(&[("a-3", "yes"), ("a-4", "no")])).await.unwrap_err();
    let AppendError::Vetoed { by, source } = error else { panic!("{error:?}") };
    assert_eq!((by.as_str(), &*source.to_string()), ("guests", "nobody of that name"));
    assert_eq!(guests(&place.connect()), 3);
}

#[tokio::test]
async fn a_reactor_that_ends_the_transaction_leaves_the_outcome_unknown_to_nobody_else() {
    let place = Place::new();
    place.connect().execute_batch("CREATE TABLE guests (name TEXT)").unwrap();
    let open = || place.open([Inline::reactor(Guests(SubscriberName::from_static("guests")))]);
    let store = open();
    let append = comes(&[("a-1", "end")]);
    let error = store.append(append.clone()).await.unwrap_err();
    assert!(matches!(error, AppendError::Indeterminate(_)), "{error:?}");
    drop(store);
    let receipt = open().append(append).await;
    assert!(receipt.is_ok(), "whoever repeats it gets to know: {receipt:?}");
}
