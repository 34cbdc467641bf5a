//! Projections with tables of their own: exactly once, whatever dies; rebuilt and activated while
//! somebody reads; and told apart what is wrong with an event from what is wrong with the moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use annals_core::{
    Activation, Advance, Append, CheckpointStore, Claim, Data, Enrol, EventStore, EventStoreExt,
    EventType, ExpectedVersion, Generation, Lease, NewEvent, OnNewVersion, Position, ProjectError,
    Projector, Query, Read, ReadSideError, RecordedEvent, RowStore, StreamId, Stretch,
    SubscriberName, SubscriberState, Timestamp,
};
use annals_postgres::{
    BoxError, PostgresProjection, PostgresReadSide, PostgresRows, PostgresStore, ProjectionTable,
};
use annals_scratch::Database;
use async_trait::async_trait;
use sqlx_core::connection::Connection;
use sqlx_core::query::query;
use sqlx_core::query_as::query_as;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::{PgConnection, Postgres};

/// How much was paid into each account.
#[derive(Debug, Clone)]
struct Balances {
    name: SubscriberName,
    version: u32,
    /// By what each amount is multiplied: what a new version changes.
    factor: i64,
    /// How many batches are still to be failed, and with what.
    failing: Arc<AtomicU64>,
}

/// An error of the application's own.
#[derive(Debug, thiserror::Error)]
enum Own {
    #[error("the table cannot be written")]
    Wrapped(#[source] sqlx_core::Error),
    #[error(transparent)]
    Transparent(sqlx_core::Error),
}

impl Balances {
    fn new(version: u32, factor: i64) -> Self {
        let name = SubscriberName::from_static("balances");
        Self { name, version, factor, failing: Arc::default() }
    }
}

#[async_trait]
impl PostgresProjection for Balances {
    fn name(&self) -> &SubscriberName {
        &self.name
    }
    fn version(&self) -> u32 {
        self.version
    }
    fn query(&self) -> Query {
        Query::all()
    }
    fn tables(&self) -> Vec<ProjectionTable> {
        let create = "CREATE TABLE {balances} (account text PRIMARY KEY, amount bigint NOT NULL
                          CHECK (amount < 1000000));
                      CREATE INDEX ON {balances} (amount)";
        vec![ProjectionTable::new("balances", create)]
    }
    async fn apply(
        &self,
        rows: &mut PostgresRows<'_>,
        event: &RecordedEvent,
    ) -> Result<(), BoxError> {
        let amount: i64 = std::str::from_utf8(&event.data.bytes)?.parse()?;
        let upsert = rows.sql(
            "INSERT INTO {balances} AS b VALUES ($1, $2)
             ON CONFLICT (account) DO UPDATE SET amount = b.amount + excluded.amount",
        );
        query(upsert)
            .bind(event.stream.as_str())
            .bind(amount * self.factor)
            .execute(rows.connection())
            .await?;
        let failing = self.failing.load(Ordering::Relaxed);
        if failing == 0 {
            return Ok(());
        }
        let end = query("SELECT pg_terminate_backend(pg_backend_pid())");
        let ended = end.execute(rows.connection()).await.expect_err("the session is gone");
        Err(match failing {
            1 => ended.into(),
            2 => Own::Wrapped(ended).into(),
            3 => Own::Transparent(ended).into(),
            _ => "the table cannot be written".into(),
        })
    }
}

struct Bank {
    database: Database,
    store: PostgresStore,
    read_side: PostgresReadSide,
}

const NOW: Timestamp = Timestamp::EPOCH;

impl Bank {
    async fn new() -> Self {
        let database = Database::create().await;
        let store = PostgresStore::connect(database.url()).await.expect("the store opens");
        let read_side = PostgresReadSide::options()
            .over(store.pool().clone())
            .await
            .expect("the read side opens");
        Self { database, store, read_side }
    }

