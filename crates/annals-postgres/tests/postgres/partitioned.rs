//! How a log comes to be in partitions, and what is done with them.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_core::{
    Append, AppendError, Category, Data, EventId, EventStore, EventStoreExt, EventType,
    ExpectedVersion, NewEvent, Notice, Position, Read, RecordedEvent, StreamId, Subscribe,
};
use annals_postgres::{Partition, PartitionError, PostgresStore, RoleName, SchemaName, Severity};
use annals_scratch::{Cluster, Database};
use futures_util::StreamExt;
use sqlx_core::query_scalar::query_scalar;
use sqlx_core::raw_sql::raw_sql;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::PgConnectOptions;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);

fn every(groups: u64) -> NonZeroU64 {
    NonZeroU64::new(groups).expect("it is not zero")
}

async fn opened() -> (Database, PostgresStore) {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.expect("the store opens");
    (database, store)
}

async fn partitioned(groups: u64) -> (Database, PostgresStore) {
    let (database, store) = opened().await;
    store.partition(every(groups)).await.expect("the log is partitioned");
    (database, store)
}

fn happened() -> NewEvent {
    NewEvent::new(EventType::from_static("Happened"), Data::json("{}"))
}

fn append(stream: impl std::fmt::Display, event: NewEvent) -> Append {
    let stream = StreamId::new(stream.to_string()).expect("a stream id");
    Append::to(stream, ExpectedVersion::Any, [event])
}

/// Each is a group of its own, since the next one waits for it.
async fn append_groups(store: &PostgresStore, count: usize) -> Vec<Position> {
    let mut positions = Vec::new();
    for number in 0..count {
        let receipt = store.append(append(format_args!("thing-{}", number % 3), happened())).await;
        positions.push(receipt.expect("the append is stored").first_position);
    }
    positions
}

async fn execute(store: &PostgresStore, sql: impl Into<String>) -> Result<(), sqlx_core::Error> {
    raw_sql(AssertSqlSafe(sql.into())).execute(store.pool()).await.map(drop)
}

