//! What runs in the transactions of appends: atomic with them, able to refuse them, and complete
//! from the first event on, whoever appends while it begins.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_core::{
    Append, AppendError, CheckpointStore, Claim, Data, Enrol, EventStore, EventStoreExt, EventType,
    ExpectedVersion, Generation, ListRows, NewEvent, OnNewVersion, PoisonEvent, Position, Query,
    Read, ReadSideError, RecordedEvent, RowFold, RowKey, RowStore, StreamId, SubscriberName,
    SubscriberState, Timestamp, UsedBy,
};
use annals_postgres::{
    BoxError, Inline, OpenError, Options, PostgresProjection, PostgresReactor, PostgresReadSide,
    PostgresRows, PostgresStore, ProjectionTable,
};
use annals_scratch::Database;
use async_trait::async_trait;
use bytes::Bytes;
use sqlx_core::connection::Connection;
use sqlx_core::query::query;
use sqlx_core::query_as::query_as;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::{PgConnection, Postgres};

/// The sum of the amounts of each account, and of all; nothing where it is zero.
#[derive(Debug)]
struct Sums {
    name: SubscriberName,
    version: u32,
    factor: i64,
}

fn sums_of(version: u32, factor: i64) -> Arc<dyn RowFold> {
    Arc::new(Sums { name: SubscriberName::from_static("sums"), version, factor })
}

fn amount(event: &RecordedEvent) -> Result<i64, BoxError> {
    Ok(std::str::from_utf8(&event.data.bytes)?.parse()?)
}

impl RowFold for Sums {
    fn name(&self) -> &SubscriberName {
        &self.name
    }
    fn version(&self) -> u32 {
        self.version
    }
    fn query(&self) -> Query {
        Query::all()
    }
    fn keys(&self, event: &RecordedEvent) -> Result<Vec<RowKey>, PoisonEvent> {
        Ok(vec![event.stream.as_str().into(), "all".into()])
    }
    fn fold(
        &self,
        event: &RecordedEvent,
        rows: &mut HashMap<RowKey, Bytes>,
        owns: &dyn Fn(&RowKey) -> bool,
    ) -> Result<(), PoisonEvent> {
        let amount = amount(event).map_err(|error| PoisonEvent::new(event, error))?;
        for key in self.keys(event)? {
            if !owns(&key) {
                continue;
            }
            let old = rows.get(&key).map_or(0, number);
            let new = old + amount * self.factor;
            match new {
                0 => rows.remove(&key),
                new => rows.insert(key, new.to_string().into()),
            };
        }
        Ok(())
    }
}

fn number(json: &Bytes) -> i64 {
    std::str::from_utf8(json).expect("JSON").parse().expect("a number")
}

/// The same in a table of its own.
#[derive(Debug)]
struct Table(SubscriberName);

#[async_trait]
impl PostgresProjection for Table {
    fn name(&self) -> &SubscriberName {
        &self.0
    }
    fn version(&self) -> u32 {
        1
    }
    fn query(&self) -> Query {
        Query::all()
    }
    fn tables(&self) -> Vec<ProjectionTable> {
        let create = "CREATE TABLE {sums} (account text PRIMARY KEY, amount bigint NOT NULL
                          CHECK (amount < 1000000))";
        vec![ProjectionTable::new("sums", create)]
    }
    async fn apply(
        &self,
        rows: &mut PostgresRows<'_>,
        event: &RecordedEvent,
    ) -> Result<(), BoxError> {
        for account in [event.stream.as_str(), "all"] {
            let upsert = rows.sql(
                "INSERT INTO {sums} AS b VALUES ($1, $2)
                 ON CONFLICT (account) DO UPDATE SET amount = b.amount + excluded.amount",
            );
            let upsert = query(upsert).bind(account.to_owned()).bind(amount(event)?);
            upsert.execute(rows.connection()).await?;
        }
        Ok(())
    }
}

/// Writes down who was paid, and has no more than 100 paid at once.
#[derive(Debug)]
struct Limit(SubscriberName);