    async fn pay(&self, account: u64, amount: &str) {
        let event = NewEvent::new(EventType::from_static("Paid"), Data::json(amount.to_owned()));
        let stream = StreamId::of("account", account).expect("a stream");
        self.store
            .append(Append::to(stream, ExpectedVersion::Any, [event]))
            .await
            .expect("a receipt");
    }

    async fn enrol(&self, projector: &dyn Projector) -> Generation {
        let enrol = Enrol {
            subscriber: projector.name().clone(),
            version: projector.version(),
            partitions: 1,
            after: Position::START,
            on_new_version: OnNewVersion::Rebuild,
            now: NOW,
        };
        let info = projector.checkpoints().enrol(enrol).await.expect("it enrols");
        let made = info.generations.iter().find(|made| made.version == projector.version());
        let generation = made.expect("its generation").generation;
        projector.prepare(generation).await.expect("its tables");
        generation
    }

    async fn claim(&self, projector: &dyn Projector, generation: Generation) -> Lease {
        let claim = Claim {
            subscriber: projector.name().clone(),
            generation,
            partition: 0,
            owner: "test".into(),
            now: NOW,
            until: NOW,
        };
        projector.checkpoints().claim(claim).await.expect("an answer").expect("a lease")
    }

    /// The next events behind the checkpoint, as a stretch.
    async fn stretch(&self, lease: Lease, most: u64) -> Stretch {
        let read = Read::all().after(lease.position).limit(most);
        let events = self.store.read_to_end(read).await.expect("events");
        let to = events.last().map_or(lease.position, |event| event.position);
        let events_count = events.len() as u64;
        let advance = Advance { lease, to, events: events_count, parked: Vec::new(), now: NOW };
        Stretch { events, advance }
    }

    async fn catch_up(&self, projector: &dyn Projector, generation: Generation) {
        loop {
            let lease = self.claim(projector, generation).await;
            let stretch = self.stretch(lease, 4).await;
            if stretch.events.is_empty() {
                return;
            }
            projector.project(&stretch).await.expect("it is applied");
        }
    }

    async fn connection(&self) -> PgConnection {
        PgConnection::connect(self.database.url()).await.expect("a connection")
    }

    async fn balances(&self) -> Vec<(String, i64)> {
        let select = "SELECT account, amount FROM balances ORDER BY account";
        query_as::<Postgres, _>(select).fetch_all(self.store.pool()).await.expect("rows")
    }

    /// Returns once somebody waits for a table.
    async fn waits_for_a_lock_on(&self, table: &str) {
        let waiting = "SELECT EXISTS (SELECT FROM pg_locks
            WHERE NOT granted AND relation = to_regclass($1))";
        let seen = async {
            while !query_scalar::<Postgres, bool>(waiting)
                .bind(table)
                .fetch_one(self.store.pool())
                .await
                .expect("an answer")
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), seen).await.expect("somebody waits");
    }

    async fn tables(&self) -> Vec<String> {
        let select = "SELECT relname::text FROM pg_class WHERE relkind = 'r'
            AND relname LIKE 'balances%' ORDER BY 1";
        query_scalar(select).fetch_all(self.store.pool()).await.expect("names")
    }
}

fn row(account: u64, amount: i64) -> (String, i64) {
    (format!("account-{account}"), amount)
}

#[tokio::test]
async fn rows_and_checkpoint_stay_equal_when_the_connection_dies() {
    let bank = Bank::new().await;
    for (account, amount) in [(1, "10"), (2, "5"), (1, "7")] {
        bank.pay(account, amount).await;
    }
    let balances = Balances::new(1, 1);
    let projector = bank.read_side.projection(balances.clone());
    let generation = bank.enrol(&projector).await;
    let lease = bank.claim(&projector, generation).await;
    let stretch = bank.stretch(lease, 10).await;

    // Also when the projection has it in an error of its own, or says nothing of it.
    for how in [1, 2, 3, 4] {
        balances.failing.store(how, Ordering::Relaxed);
        let died = projector.project(&stretch).await.unwrap_err();
        assert!(matches!(died, ProjectError::ReadSide(ReadSideError::Unavailable(_))), "{died:?}");
        assert_eq!(bank.balances().await, []);
    }
    assert_eq!(bank.claim(&projector, generation).await.position, Position::START);

    balances.failing.store(0, Ordering::Relaxed);
    bank.catch_up(&projector, generation).await;
    assert_eq!(bank.balances().await, [row(1, 17), row(2, 5)]);
    // Once more, as after an answer that was lost.
    let again = projector.project(&stretch).await.unwrap_err();
    assert!(matches!(again, ProjectError::ReadSide(ReadSideError::Fenced(_))), "{again:?}");
    assert_eq!(bank.balances().await, [row(1, 17), row(2, 5)]);
}