async fn ask<T>(store: &PostgresStore, sql: &'static str) -> T
where
    T: for<'r> sqlx_core::decode::Decode<'r, sqlx_postgres::Postgres>
        + sqlx_core::types::Type<sqlx_postgres::Postgres>
        + Send
        + Unpin,
{
    query_scalar(sql).fetch_one(store.pool()).await.expect("an answer")
}

async fn two_are_ahead(store: &PostgresStore, last: Position) {
    let ahead = async {
        loop {
            let partitions = store.partitions().await.expect("the partitions");
            if partitions.iter().filter(|partition| partition.after >= last).count() >= 2 {
                break;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, ahead).await.expect("two are ahead");
}

fn holds(partition: &Partition, position: Position) -> bool {
    partition.after < position && position <= partition.up_to
}

fn versions_are_dense(log: &[RecordedEvent]) {
    let mut versions = BTreeMap::<_, u64>::new();
    for event in log {
        let version = versions.entry(&event.stream).or_default();
        *version += 1;
        assert_eq!(event.version.get(), *version, "{} at {}", event.stream, event.position);
    }
}

/// Appends in both ways until it is told to stop; the ids of what was acknowledged.
async fn writer(store: PostgresStore, number: usize, over: Arc<AtomicBool>) -> Vec<EventId> {
    let mut ids = Vec::new();
    for round in 0.. {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let (own, shared) = (happened(), happened());
        let (own_id, shared_id) = (own.id, shared.id);
        let append = append(format_args!("own-{number}"), own).and_to(
            StreamId::of("shared", round % 4).expect("a stream id"),
            ExpectedVersion::Any,
            [shared],
        );
        if number.is_multiple_of(2) {
            store.append(append).await.expect("the append is stored");
        } else {
            let mut transaction = store.pool().begin().await.expect("a transaction");
            match store.append_in(&mut transaction, &append).await {
                Ok(_) => transaction.commit().await.expect("it commits"),
                // It met the end of the partitions; the application begins again.
                Err(AppendError::Unavailable(_)) => continue,
                Err(error) => panic!("{error:?}"),
            }
        }
        ids.extend([own_id, shared_id]);
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_partitioned_while_it_is_in_use() {
    let (database, store) = opened().await;
    append_groups(&store, 50).await;
    // Other processes, which are not told.
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(PostgresStore::connect(database.url()).await.unwrap());
    }
    let over = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..8 {
        writers.spawn(writer(stores[number % 4].clone(), number, Arc::clone(&over)));
    }
    let mut notices = stores[0].subscribe(Subscribe::all());
    let mut seen = Vec::new();
    let mut follow = async |enough: usize| {
        let until = seen.len() + enough;
        while seen.len() < until {
            let notice = timeout(PATIENCE, notices.next()).await.expect("it goes on");
            if let Some(Ok(Notice::Event(event))) = notice {
                seen.push((event.position, event.id));
            }
        }
        seen.clone()
    };
    follow(20).await;
    store.partition(every(20)).await.unwrap();
    // Through several partitions.
    follow(300).await;
    over.store(true, Ordering::SeqCst);
    let acknowledged: Vec<_> = writers.join_all().await.concat();

    let log = store.read_to_end(Read::all()).await.unwrap();
    versions_are_dense(&log);
    let ids: HashSet<_> = log.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), log.len());
    assert!(acknowledged.iter().all(|id| ids.contains(id)), "what is acknowledged is there");
    assert_eq!(log.len(), 50 + acknowledged.len(), "and nothing else");
    let rest = log.len() - follow(0).await.len();
    let seen = follow(rest).await;
    assert_eq!(seen, log.iter().map(|event| (event.position, event.id)).collect::<Vec<_>>());
    let noted: i64 = ask(&store, "SELECT count(*) FROM annals.ids").await;
    assert_eq!(usize::try_from(noted).unwrap(), log.len());
    let partitions = store.partitions().await.unwrap();
    assert!(partitions.len() > 4, "{partitions:#?}");
    let last = log.last().unwrap().position;
    let at = partitions.iter().position(|partition| holds(partition, last)).unwrap();
    assert!(partitions[..at].iter().all(|partition| partition.is_closed), "{partitions:#?}");
}

#[tokio::test]
async fn partitions_are_made_ahead() {
    let (_database, store) = partitioned(4).await;
    let partitions = store.partitions().await.unwrap();
    let names: Vec<_> = partitions.iter().map(|partition| partition.name.to_string()).collect();
    assert_eq!(names, ["events_0", "events_1", "events_2", "events_3"]);
    assert!(partitions[0].is_closed && !partitions[1].is_closed);
    assert_eq!(partitions[0].after, Position::START);
    for pair in partitions.windows(2) {
        assert_eq!(pair[0].up_to, pair[1].after);
    }
    for _ in 0..10 {
        let last = *append_groups(&store, 3).await.last().unwrap();
        two_are_ahead(&store, last).await;
    }
}

#[tokio::test]
async fn it_is_done_once() {
    let (_database, store) = partitioned(4).await;
    store.partition(every(4)).await.unwrap();
    let error = store.partition(every(5)).await.unwrap_err();
    assert!(matches!(error, PartitionError::Already { every: 4 }), "{error:?}");
    let error = store.partition(every(u64::MAX)).await.unwrap_err();
    assert!(matches!(error, PartitionError::TooLarge { .. }), "{error:?}");
    let (_database, store) = opened().await;
    assert_eq!(store.partitions().await.unwrap(), []);
    let error = store.extend_partitions().await.unwrap_err();
    assert!(matches!(error, PartitionError::NotPartitioned), "{error:?}");
    let error = store.archive_partition("events_0".parse().unwrap(), None).await.unwrap_err();
    assert!(matches!(error, PartitionError::NotPartitioned), "{error:?}");
}

/// A store from before, and one whose partitions somebody else has not made.
#[tokio::test]
async fn a_store_that_finds_no_partition_makes_one() {
    let (database, store) = opened().await;
    let other = PostgresStore::connect(database.url()).await.unwrap();
    store.partition(every(1)).await.unwrap();
    store.close().await;
    let leap = "SELECT setval('annals.positions', nextval('annals.positions') + 1000)";
    two_are_ahead(&other, *append_groups(&other, 10).await.last().unwrap()).await;
    execute(&other, leap).await.unwrap();
    two_are_ahead(&other, *append_groups(&other, 2).await.last().unwrap()).await;
    execute(&other, leap).await.unwrap();
    let mut transaction = other.pool().begin().await.unwrap();
    let error = other.append_in(&mut transaction, &append("a-1", happened())).await.unwrap_err();
    assert!(matches!(error, AppendError::Unavailable(_)), "{error:?}");
    transaction.rollback().await.unwrap();
    let mut transaction = other.pool().begin().await.unwrap();
    other.append_in(&mut transaction, &append("a-1", happened())).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(other.read_to_end(Read::all()).await.unwrap().len(), 13);
}

#[tokio::test]
async fn an_id_is_taken_in_every_partition() {
    let (_database, store) = opened().await;
    let (old, new) = (happened(), happened());
    let first = store.append(append("a-1", old.clone())).await.unwrap();
    store.partition(every(1)).await.unwrap();
    let second = store.append(append("a-1", new.clone())).await.unwrap();
    append_groups(&store, 3).await;
    for (event, receipt) in [(old, first), (new, second)] {
        assert_eq!(store.append(append("a-1", event.clone())).await.unwrap(), receipt);
        let error = store.append(append("b-1", event)).await.unwrap_err();
        assert!(matches!(error, AppendError::Invalid(_)), "{error:?}");
    }

    // Two at once, in different streams and partitions.
    let event = happened();
    let mut transaction = store.pool().begin().await.unwrap();
    store.append_in(&mut transaction, &append("a-1", event.clone())).await.unwrap();
    let meeting = tokio::spawn({
        let store = store.clone();
        async move { store.append(append("b-1", event)).await }
    });
    let waits = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event = 'transactionid'";
        while ask::<i64>(&store, waiting).await == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waits).await.expect("it waits");
    transaction.commit().await.unwrap();
    let error = meeting.await.unwrap().unwrap_err();
    assert!(matches!(error, AppendError::Invalid(_)), "{error:?}");

    // By hand, past the function and into a partition.
    let insert = "INSERT INTO annals.events_1 (position, version, schema_version, recorded_at,
                      append_index, id, stream, type, data)
                  SELECT l.low + 1, 1, 1, now(), 0, e.id, 'c-1', 'C', ''
                  FROM annals.events e, annals.partitions() l
                  WHERE l.number = 1 AND e.position < l.low ORDER BY e.position LIMIT 1";
    let error = execute(&store, insert).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().constraint(), Some("events_id_key"));
}

