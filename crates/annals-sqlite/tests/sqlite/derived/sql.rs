//! Projections in SQL, behind the log.

use annals_core::error::Chain;
use annals_core::{
    Activation, CheckpointStore, EventStore, Generation, ListRows, OnNewVersion, Position,
    ProjectError, Projector, ReadSideError, RowStore, SubscriberInfo, SubscriberState, Timestamp,
};
use annals_sqlite::{
    ProjectionTable, SqliteProjection, SqliteReadSide, SqliteRows, SqliteStore, TableName,
};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::derived::bank::{Balances, BoxError, balances, deposit, sum};
use crate::derived::runner::{NOW, enrol, step};

/// A store and a read side in one file.
struct Place {
    directory: TempDir,
    store: SqliteStore,
    read_side: SqliteReadSide,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("app.db");
        let store = SqliteStore::open(&path).expect("the store opens");
        let read_side = SqliteReadSide::open(&path).expect("the read side opens");
        Self { directory, store, read_side }
    }

    fn connect(&self) -> Connection {
        Connection::open(self.directory.path().join("app.db")).expect("the file opens")
    }

    async fn deposit(&self, account: &str, amount: impl std::fmt::Display) {
        self.store.append(deposit(account, amount)).await.expect("it is appended");
    }

    async fn info(&self, projector: &dyn Projector) -> SubscriberInfo {
        let info = self.read_side.subscriber(projector.name()).await.expect("it answers");
        info.expect("it has enrolled")
    }
}

fn names(connection: &Connection) -> Vec<String> {
    let select = "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'annals\\_%' ESCAPE '\\'
                  AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    let mut select = connection.prepare(select).expect("it is prepared");
    let names = select.query_map([], |row| row.get(0)).expect("it is read");
    names.map(|name| name.expect("a name")).collect()
}

#[tokio::test]
async fn rows_and_checkpoint_move_together() {
    let place = Place::new();
    let projector = place.read_side.projection(Balances::new());
    let first = enrol(&projector, OnNewVersion::Refuse).await;
    for amount in 1..=4 {
        place.deposit("1", amount).await;
    }
    let to = step(&projector, first, &place.store, 3).await.unwrap();
    assert_eq!((to, sum(&place.connect())), (Position::new(3), 6));
    let part = &place.info(&projector).await.generations[0].partitions[0];
    assert_eq!((part.position, part.events), (to, 3));
    step(&projector, first, &place.store, 3).await.unwrap();
    assert_eq!(balances(&place.connect()), [("account-1".to_owned(), 10)]);
}

#[tokio::test]
async fn an_event_that_cannot_be_applied_is_named_and_leaves_nothing() {
    for poison in ["\"much\"", "-100", "\"panic\""] {
        let place = Place::new();
        let projector = place.read_side.projection(Balances::new());
        let first = enrol(&projector, OnNewVersion::Refuse).await;
        place.deposit("1", 5).await;
        place.deposit("2", poison).await;
        let error = step(&projector, first, &place.store, 10).await.unwrap_err();
        let ProjectError::Poison(found) = &error else { panic!("{poison}: {error:?}") };
        assert_eq!(found.position, Position::new(2), "{poison}");
        assert!(balances(&place.connect()).is_empty(), "{poison}: the stretch is undone");
        assert_eq!(place.info(&projector).await.generations[0].position(), Position::START);
        let to = step(&projector, first, &place.store, 1).await.unwrap();
        assert_eq!((to, sum(&place.connect())), (Position::new(1), 5), "{poison}");
    }
}

#[tokio::test]
async fn one_that_is_deleted_leaves_no_table() {
    let place = Place::new();
    let projector = place.read_side.projection(Balances::new());
    let first = enrol(&projector, OnNewVersion::Refuse).await;
    place.deposit("1", 5).await;
    step(&projector, first, &place.store, 10).await.unwrap();
    let newer = place.read_side.projection(Balances::new().version(2, 100));
    enrol(&newer, OnNewVersion::Rebuild).await;

    let deleted = place.read_side.delete(projector.name(), Timestamp::MAX).await.unwrap();
    assert_eq!(deleted.tables, ["accounts", "accounts__2", "balances", "balances__2"]);
    assert_eq!(names(&place.connect()), [] as [String; 0]);
    let first = enrol(&projector, OnNewVersion::Refuse).await;
    step(&projector, first, &place.store, 10).await.unwrap();
    assert_eq!(balances(&place.connect()), [("account-1".to_owned(), 5)]);
}