#[tokio::test]
async fn the_event_that_cannot_be_applied_is_named() {
    let bank = Bank::new().await;
    // What the code does not understand, and what the database refuses.
    for bad in ["\"much\"", "1000000"] {
        let start = bank.store.head().await.unwrap();
        for amount in ["1", bad, "2"] {
            bank.pay(1, amount).await;
        }
        let projector = bank.read_side.projection(Balances::new(1, 1));
        let generation = bank.enrol(&projector).await;
        let mut lease = bank.claim(&projector, generation).await;
        lease.position = start;
        let stretch = bank.stretch(lease, 10).await;
        let error = projector.project(&stretch).await.unwrap_err();
        let ProjectError::Poison(poison) = error else { panic!("{error:?}") };
        assert_eq!(poison.event, stretch.events[1].id);
        assert_eq!(bank.balances().await, [], "nothing was written");
    }
}

/// One that a batch of its own hides.
#[tokio::test]
async fn a_batch_that_fails_is_applied_one_by_one() {
    #[derive(Debug)]
    struct Batched(Balances);

    #[async_trait]
    impl PostgresProjection for Batched {
        fn name(&self) -> &SubscriberName {
            &self.0.name
        }
        fn version(&self) -> u32 {
            1
        }
        fn query(&self) -> Query {
            Query::all()
        }
        fn tables(&self) -> Vec<ProjectionTable> {
            self.0.tables()
        }
        async fn apply(
            &self,
            rows: &mut PostgresRows<'_>,
            event: &RecordedEvent,
        ) -> Result<(), BoxError> {
            self.0.apply(rows, event).await
        }
        async fn apply_all(
            &self,
            rows: &mut PostgresRows<'_>,
            events: &[RecordedEvent],
        ) -> Result<(), BoxError> {
            let amounts: Vec<String> = events
                .iter()
                .map(|e| String::from_utf8_lossy(&e.data.bytes).into_owned())
                .collect();
            let insert = rows.sql(
                "INSERT INTO {balances} SELECT 'all', sum(a::bigint) FROM unnest($1::text[]) AS a",
            );
            query(insert).bind(amounts).execute(rows.connection()).await?;
            Ok(())
        }
    }

    let bank = Bank::new().await;
    for amount in ["1", "x", "2"] {
        bank.pay(1, amount).await;
    }
    let projector = bank.read_side.projection(Batched(Balances::new(1, 1)));
    let generation = bank.enrol(&projector).await;
    let lease = bank.claim(&projector, generation).await;
    let mut stretch = bank.stretch(lease, 10).await;
    let error = projector.project(&stretch).await.unwrap_err();
    let ProjectError::Poison(poison) = error else { panic!("{error:?}") };
    assert_eq!(poison.event, stretch.events[1].id);
    stretch.events.remove(1);
    projector.project(&stretch).await.unwrap();
    assert_eq!(bank.balances().await, [("all".to_owned(), 3)]);
}

/// One that passes over an error of the server, after which a commit is answered as if it were one;
/// and one that breaks what is looked at only then.
#[derive(Debug)]
struct Careless(Balances);