#[tokio::test]
async fn events_are_immutable_in_every_partition() {
    let (_database, store) = opened().await;
    append_groups(&store, 2).await;
    store.partition(every(1)).await.unwrap();
    append_groups(&store, 2).await;
    for table in ["events", "events_0", "events_1", "events_2"] {
        for change in
            ["UPDATE annals.{} SET data = ''", "DELETE FROM annals.{}", "TRUNCATE annals.{}"]
        {
            let change = change.replace("{}", table);
            let error = execute(&store, &*change).await.expect_err(&change);
            assert!(error.to_string().contains("events are immutable"), "{change}: {error}");
        }
    }
    for change in
        ["UPDATE annals.ids SET position = 0", "DELETE FROM annals.ids", "TRUNCATE annals.ids"]
    {
        let error = execute(&store, change).await.expect_err(change);
        assert!(error.to_string().contains("events are immutable"), "{change}: {error}");
    }
    assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_closed_partition_is_archived_and_still_read() {
    let cluster = Cluster::start(&[("allow_in_place_tablespaces", "on")]).await.unwrap();
    let store = PostgresStore::connect(&cluster.url("postgres")).await.unwrap();
    let tablespace = "CREATE TABLESPACE attic LOCATION ''";
    execute(&store, tablespace).await.unwrap();
    append_groups(&store, 20).await;
    store.partition(every(4)).await.unwrap();
    append_groups(&store, 6).await;
    let log = store.read_to_end(Read::all()).await.unwrap();

    let error = store.archive_partition("events_2".parse().unwrap(), None).await.unwrap_err();
    assert!(matches!(error, PartitionError::Open { .. }), "{error:?}");
    assert!(error.to_string().contains("events_2 is open"), "{error}");
    let error = store.archive_partition("events_9".parse().unwrap(), None).await.unwrap_err();
    assert!(matches!(error, PartitionError::NotFound { .. }), "{error:?}");

    store.archive_partition("events_1".parse().unwrap(), None).await.unwrap();
    let age = "SELECT age(relfrozenxid) FROM pg_class WHERE oid = 'annals.events_1'::regclass";
    assert!(ask::<i32>(&store, age).await < 5);
    for name in ["events_0", "events_1"] {
        let name = name.parse().unwrap();
        store.archive_partition(name, Some("attic")).await.unwrap();
        // Again does no harm.
        store.archive_partition(name, Some("attic")).await.unwrap();
    }
    let places: Vec<_> = store
        .partitions()
        .await
        .unwrap()
        .into_iter()
        .map(|p| (p.tablespace, p.is_closed))
        .collect();
    assert_eq!(places[0], ("attic".to_owned(), true));
    assert_eq!(places[1], ("attic".to_owned(), true));
    assert_eq!(places[2], ("pg_default".to_owned(), false));
    let elsewhere = "SELECT string_agg(c.relname, ', ' ORDER BY c.relname) FROM pg_class c
                     JOIN pg_tablespace t ON t.oid = c.reltablespace WHERE t.spcname = 'attic'
                     AND c.relname LIKE 'events%'";
    let elsewhere: String = ask(&store, elsewhere).await;
    let mut wanted = Vec::new();
    for number in 0..2 {
        for suffix in [
            "",
            "_category_position_idx",
            "_id_key",
            "_pkey",
            "_stream_version_key",
            "_type_position_idx",
        ] {
            wanted.push(format!("events_{number}{suffix}"));
        }
    }
    assert_eq!(elsewhere, wanted.join(", "));
    let error = execute(&store, "DELETE FROM annals.events_0").await.unwrap_err();
    assert!(error.to_string().contains("events are immutable"), "{error}");
    let error = execute(&store, "TRUNCATE annals.events_0").await.unwrap_err();
    assert!(error.to_string().contains("events are immutable"), "{error}");

    assert_eq!(store.read_to_end(Read::all()).await.unwrap(), log);
    append_groups(&store, 10).await;
    let stream = Read::stream(StreamId::from_static("thing-1"));
    assert_eq!(store.read_to_end(stream).await.unwrap().len(), 7 + 2 + 3);
}

/// An open append holds the partition open in which it has its number.
#[tokio::test]
async fn a_partition_is_open_as_long_as_an_append_in_it_is() {
    let (_database, store) = partitioned(2).await;
    let mut transaction = store.pool().begin().await.unwrap();
    store.append_in(&mut transaction, &append("a-1", happened())).await.unwrap();
    append_groups(&store, 5).await;
    assert!(!store.partitions().await.unwrap()[1].is_closed);
    transaction.commit().await.unwrap();
    assert!(store.partitions().await.unwrap()[1].is_closed);
}

#[tokio::test]
async fn a_restored_log_goes_on_in_partitions_of_its_own() {
    let (database, store) = partitioned(4).await;
    let before = append_groups(&store, 6).await;
    execute(&store, "UPDATE annals.origin SET cluster = 1").await.unwrap();
    store.close().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    let partitions = store.partitions().await.unwrap();
    let gap = partitions.windows(2).find(|pair| pair[0].up_to < pair[1].after);
    assert!(gap.is_some(), "nothing is made for what is skipped: {partitions:#?}");
    let after = append_groups(&store, 6).await;
    assert!(after[0].get() > before[5].get() + (1 << 44));
    assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), 12);
    let stream = Read::stream(StreamId::from_static("thing-1")).backward();
    assert_eq!(store.read_to_end(stream).await.unwrap().len(), 4);
}