#[async_trait]
impl PostgresReactor for Limit {
    fn name(&self) -> &SubscriberName {
        &self.0
    }
    fn query(&self) -> Query {
        Query::all()
    }
    async fn react(
        &self,
        connection: &mut PgConnection,
        event: &RecordedEvent,
    ) -> Result<(), BoxError> {
        query("INSERT INTO paid VALUES ($1)")
            .bind(event.stream.as_str())
            .execute(connection)
            .await?;
        if amount(event)? > 100 { Err("no more than 100 at once".into()) } else { Ok(()) }
    }
}

fn limit() -> Inline {
    Inline::reactor(Limit(SubscriberName::from_static("limit")))
}

fn table(read_side: &PostgresReadSide) -> Inline {
    Inline::projection(read_side, Table(SubscriberName::from_static("table")))
}

struct Bank {
    database: Database,
    read_side: PostgresReadSide,
    connection: PgConnection,
}

impl Bank {
    async fn new() -> Self {
        let database = Database::create().await;
        let read_side = PostgresReadSide::connect(database.url()).await.expect("a read side");
        let mut connection = PgConnection::connect(database.url()).await.expect("a connection");
        query("CREATE TABLE paid (account text)").execute(&mut connection).await.expect("a table");
        Self { database, read_side, connection }
    }

    async fn open(&self, inline: impl IntoIterator<Item = Inline>) -> PostgresStore {
        self.try_open(inline).await.expect("the store opens")
    }

    async fn try_open(
        &self,
        inline: impl IntoIterator<Item = Inline>,
    ) -> Result<PostgresStore, OpenError> {
        let options = inline.into_iter().fold(PostgresStore::options(), Options::inline);
        options.connect(self.database.url()).await
    }

    async fn rows(&self) -> BTreeMap<String, i64> {
        let list = ListRows { limit: 1_000, ..ListRows::default() };
        let rows = self.read_side.rows(&SubscriberName::from_static("sums"), list).await;
        let rows = rows.expect("rows").into_iter();
        rows.map(|row| (row.key.as_str().to_owned(), number(&row.value))).collect()
    }

    async fn table(&mut self) -> BTreeMap<String, i64> {
        let rows = query_as::<Postgres, (String, i64)>("SELECT account, amount FROM sums");
        rows.fetch_all(&mut self.connection).await.expect("rows").into_iter().collect()
    }

    async fn paid(&mut self) -> i64 {
        let count = query_scalar("SELECT count(*) FROM paid");
        count.fetch_one(&mut self.connection).await.expect("a count")
    }
}

fn paid(account: u64, amount: &str) -> Append {
    let event = NewEvent::new(EventType::from_static("Paid"), Data::json(amount.to_owned()));
    Append::to(StreamId::of("account", account).expect("a stream"), ExpectedVersion::Any, [event])
}

async fn fold_of_log(store: &PostgresStore) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for event in store.read_to_end(Read::all()).await.expect("events") {
        for key in [event.stream.as_str(), "all"] {
            *sums.entry(key.to_owned()).or_default() += amount(&event).expect("an amount");
        }
    }
    sums
}

fn sums(all: &[(&str, i64)]) -> BTreeMap<String, i64> {
    all.iter().map(|(key, sum)| ((*key).to_owned(), *sum)).collect()
}

#[tokio::test]
async fn rows_are_committed_with_the_events() {
    let mut bank = Bank::new().await;
    let inline = [Inline::fold(&bank.read_side, sums_of(1, 1)), table(&bank.read_side), limit()];
    let store = bank.open(inline).await;
    let append = paid(1, "10");
    let receipt = store.append(append.clone()).await.unwrap();
    assert_eq!(bank.rows().await, sums(&[("account-1", 10), ("all", 10)]));
    assert_eq!(bank.table().await, bank.rows().await);
    // Once more: nothing runs.
    assert_eq!(store.append(append).await.unwrap(), receipt);
    assert_eq!(bank.rows().await, sums(&[("account-1", 10), ("all", 10)]));
    assert_eq!(bank.paid().await, 1);
    // A row that is nothing any more is none.
    store.append(paid(2, "-10")).await.unwrap();
    assert_eq!(bank.rows().await, sums(&[("account-1", 10), ("account-2", -10)]));
    store.append(paid(2, "10")).await.unwrap();
    assert_eq!(bank.rows().await, sums(&[("account-1", 10), ("all", 10)]));
    let kept: i64 = query_scalar("SELECT count(*) FROM annals_read.rows")
        .fetch_one(&mut bank.connection)
        .await
        .unwrap();
    assert_eq!(kept, 2, "no place is kept for what is not there");
}