#[async_trait]
impl PostgresProjection for Careless {
    fn name(&self) -> &SubscriberName {
        &self.0.name
    }
    fn version(&self) -> u32 {
        1
    }
    fn query(&self) -> Query {
        Query::all()
    }
    fn tables(&self) -> Vec<ProjectionTable> {
        let create = "CREATE TABLE {balances} (account text NOT NULL, amount bigint NOT NULL UNIQUE
                          DEFERRABLE INITIALLY DEFERRED)";
        vec![ProjectionTable::new("balances", create)]
    }
    async fn apply(
        &self,
        rows: &mut PostgresRows<'_>,
        event: &RecordedEvent,
    ) -> Result<(), BoxError> {
        let insert = rows.sql("INSERT INTO {balances} VALUES ($1, nullif($2::bigint, 0))");
        let amount = std::str::from_utf8(&event.data.bytes)?.parse::<i64>()?;
        let insert = query(insert).bind(event.stream.to_string()).bind(amount);
        let inserted = insert.execute(rows.connection()).await;
        if amount == 0 { Ok(()) } else { Ok(inserted.map(drop)?) }
    }
}

#[tokio::test]
async fn an_event_is_poison_whose_error_was_passed_over() {
    let bank = Bank::new().await;
    for amount in ["1", "0", "2"] {
        bank.pay(1, amount).await;
    }
    let projector = bank.read_side.projection(Careless(Balances::new(1, 1)));
    let generation = bank.enrol(&projector).await;
    let mut stretch = bank.stretch(bank.claim(&projector, generation).await, 10).await;
    let error = projector.project(&stretch).await.unwrap_err();
    let ProjectError::Poison(poison) = error else { panic!("{error:?}") };
    assert_eq!(poison.event, stretch.events[1].id);
    assert_eq!(bank.balances().await, [], "nothing was written");
    stretch.events.remove(1);
    projector.project(&stretch).await.unwrap();
    assert_eq!(bank.balances().await, [row(1, 1), row(1, 2)]);
}