#[tokio::test]
async fn views_and_rights_stay() {
    let (database, store) = opened().await;
    append_groups(&store, 3).await;
    store.create_view(&Category::from_static("thing")).await.unwrap();
    let reader = format!("{}_reader", database.name());
    let own = format!(
        "CREATE ROLE {reader};
         CREATE VIEW public.counted WITH (security_barrier) AS
             SELECT type, count(*) FROM annals.events GROUP BY type;
         GRANT SELECT ON annals.events, public.counted TO {reader}; 
         GRANT USAGE ON SCHEMA annals TO {reader};
         GRANT SELECT ON SEQUENCE annals.positions TO {reader}"
    );
    execute(&store, own).await.unwrap();
    store.partition(every(2)).await.unwrap();
    append_groups(&store, 3).await;
    assert_eq!(ask::<i64>(&store, "SELECT count(*) FROM annals.thing_events").await, 6);
    assert_eq!(ask::<i64>(&store, "SELECT count::bigint FROM public.counted").await, 6);
    let kept: bool = ask(
        &store,
        "SELECT reloptions = '{security_barrier=true}' FROM pg_class WHERE relname = 'counted'",
    )
    .await;
    assert!(kept);
    let as_reader = format!(
        "SET ROLE {reader}; SELECT * FROM annals.events; SELECT * FROM annals.ids;
         SELECT * FROM public.counted; SELECT * FROM annals.partitions(); RESET ROLE"
    );
    execute(&store, as_reader).await.unwrap();
    let forbidden = format!("SET ROLE {reader}; SELECT annals.extend_partitions()");
    let error = store.pool().acquire().await.unwrap();
    let mut connection = error.detach();
    let error = raw_sql(AssertSqlSafe(forbidden)).execute(&mut connection).await.unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");
    drop(connection);
    execute(&store, format!("DROP OWNED BY {reader}; DROP ROLE {reader}")).await.unwrap();
}