/// It dies behind the first step: the rest is in nobody's way, whatever comes next.
#[tokio::test]
async fn one_that_was_deleted_in_part_is_deleted_again_or_begins_anew() {
    let place = Place::new();
    let projector = place.read_side.projection(Balances::new());
    let name = projector.name();
    let in_part = async || {
        enrol(&projector, OnNewVersion::Refuse).await;
        let first_step = "INSERT INTO annals_rows
                SELECT subscriber, generation, 'left', CAST('1' AS BLOB) FROM annals_generations;
            DROP TABLE balances; DROP TABLE accounts;
            DELETE FROM annals_tables; DELETE FROM annals_partitions; DELETE FROM annals_generations";
        place.connect().execute_batch(first_step).unwrap();
        assert_eq!(place.read_side.subscriber(name).await.unwrap(), None);
        assert_eq!(place.read_side.subscribers().await.unwrap(), []);
        let told = place.read_side.set_state(name, SubscriberState::Paused).await;
        assert!(matches!(told, Err(ReadSideError::Unknown(_))), "{told:?}");
    };
    in_part().await;
    assert_eq!(place.read_side.delete(name, NOW).await.unwrap().rows, 1);
    let again = place.read_side.delete(name, NOW).await;
    assert!(matches!(again, Err(ReadSideError::Unknown(_))), "{again:?}");

    in_part().await;
    let generation = enrol(&projector, OnNewVersion::Refuse).await;
    assert_eq!(generation, Generation::new(2), "what is left is not its own");
    let rows = ListRows { limit: 9, ..ListRows::default() };
    assert_eq!(place.read_side.rows(name, rows).await.unwrap(), []);
    assert_eq!(place.read_side.sweep_rows(name, &[], 9).await.unwrap(), 1);
}

/// Somebody has claimed the part since, and is to find nothing of what comes too late.
#[tokio::test]
async fn whoever_lost_the_part_writes_nothing() {
    let place = Place::new();
    let projector = place.read_side.projection(Balances::new());
    let first = enrol(&projector, OnNewVersion::Refuse).await;
    place.deposit("1", 5).await;
    let claim = |owner: &str| annals_core::Claim {
        subscriber: projector.name().clone(),
        generation: first,
        partition: 0,
        owner: owner.into(),
        now: NOW,
        until: NOW,
    };
    let lost = place.read_side.claim(claim("a")).await.unwrap().unwrap();
    place.read_side.claim(claim("b")).await.unwrap().unwrap();
    let events = annals_core::EventStoreExt::read_to_end(&place.store, annals_core::Read::all());
    let advance = annals_core::Advance {
        lease: lost,
        to: Position::new(1),
        events: 1,
        parked: Vec::new(),
        now: NOW,
    };
    let stretch = annals_core::Stretch { events: events.await.unwrap(), advance };
    let error = projector.project(&stretch).await.unwrap_err();
    assert!(matches!(error, ProjectError::ReadSide(ReadSideError::Fenced(_))), "{error:?}");
    assert!(balances(&place.connect()).is_empty());
}

/// A connection of the application's own reads the plain table through a view, and inside a
/// transaction that began before the switch.
#[tokio::test]
async fn a_rebuild_takes_the_place_of_the_table_that_is_read() {
    let place = Place::new();
    let old = place.read_side.projection(Balances::new());
    let first = enrol(&old, OnNewVersion::Refuse).await;
    place.deposit("1", 5).await;
    step(&old, first, &place.store, 10).await.unwrap();
    let (reader, other) = (place.connect(), place.connect());
    reader.execute_batch("CREATE VIEW rich AS SELECT * FROM balances WHERE amount > 0").unwrap();

    let new = place.read_side.projection(Balances::new().version(2, 100));
    let second = enrol(&new, OnNewVersion::Rebuild).await;
    assert_ne!(first, second);
    step(&new, second, &place.store, 10).await.unwrap();
    assert_eq!(sum(&reader), 5, "the old one is read until then");
    other.execute_batch("BEGIN").unwrap();
    assert_eq!(sum(&other), 5);

    assert_eq!(new.activate(second, NOW).await.unwrap(), Activation::Done);
    assert_eq!(sum(&reader), 500);
    assert_eq!(sum(&other), 5, "whoever reads goes on reading what was there");
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(sum(&other), 500);
    let rich: i64 = reader.query_row("SELECT amount FROM rich", [], |row| row.get(0)).unwrap();
    assert_eq!(rich, 500);
    assert_eq!(
        names(&reader),
        ["accounts", "accounts__2_by_deposits", "balances", "rich"],
        "nothing is left of the old generation"
    );

    // The generation goes on where it is, under its new names, also for whoever begins anew.
    place.deposit("1", 1).await;
    assert_eq!(enrol(&new, OnNewVersion::Refuse).await, second);
    step(&new, second, &place.store, 10).await.unwrap();
    assert_eq!(sum(&reader), 600);
    let foreign_keys = reader.prepare("PRAGMA foreign_key_check").unwrap().exists([]).unwrap();
    assert!(!foreign_keys, "tables refer to each other under their new names");
    assert_eq!(new.activate(second, NOW).await.unwrap(), Activation::Done);
    assert_eq!(sum(&reader), 600, "activating twice changes nothing");
}