/// The runner has what is before an event that is named applied by itself: so it comes to the one.
#[tokio::test]
async fn an_event_is_poison_that_the_commit_refuses() {
    let bank = Bank::new().await;
    for amount in ["1", "2", "2", "3"] {
        bank.pay(1, amount).await;
    }
    let projector = bank.read_side.projection(Careless(Balances::new(1, 1)));
    let generation = bank.enrol(&projector).await;
    let refused = async |stretch: &Stretch| {
        let error = projector.project(stretch).await.unwrap_err();
        let ProjectError::Poison(poison) = error else { panic!("{error:?}") };
        poison.position
    };
    let mut stretch = bank.stretch(bank.claim(&projector, generation).await, 10).await;
    while stretch.events.len() > 2 {
        assert_eq!(refused(&stretch).await, stretch.advance.to);
        stretch.events.pop();
        stretch.advance.to = stretch.events.last().unwrap().position;
    }
    projector.project(&stretch).await.unwrap();
    let stretch = bank.stretch(bank.claim(&projector, generation).await, 1).await;
    assert_eq!(refused(&stretch).await, stretch.advance.to);
    assert_eq!(bank.balances().await, [row(1, 1), row(1, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_takes_the_place_of_what_somebody_reads() {
    let bank = Bank::new().await;
    for account in 0..20 {
        bank.pay(account % 3, "10").await;
    }
    let first = bank.read_side.projection(Balances::new(1, 1));
    let generation = bank.enrol(&first).await;
    bank.catch_up(&first, generation).await;
    assert_eq!(bank.tables().await, ["balances"]);

    let stop = Arc::new(AtomicBool::new(false));
    let mut reader = bank.connection().await;
    let reading = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move {
            let mut reads = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let sum: i64 = query_scalar("SELECT sum(amount)::bigint FROM balances")
                    .fetch_one(&mut reader)
                    .await
                    .expect("there is always a table");
                assert!([200, 400].contains(&sum), "half of a generation: {sum}");
                reads += 1;
            }
            reads
        }
    });

    let second = bank.read_side.projection(Balances::new(2, 2));
    let next = bank.enrol(&second).await;
    assert_ne!(next, generation);
    assert_eq!(bank.tables().await, ["balances", "balances__2"]);
    bank.catch_up(&second, next).await;
    // The old one goes on until then.
    let lease = bank.claim(&first, generation).await;
    assert_eq!(second.activate(next, NOW).await.unwrap(), Activation::Done);
    assert_eq!(second.activate(next, NOW).await.expect("once more"), Activation::Done);
    assert_eq!(bank.tables().await, ["balances"]);
    assert_eq!(bank.balances().await.iter().map(|(_, amount)| amount).sum::<i64>(), 400);
    tokio::time::sleep(Duration::from_millis(20)).await;
    stop.store(true, Ordering::Relaxed);
    assert!(reading.await.unwrap() > 0);

    bank.pay(1, "10").await;
    let stretch = bank.stretch(lease, 10).await;
    let error = first.project(&stretch).await.unwrap_err();
    assert!(matches!(error, ProjectError::ReadSide(ReadSideError::Fenced(_))), "{error:?}");
    bank.catch_up(&second, next).await;
    assert_eq!(bank.balances().await.iter().map(|(_, amount)| amount).sum::<i64>(), 420);
}

#[tokio::test]
async fn a_long_reader_is_waited_for_without_holding_up_others() {
    let bank = Bank::new().await;
    bank.pay(1, "10").await;
    let first = bank.read_side.projection(Balances::new(1, 1));
    let generation = bank.enrol(&first).await;
    bank.catch_up(&first, generation).await;
    let second = bank.read_side.projection(Balances::new(2, 2));
    let next = bank.enrol(&second).await;
    bank.catch_up(&second, next).await;

    let mut long = bank.connection().await;
    let mut transaction = long.begin().await.unwrap();
    query("SELECT * FROM balances").execute(&mut *transaction).await.unwrap();
    let activating = tokio::spawn({
        let second = second.clone();
        async move { second.activate(next, NOW).await }
    });
    let mut other = bank.connection().await;
    query("SET statement_timeout = '5s'").execute(&mut other).await.unwrap();
    for _ in 0..20 {
        query("SELECT * FROM balances").execute(&mut other).await.expect("it is not held up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!activating.is_finished());
    transaction.commit().await.unwrap();
    assert_eq!(activating.await.unwrap().unwrap(), Activation::Done);
    assert_eq!(bank.balances().await, [row(1, 20)]);
}

/// It is tried again until whoever reads the table has ended, and the projection goes on meanwhile.
#[tokio::test]
async fn one_that_has_fallen_behind_while_it_waited_for_a_reader_does_not_take_the_place() {
    let bank = Bank::new().await;
    bank.pay(1, "10").await;
    let first = bank.read_side.projection(Balances::new(1, 1));
    let generation = bank.enrol(&first).await;
    bank.catch_up(&first, generation).await;
    let second = bank.read_side.projection(Balances::new(2, 2));
    let next = bank.enrol(&second).await;
    bank.catch_up(&second, next).await;

    let mut long = bank.connection().await;
    let mut transaction = long.begin().await.unwrap();
    query("SELECT * FROM balances").execute(&mut *transaction).await.unwrap();
    let activating = tokio::spawn({
        let second = second.clone();
        async move { second.activate(next, NOW).await }
    });
    bank.waits_for_a_lock_on("balances").await;
    bank.pay(1, "7").await;
    bank.catch_up(&first, generation).await;
    transaction.commit().await.unwrap();

    assert_eq!(activating.await.unwrap().unwrap(), Activation::Behind);
    assert_eq!(bank.balances().await, [row(1, 17)], "readers do not go back");
    assert_eq!(bank.tables().await, ["balances", "balances__2"]);
    bank.catch_up(&second, next).await;
    assert_eq!(second.activate(next, NOW).await.unwrap(), Activation::Done);
    assert_eq!(bank.balances().await, [row(1, 34)]);
}

#[tokio::test]
async fn a_discarded_generation_leaves_no_table() {
    let bank = Bank::new().await;
    let first = bank.read_side.projection(Balances::new(1, 1));
    bank.enrol(&first).await;
    let second = bank.read_side.projection(Balances::new(2, 2));
    let next = bank.enrol(&second).await;
    second.prepare(next).await.expect("once more");
    assert_eq!(bank.tables().await, ["balances", "balances__2"]);
    second.discard(next).await.unwrap();
    assert_eq!(bank.tables().await, ["balances"]);
    // One that another version has discarded.
    bank.enrol(&second).await;
    let third = bank.read_side.projection(Balances::new(3, 3));
    bank.enrol(&third).await;
    assert_eq!(bank.tables().await, ["balances", "balances__4"]);
}

#[tokio::test]
async fn one_that_is_deleted_leaves_no_table() {
    let bank = Bank::new().await;
    let first = bank.read_side.projection(Balances::new(1, 1));
    let generation = bank.enrol(&first).await;
    bank.pay(1, "5").await;
    bank.catch_up(&first, generation).await;
    bank.enrol(&bank.read_side.projection(Balances::new(2, 2))).await;
    assert_eq!(bank.tables().await, ["balances", "balances__2"]);
    let deleted = bank.read_side.delete(first.name(), NOW).await.unwrap();
    assert_eq!(deleted.tables, ["balances", "balances__2"]);
    assert_eq!(bank.tables().await, [] as [String; 0]);
    let generation = bank.enrol(&first).await;
    assert_eq!(generation, Generation::FIRST);
    bank.catch_up(&first, generation).await;
    assert_eq!(bank.balances().await, [row(1, 5)]);
}

/// It dies behind the first step: the rest is in nobody's way, whatever comes next.
#[tokio::test]
async fn one_that_was_deleted_in_part_is_deleted_again_or_begins_anew() {
    let bank = Bank::new().await;
    let balances = bank.read_side.projection(Balances::new(1, 1));
    let name = balances.name();
    let in_part = async || {
        bank.enrol(&balances).await;
        for statement in [
            "INSERT INTO annals_read.rows (subscriber, generation, key, value)
             SELECT g.subscriber, g.generation, 'left', '1' FROM annals_read.generations g",
            "DROP TABLE balances",
            "DELETE FROM annals_read.projection_tables",
            "DELETE FROM annals_read.generations",
        ] {
            query(statement).execute(bank.store.pool()).await.expect("the first step");
        }
        assert_eq!(bank.read_side.subscriber(name).await.unwrap(), None);
        let told = bank.read_side.set_state(name, SubscriberState::Paused).await;
        assert!(matches!(told, Err(ReadSideError::Unknown(_))), "{told:?}");
    };
    in_part().await;
    assert_eq!(bank.read_side.delete(name, NOW).await.unwrap().rows, 1);
    let again = bank.read_side.delete(name, NOW).await;
    assert!(matches!(again, Err(ReadSideError::Unknown(_))), "{again:?}");

    in_part().await;
    let generation = bank.enrol(&balances).await;
    assert_eq!(generation, Generation::new(2), "what is left is not its own");
    let rows = annals_core::ListRows { limit: 9, ..annals_core::ListRows::default() };
    assert_eq!(bank.read_side.rows(name, rows).await.unwrap(), []);
    assert_eq!(bank.read_side.sweep_rows(name, &[], 9).await.unwrap(), 1);
}

#[tokio::test]
async fn somebody_elses_table_is_left_alone() {
    let bank = Bank::new().await;
    query("CREATE TABLE balances (theirs int)").execute(bank.store.pool()).await.unwrap();
    let projector = bank.read_side.projection(Balances::new(1, 1));
    let enrol = Enrol {
        subscriber: projector.name().clone(),
        version: 1,
        partitions: 1,
        after: Position::START,
        on_new_version: OnNewVersion::Refuse,
        now: NOW,
    };
    projector.checkpoints().enrol(enrol).await.unwrap();
    let error = projector.prepare(Generation::FIRST).await.unwrap_err();
    let text = annals_core::error::Chain(&error).to_string();
    assert!(text.contains("the table balances is there already"), "{text}");
}