#[tokio::test]
async fn what_would_be_lost_stands_in_the_way() {
    for (make, named) in [
        ("CREATE TABLE mine (position bigint REFERENCES annals.events)", "mine_position_fkey"),
        ("CREATE MATERIALIZED VIEW mine AS SELECT * FROM annals.events", "view mine"),
        (
            "CREATE TRIGGER mine AFTER INSERT ON annals.events FOR EACH STATEMENT EXECUTE FUNCTION
             suppress_redundant_updates_trigger()",
            "trigger mine",
        ),
        ("CREATE PUBLICATION mine FOR TABLE annals.events", "publication mine"),
    ] {
        let (_database, store) = opened().await;
        execute(&store, make).await.unwrap();
        let error = store.partition(every(2)).await.unwrap_err();
        assert!(matches!(error, PartitionError::InTheWay { .. }), "{error:?}");
        assert!(error.to_string().contains(named), "{error}");
        assert_eq!(store.partitions().await.unwrap(), []);
    }
}

/// Roles from before and after the conversion append, and make partitions, and nothing else.
#[tokio::test]
async fn a_role_without_rights_appends_across_partitions() {
    let (database, owner) = opened().await;
    let schema = SchemaName::default();
    let role = |name: &str| format!("{}_{name}", database.name());
    let script = |name: &str| RoleName::new(role(name)).expect("a valid name").script(&schema);
    let store = async |name: &str| {
        execute(&owner, format!("ALTER ROLE {} LOGIN", role(name))).await.expect("it may");
        let options: PgConnectOptions = database.url().parse().expect("a valid URL");
        let options = options.username(&role(name));
        PostgresStore::options().migrate(false).connect_with(options).await.expect("it opens")
    };
    execute(&owner, script("before")).await.unwrap();
    let before = store("before").await;
    owner.partition(every(2)).await.unwrap();
    execute(&owner, script("after")).await.unwrap();
    let after = store("after").await;
    for store in [&before, &after] {
        append_groups(store, 10).await;
        assert!(store.partitions().await.unwrap().len() > 6);
        for forbidden in [
            "DELETE FROM annals.ids",
            "INSERT INTO annals.ids VALUES (gen_random_uuid(), 1)",
            "UPDATE annals.partitioning SET every = 1",
            "ALTER TABLE annals.events DETACH PARTITION annals.events_0",
            "SELECT annals.make_partition('mine')",
            "SELECT annals.copy_partition(0, 'pg_default')",
            "SELECT annals.swap_partition(0)",
        ] {
            let error = execute(store, forbidden).await.expect_err(forbidden);
            let code = error.as_database_error().and_then(|error| error.code());
            assert_eq!(code.as_deref(), Some("42501"), "{forbidden}: {error}");
        }
        store.close().await;
    }
    assert_eq!(owner.read_to_end(Read::all()).await.unwrap().len(), 20);
    for name in ["before", "after"] {
        execute(&owner, format!("DROP OWNED BY {0}; DROP ROLE {0}", role(name))).await.unwrap();
    }
}