#[tokio::test]
async fn a_veto_leaves_nothing_of_the_append() {
    let mut bank = Bank::new().await;
    let store = bank.open([Inline::fold(&bank.read_side, sums_of(1, 1)), limit()]).await;
    let append = paid(1, "10").and_to(
        StreamId::from_static("account-2"),
        ExpectedVersion::NoStream,
        [NewEvent::new(EventType::from_static("Paid"), Data::json("101"))],
    );
    let vetoed = store.append(append).await.unwrap_err();
    let AppendError::Vetoed { by, source } = vetoed else { panic!("{vetoed:?}") };
    assert_eq!((by.as_str(), source.to_string().as_str()), ("limit", "no more than 100 at once"));
    let vetoed = store.append(paid(1, "\"much\"")).await.unwrap_err();
    assert!(matches!(&vetoed, AppendError::Vetoed { by, .. } if by.as_str() == "limit"));
    assert_eq!(store.head().await.unwrap(), Position::START);
    assert_eq!((bank.rows().await, bank.paid().await), (BTreeMap::new(), 0));
    let conflict = paid(1, "1");
    let conflict = Append { streams: conflict.streams, ..Append::default() };
    store.append(conflict.clone()).await.unwrap();
    let mut expected = paid(1, "1");
    expected.streams[0].expected = ExpectedVersion::NoStream;
    assert!(matches!(store.append(expected).await, Err(AppendError::Conflict(_))));
}

#[tokio::test]
async fn a_veto_leaves_the_applications_transaction_usable() {
    let mut bank = Bank::new().await;
    let store = bank.open([limit(), table(&bank.read_side)]).await;
    let mut connection = PgConnection::connect(bank.database.url()).await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    query("INSERT INTO paid VALUES ('before')").execute(&mut *transaction).await.unwrap();
    let vetoed = store.append_in(&mut transaction, &paid(1, "101")).await.unwrap_err();
    assert!(matches!(vetoed, AppendError::Vetoed { .. }), "{vetoed:?}");
    // An error of the server, in the projection.
    store.append_in(&mut transaction, &paid(2, "100")).await.unwrap();
    let mut expected = paid(2, "1");
    expected.streams[0].expected = ExpectedVersion::NoStream;
    let conflict = store.append_in(&mut transaction, &expected).await.unwrap_err();
    assert!(matches!(conflict, AppendError::Conflict(_)), "{conflict:?}");
    query("UPDATE sums SET amount = 999999").execute(&mut *transaction).await.unwrap();
    let vetoed = store.append_in(&mut transaction, &paid(2, "100")).await.unwrap_err();
    assert!(
        matches!(&vetoed, AppendError::Vetoed { by, .. } if by.as_str() == "table"),
        "{vetoed:?}"
    );
    query("UPDATE sums SET amount = 0").execute(&mut *transaction).await.unwrap();
    let again = paid(3, "0");
    let receipt = store.append_in(&mut transaction, &again).await.unwrap();
    assert_eq!(store.append_in(&mut transaction, &again).await.unwrap(), receipt);
    transaction.commit().await.unwrap();
    // What was before, and what was paid to 2 and 3.
    assert_eq!(bank.paid().await, 3);
    assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), 2);

    let mut transaction = connection.begin().await.unwrap();
    store.append_in(&mut transaction, &paid(4, "7")).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(bank.table().await.get("account-4"), None);
}