#[tokio::test]
async fn a_rebuild_that_is_behind_leaves_the_table_that_is_read() {
    let place = Place::new();
    let old = place.read_side.projection(Balances::new());
    let first = enrol(&old, OnNewVersion::Refuse).await;
    place.deposit("1", 5).await;
    step(&old, first, &place.store, 10).await.unwrap();
    let new = place.read_side.projection(Balances::new().version(2, 100));
    let second = enrol(&new, OnNewVersion::Rebuild).await;
    step(&new, second, &place.store, 10).await.unwrap();
    // The old one goes on before the new one takes its place.
    place.deposit("1", 1).await;
    step(&old, first, &place.store, 10).await.unwrap();
    let before = names(&place.connect());

    assert_eq!(new.activate(second, NOW).await.unwrap(), Activation::Behind);
    assert_eq!(sum(&place.connect()), 6, "readers do not go back");
    assert_eq!(names(&place.connect()), before);
    place.deposit("1", 1).await;
    step(&old, first, &place.store, 10).await.expect("it goes on");

    step(&new, second, &place.store, 10).await.unwrap();
    assert_eq!(new.activate(second, NOW).await.unwrap(), Activation::Done);
    assert_eq!(sum(&place.connect()), 700);
}

#[tokio::test]
async fn a_rebuild_that_is_given_up_leaves_nothing() {
    let place = Place::new();
    let old = place.read_side.projection(Balances::new());
    let first = enrol(&old, OnNewVersion::Refuse).await;
    place.deposit("1", 5).await;
    step(&old, first, &place.store, 10).await.unwrap();
    let before = names(&place.connect());

    let second = place.read_side.projection(Balances::new().version(2, 2));
    let generation = enrol(&second, OnNewVersion::Rebuild).await;
    second.discard(generation).await.unwrap();
    assert_eq!(names(&place.connect()), before);

    // Yet another version comes before the rebuild of the last one is done.
    enrol(&second, OnNewVersion::Rebuild).await;
    let third = place.read_side.projection(Balances::new().version(3, 3));
    let generation = enrol(&third, OnNewVersion::Rebuild).await;
    step(&third, generation, &place.store, 10).await.unwrap();
    assert_eq!(third.activate(generation, NOW).await.unwrap(), Activation::Done);
    assert_eq!(sum(&place.connect()), 15);
    assert_eq!(names(&place.connect()).len(), before.len());
}

#[tokio::test]
async fn a_table_of_somebody_else_is_left_alone() {
    let place = Place::new();
    place.connect().execute_batch("CREATE TABLE accounts (mine TEXT)").unwrap();
    let projector = place.read_side.projection(Balances::new());
    let info = annals_core::Enrol {
        subscriber: projector.name().clone(),
        version: 1,
        partitions: 1,
        after: Position::START,
        on_new_version: OnNewVersion::Refuse,
        now: NOW,
    };
    place.read_side.enrol(info).await.unwrap();
    let error = projector.prepare(Generation::FIRST).await.unwrap_err();
    assert!(Chain(&error).to_string().contains("there is a accounts already"), "{}", Chain(&error));
    assert_eq!(names(&place.connect()), ["accounts"]);
}

/// A projection that does what it must not.
#[derive(Debug)]
struct Committing(Balances);

impl SqliteProjection for Committing {
    fn name(&self) -> &annals_core::SubscriberName {
        &self.0.name
    }
    fn version(&self) -> u32 {
        1
    }
    fn query(&self) -> annals_core::Query {
        self.0.query()
    }
    fn tables(&self) -> Vec<ProjectionTable> {
        let create = "CREATE TABLE {notes} (note TEXT)";
        vec![ProjectionTable::new(TableName::from_static("notes"), create)]
    }
    fn apply(
        &self,
        rows: &SqliteRows<'_>,
        _event: &annals_core::RecordedEvent,
    ) -> Result<(), BoxError> {
        rows.transaction().execute_batch("COMMIT")?;
        Ok(())
    }
}

#[tokio::test]
async fn a_projection_that_ends_the_transaction_is_told_and_hurts_nobody_later() {
    let place = Place::new();
    let projector = place.read_side.projection(Committing(Balances::new()));
    let first = enrol(&projector, OnNewVersion::Refuse).await;
    place.deposit("1", 5).await;
    let error = step(&projector, first, &place.store, 10).await.unwrap_err();
    assert!(Chain(&error).to_string().contains("ended the transaction"), "{}", Chain(&error));
    place.info(&projector).await;
    place.read_side.set_state(projector.name(), SubscriberState::Paused).await.unwrap();
}