/// A conversion that somebody stands in the way of changes nothing, and is taken up again; what
/// it leaves behind does not stop the log.
#[tokio::test]
async fn a_conversion_that_was_cut_off_is_taken_up_again() {
    let (_database, store) = opened().await;
    append_groups(&store, 3).await;
    let mut reader = store.pool().begin().await.unwrap();
    let select = "SELECT count(*) FROM annals.events";
    query_scalar::<_, i64>(select).fetch_one(&mut *reader).await.unwrap();
    let error = store.partition(every(2)).await.unwrap_err();
    assert!(matches!(error, PartitionError::Busy(_)), "{error:?}");
    reader.commit().await.unwrap();
    append_groups(&store, 3).await;
    // As if the process had been killed, and the log had gone on to the bound.
    execute(
        &store,
        "UPDATE annals.partitioning SET origin = pg_sequence_last_value('annals.positions') + 3;
         ALTER TABLE annals.events ADD CONSTRAINT events_before_origin
             CHECK (position < 9 * 4096) NOT VALID",
    )
    .await
    .unwrap();
    append_groups(&store, 9).await;
    store.partition(every(2)).await.unwrap();
    append_groups(&store, 9).await;
    let log = store.read_to_end(Read::all()).await.unwrap();
    versions_are_dense(&log);
    assert_eq!(log.len(), 24);
    assert_eq!(ask::<i64>(&store, "SELECT count(*) FROM annals.ids").await, 24);
}

const FILL: &str = "
INSERT INTO annals.events (position, version, schema_version, recorded_at, append_index, id, stream,
                           type, tags, data)
SELECT (p.origin + n) * 4096, n / 300 + 1, 1, timestamptz '2026-01-01' + n * interval '1 second', 0,
       ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
       (ARRAY['user', 'order', 'invoice'])[n % 3 + 1] || '-' || n % 300, 'Type' || n % 10,
       ARRAY['group:' || n % 1000], '\\x7b7d'
FROM generate_series(0, 59999) AS n, annals.partitioning p;
INSERT INTO annals.tags (tag, position, type)
SELECT t.tag, e.position, e.type FROM annals.events e, unnest(e.tags) AS t(tag);
ANALYZE annals.events;
ANALYZE annals.tags;";