/// Also rows that are not there yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_appends_to_one_row_lose_nothing() {
    let mut bank = Bank::new().await;
    let inline = || [Inline::fold(&bank.read_side, sums_of(1, 1)), table(&bank.read_side)];
    let stores = [bank.open(inline()).await, bank.open(inline()).await];
    let tasks: Vec<_> = (0..8)
        .map(|n: u64| {
            let store = stores[usize::from(n.is_multiple_of(2))].clone();
            tokio::spawn(async move {
                for i in 0..10 {
                    // Two streams at once, in one order and the other.
                    let (a, b) = if n.is_multiple_of(3) { (i, i + 1) } else { (i + 1, i) };
                    let more = paid(b, "2").streams.remove(0);
                    let append = paid(a, "1").and_to(more.stream, more.expected, more.events);
                    store.append(append).await.expect("a receipt");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let expected = fold_of_log(&stores[0]).await;
    assert_eq!(expected["all"], 8 * 10 * 3);
    assert_eq!(bank.rows().await, expected);
    assert_eq!(bank.table().await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_projection_becomes_inline_while_others_append() {
    let mut bank = Bank::new().await;
    let before = bank.open([]).await;
    for n in 0..300 {
        before.append(paid(n % 7, "1")).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|n: u64| {
            let (store, stop) = (before.clone(), Arc::clone(&stop));
            let url = bank.database.url().to_owned();
            tokio::spawn(async move {
                let mut connection = PgConnection::connect(&url).await.expect("a connection");
                let (mut appended, mut i) = (0_u64, 0);
                while !stop.load(Ordering::Relaxed) {
                    i += 1;
                    let append = paid((n + i) % 7, "1");
                    let outcome = if n == 0 {
                        let mut transaction = connection.begin().await.expect("a transaction");
                        let outcome = store.append_in(&mut transaction, &append).await;
                        match &outcome {
                            Ok(_) => transaction.commit().await.expect("a commit"),
                            Err(_) => transaction.rollback().await.expect("a rollback"),
                        }
                        outcome
                    } else {
                        store.append(append).await
                    };
                    match outcome {
                        Ok(_) => appended += 1,
                        // It does not know of the projection, which must run in every append.
                        Err(AppendError::Unsupported(why)) => {
                            assert!(why.contains("inline"), "{why}");
                            return appended;
                        }
                        Err(error) => panic!("{error:?}"),
                    }
                }
                appended
            })
        })
        .collect();
    let inline = [Inline::fold(&bank.read_side, sums_of(1, 1)), table(&bank.read_side)];
    let store = tokio::time::timeout(Duration::from_secs(60), bank.open(inline)).await;
    let store = store.expect("it opens in time");
    store.append(paid(3, "5")).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let mut appended = 0;
    for writer in writers {
        appended += writer.await.unwrap();
    }
    assert!(appended > 0, "others have appended meanwhile");
    let expected = fold_of_log(&store).await;
    assert_eq!(expected["all"], 300 + i64::try_from(appended).unwrap() + 5);
    assert_eq!(bank.rows().await, expected);
    assert_eq!(bank.table().await, expected);
}

#[tokio::test]
async fn nobody_works_an_inline_projection_behind_the_log() {
    let bank = Bank::new().await;
    bank.open([]).await.append(paid(1, "10")).await.unwrap();
    let store = bank.open([Inline::fold(&bank.read_side, sums_of(1, 1))]).await;
    let name = SubscriberName::from_static("sums");
    let claim = Claim {
        subscriber: name.clone(),
        generation: Generation::FIRST,
        partition: 0,
        owner: "a runner".into(),
        now: Timestamp::EPOCH,
        until: Timestamp::EPOCH,
    };
    assert_eq!(bank.read_side.claim(claim.clone()).await.unwrap(), None);
    let info = bank.read_side.subscriber(&name).await.unwrap().unwrap();
    assert_eq!(info.active().unwrap().position(), Position::END, "it is never behind");
    let anew = Enrol {
        subscriber: name.clone(),
        version: 1,
        partitions: 1,
        after: Position::START,
        on_new_version: OnNewVersion::Rebuild,
        now: Timestamp::EPOCH,
    };
    let rebuilt = bank.read_side.begin_generation(anew.clone()).await.map(drop);
    let paused = bank.read_side.set_state(&name, SubscriberState::Paused).await;
    for (refused, told) in [(rebuilt, "count its version up"), (paused, "end_inline")] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, ReadSideError::Unsupported(_)), "{refused:?}");
        assert!(refused.to_string().contains(told), "{refused}");
    }
    assert_eq!(bank.read_side.subscriber(&name).await.unwrap().unwrap(), info, "as before");
    bank.read_side.set_state(&name, SubscriberState::Running).await.expect("it runs");
    let deleted = bank.read_side.delete(&name, Timestamp::MAX).await.unwrap_err();
    let by_appends = matches!(deleted, ReadSideError::InUse { by: UsedBy::Appends, .. });
    assert!(by_appends, "whatever the time is, but: {deleted:?}");
    assert_eq!(bank.read_side.subscriber(&name).await.unwrap().unwrap(), info, "as before");

    bank.read_side.end_inline(&store, &name).await.unwrap();
    let outdated = store.append(paid(1, "1")).await.unwrap_err();
    assert!(matches!(outdated, AppendError::Unavailable(_)), "{outdated:?}");
    let without = bank.open([]).await;
    let receipt = without.append(paid(1, "1")).await.unwrap();
    let lease = bank.read_side.claim(claim).await.unwrap().expect("it is free");
    assert!(lease.position < receipt.first_position);
    bank.read_side.release(&lease).await.unwrap();
    bank.read_side.set_state(&name, SubscriberState::Paused).await.expect("nobody runs it");
    bank.read_side.set_state(&name, SubscriberState::Running).await.unwrap();
    let begun = bank.read_side.begin_generation(anew).await.expect("a runner does it");
    bank.read_side.discard(&name, begun).await.unwrap();
    // It goes on from where it was.
    bank.open([Inline::fold(&bank.read_side, sums_of(1, 1))]).await;
    assert_eq!(bank.rows().await, sums(&[("account-1", 11), ("all", 11)]));
}

#[tokio::test]
async fn a_new_version_is_built_from_the_log_and_ends_the_old_one() {
    let bank = Bank::new().await;
    let old = bank.open([Inline::fold(&bank.read_side, sums_of(1, 1))]).await;
    old.append(paid(1, "10")).await.unwrap();
    let new = bank.open([Inline::fold(&bank.read_side, sums_of(2, 2))]).await;
    assert_eq!(bank.rows().await, sums(&[("account-1", 20), ("all", 20)]));
    let refused = old.append(paid(1, "1")).await.unwrap_err();
    assert!(matches!(refused, AppendError::Unsupported(_)), "{refused:?}");
    new.append(paid(1, "1")).await.unwrap();
    assert_eq!(bank.rows().await, sums(&[("account-1", 22), ("all", 22)]));
}

#[tokio::test]
async fn a_log_that_cannot_be_applied_is_not_opened_inline() {
    let bank = Bank::new().await;
    let before = bank.open([]).await;
    before.append(paid(1, "\"much\"")).await.unwrap();
    let error = bank.try_open([Inline::fold(&bank.read_side, sums_of(1, 1))]).await.unwrap_err();
    let text = annals_core::error::Chain(&error).to_string();
    assert!(text.contains("sums") && text.contains("mend the code"), "{text}");
    before.append(paid(1, "1")).await.expect("others go on");

    let elsewhere = Database::create().await;
    let read_side = PostgresReadSide::connect(elsewhere.url()).await.unwrap();
    let options = PostgresStore::options().inline(Inline::fold(&read_side, sums_of(1, 1)));
    let other = Database::create().await;
    let error = options.connect(other.url()).await.unwrap_err();
    let text = annals_core::error::Chain(&error).to_string();
    assert!(text.contains("not in the log's database"), "{text}");
}