/// Pages are found along indexes, partition by partition, and only in those where they can be.
#[tokio::test]
async fn reads_go_through_partitions_in_order() {
    let (_database, store) = partitioned(10_000).await;
    let leap =
        "SELECT setval('annals.positions', pg_sequence_last_value('annals.positions') + 30000)";
    for _ in 0..2 {
        execute(&store, leap).await.unwrap();
        store.extend_partitions().await.unwrap();
    }
    execute(&store, FILL).await.unwrap();
    let origin: i64 = ask(&store, "SELECT origin FROM annals.partitioning").await;
    let (low, high) = ((origin + 32_000) * 4_096, (origin + 60_000) * 4_096 - 1);
    let of_stream = "e.stream = 'user-42' AND e.version > 0 AND e.version <= 999".to_owned();
    for (what, from, order) in [
        ("the log", between(low, high), "e.position"),
        ("the log, backward", between(low, high), "e.position DESC"),
        ("a type", format!("e.type = 'Type3' AND {}", between(low, high)), "e.position"),
        ("a category", format!("e.category = 'order' AND {}", between(low, high)), "e.position"),
        ("a stream", of_stream.clone(), "e.version"),
        ("a stream, backward", of_stream, "e.version DESC"),
    ] {
        // As `query.rs` asks.
        let explain = format!(
            "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off)
             SELECT e.id FROM (SELECT e.*, sum(octet_length(e.data)) OVER
                 (ORDER BY {order} ROWS UNBOUNDED PRECEDING) AS bytes_before
             FROM annals.events e WHERE {from} ORDER BY {order} LIMIT 64) e
             WHERE e.bytes_before < 1000000"
        );
        let plan = query_scalar::<_, String>(AssertSqlSafe(explain)).fetch_all(store.pool()).await;
        let plan = plan.expect("a plan");
        let text = plan.join("\n");
        let nodes = plan.iter().filter(|line| line.contains("(actual") || line.contains("(never"));
        let scans: Vec<_> = nodes.clone().filter(|node| node.contains(" on events_")).collect();
        if order.starts_with("e.position") {
            assert_eq!(scans.len(), 3, "{what}: the other partitions are left out\n{text}");
            let read = scans.iter().filter(|scan| !scan.contains("never executed")).count();
            assert_eq!(read, 1, "{what}: a page is in one partition\n{text}");
        }
        // What is empty may be read in any way.
        let mut busy = nodes.filter(|node| !node.contains("rows=0") && !node.contains("never"));
        let scans_or_sorts = |node: &String| {
            ["Sort", "Seq Scan", "Bitmap"].iter().any(|forbidden| node.contains(forbidden))
        };
        assert!(!busy.any(scans_or_sorts), "{what}: not along an index\n{text}");
    }
}

fn between(low: i64, high: i64) -> String {
    format!("e.position > {low} AND e.position <= {high}")
}

#[tokio::test]
async fn the_doctor_knows_partitions() {
    let (_database, store) = partitioned(4).await;
    append_groups(&store, 6).await;
    two_are_ahead(&store, store.head().await.unwrap()).await;
    let problems = async || {
        let findings = store.diagnose().await.unwrap();
        let bad = findings.into_iter().filter(|finding| finding.severity > Severity::Note);
        bad.map(|finding| (finding.subject, finding.advice.unwrap_or_default())).collect::<Vec<_>>()
    };
    assert_eq!(problems().await, []);
    execute(
        &store,
        "ALTER TABLE annals.events_1 DISABLE TRIGGER events_are_immutable;
         DROP TRIGGER events_are_not_truncated ON annals.events_2;
         ALTER TABLE annals.events_0 DROP CONSTRAINT events_0_stream_version_key",
    )
    .await
    .unwrap();
    let found = problems().await;
    let subjects: Vec<_> = found.iter().map(|(subject, _)| subject.as_str()).collect();
    assert_eq!(
        subjects,
        [
            "index events_0_stream_version_key",
            "trigger events_are_immutable of events_1",
            "trigger events_are_not_truncated of events_2"
        ]
    );
    // The advice is good.
    for (subject, advice) in found {
        let (_, statement) = advice.split_once("run: ").expect("a statement");
        execute(&store, statement).await.expect(&subject);
    }
    assert_eq!(problems().await, []);
}
