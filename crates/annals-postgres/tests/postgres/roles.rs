//! A role that may append, read and keep snapshots, and nothing else; and what stops the owner.

use annals_core::{
    Append, AppendCondition, Data, EventId, EventStore, EventStoreExt, EventType, ExpectedVersion,
    Fingerprint, ListStreams, NewEvent, Notice, Query, QueryItem, Read, SelectSnapshots, Snapshot,
    SnapshotStore, StreamCatalog, StreamId, Subscribe, Tag, Timestamp, Version,
};
use annals_postgres::{OpenError, PostgresStore, RoleName, SchemaName};
use annals_scratch::Database;
use futures_util::StreamExt;
use sqlx_core::executor::Executor;
use sqlx_core::raw_sql::raw_sql;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::{PgConnectOptions, PgPool};

const EVERY_CHANGE: &[&str] = &[
    "UPDATE {schema}.events SET data = ''",
    "DELETE FROM {schema}.events",
    "TRUNCATE {schema}.events",
    "UPDATE {schema}.tags SET tag = 'a:b'",
    "DELETE FROM {schema}.tags",
    "TRUNCATE {schema}.tags",
];

/// What the owner could do all the same, and such a role cannot.
const BY_HAND: &[&str] = &[
    "INSERT INTO {schema}.events (position, version, schema_version, recorded_at, append_index, id,
         stream, type, data) VALUES (1, 1, 1, now(), 0, gen_random_uuid(), 'a-1', 'A', '')",
    "INSERT INTO {schema}.tags VALUES ('a:b', 1, 'A')",
    "SELECT nextval('{schema}.positions')",
    "SELECT setval('{schema}.positions', 1)",
    "UPDATE {schema}.schema_version SET version = 0",
    "DELETE FROM {schema}.origin",
    "ALTER TABLE {schema}.events DISABLE TRIGGER events_are_immutable",
    "DROP TABLE {schema}.events",
    "TRUNCATE {schema}.snapshots",
    "CREATE TABLE {schema}.mine (a integer)",
    "SELECT {schema}.create_view('a')",
];

/// A log and a role of its own; roles belong to the whole server.
struct Ledger {
    database: Database,
    schema: SchemaName,
    owner: PostgresStore,
    role: String,
}

impl Ledger {
    async fn new() -> Self {
        let database = Database::create().await;
        let schema = SchemaName::new("ledger").expect("a valid name");
        let owner = PostgresStore::options().schema(schema.clone()).connect(database.url()).await;
        let owner = owner.expect("the store opens");
        let role = format!("{}_app", database.name());
        let ledger = Self { database, schema, owner, role };
        let script = RoleName::new(&*ledger.role).expect("a valid name").script(&ledger.schema);
        // Whoever runs it twice has done no harm.
        for _ in 0..2 {
            ledger.as_owner(&script).await.expect("the script runs");
        }
        ledger.as_owner(&format!("ALTER ROLE {} LOGIN", ledger.role)).await.expect("it may");
        ledger
    }

    async fn as_owner(&self, sql: &str) -> Result<(), sqlx_core::Error> {
        raw_sql(AssertSqlSafe(sql.to_owned())).execute(self.owner.pool()).await.map(drop)
    }

    fn options_of(&self, role: &str) -> PgConnectOptions {
        self.database.url().parse::<PgConnectOptions>().expect("a valid URL").username(role)
    }

    async fn store(&self) -> PostgresStore {
        let options = PostgresStore::options().schema(self.schema.clone()).migrate(false);
        options.connect_with(self.options_of(&self.role)).await.expect("the store opens")
    }

    fn statement(&self, template: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(template.replace("{schema}", self.schema.as_str()))
    }

    async fn end(self) {
        let drop = format!("DROP OWNED BY {0}; DROP ROLE {0}", self.role);
        self.as_owner(&drop).await.expect("the role goes");
    }
}

fn tagged() -> NewEvent {
    let mut event = NewEvent::new(EventType::from_static("Opened"), Data::json("{}"));
    event.tags = vec!["branch:7".parse::<Tag>().expect("a valid tag")];
    event
}

fn code(error: &sqlx_core::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

#[tokio::test]
async fn such_a_role_appends_and_reads() {
    let ledger = Ledger::new().await;
    let store = ledger.store().await;
    let mut following = store.subscribe(Subscribe::all());
    assert!(matches!(following.next().await, Some(Ok(Notice::CaughtUp(_)))));
    let stream = StreamId::from_static("account-1");
    let opened = Append::to(stream.clone(), ExpectedVersion::NoStream, [tagged()]).only_if(
        AppendCondition::none_match(Query::of(
            QueryItem::new().tag("branch:7".parse().expect("a valid tag")),
        )),
    );
    let first = store.append(opened.clone()).await.expect("the append is stored");
    assert_eq!(store.append(opened).await.expect("it is a repetition"), first);
    let again = Append::to(stream.clone(), ExpectedVersion::NoStream, [tagged()]);
    store.append(again).await.expect_err("there is the stream");
    let mut transaction = store.pool().begin().await.expect("a transaction");
    let second = Append::to(stream.clone(), ExpectedVersion::Any, [tagged()]);
    store.append_in(&mut transaction, &second).await.expect("the append is stored");
    transaction.commit().await.expect("it commits");

    assert_eq!(store.read_to_end(Read::all()).await.expect("it reads").len(), 2);
    assert_eq!(store.read_to_end(Read::stream(stream)).await.expect("it reads").len(), 2);
    assert_eq!(store.stats().await.expect("it counts").events, 2);
    assert_eq!(store.streams(ListStreams::all()).count().await, 1);
    assert!(matches!(following.next().await, Some(Ok(Notice::Event(_)))));
    keeps_snapshots(&store).await;
    store.watermark().await.expect("it looks");
    store.diagnose().await.expect("it looks");
    drop(following);
    store.close().await;
    ledger.end().await;
}

async fn keeps_snapshots(store: &PostgresStore) {
    let snapshot = |version: u64| Snapshot {
        stream: StreamId::from_static("account-1"),
        fold: Fingerprint::from_static("account.v1"),
        version: Version::new(version),
        last_event: EventId::from_bytes([7; 16]),
        taken_at: Timestamp::EPOCH,
        state: "{}".into(),
    };
    for version in [1, 2] {
        store.save_snapshot(snapshot(version)).await.expect("it is saved");
    }
    let (made, all) = (snapshot(2), SelectSnapshots::all());
    let loaded = store.load_snapshot(&made.stream, &made.fold).await;
    assert_eq!(loaded.expect("it loads"), Some(made));
    assert_eq!(store.snapshots(all.clone()).count().await, 1);
    assert_eq!(store.drop_snapshots(all).await.expect("it drops"), 1);
}

/// Whoever was let in before there were snapshots need not be let in again.
#[tokio::test]
async fn a_role_made_before_snapshots_keeps_them_after_the_migration() {
    let ledger = Ledger::new().await;
    ledger
        .as_owner("DROP TABLE ledger.snapshots; UPDATE ledger.schema_version SET version = 1")
        .await
        .expect("as it was before");
    let options = PostgresStore::options().schema(ledger.schema.clone());
    options.over(ledger.owner.pool().clone()).await.expect("it is migrated");
    let store = ledger.store().await;
    keeps_snapshots(&store).await;
    store.close().await;
    ledger.end().await;
}

#[tokio::test]
async fn such_a_role_writes_nothing_by_hand() {
    let ledger = Ledger::new().await;
    let store = ledger.store().await;
    let stream = StreamId::from_static("a-1");
    store.append_to(stream, ExpectedVersion::Any, [tagged()]).await.expect("it is stored");
    for statement in EVERY_CHANGE.iter().chain(BY_HAND) {
        let error = store.pool().execute(raw_sql(ledger.statement(statement))).await;
        let error = error.expect_err(statement);
        // Insufficient privilege.
        assert_eq!(code(&error).as_deref(), Some("42501"), "{statement}: {error}");
    }
    assert_eq!(store.read_to_end(Read::all()).await.expect("it reads").len(), 1);
    store.close().await;
    ledger.end().await;
}

#[tokio::test]
async fn nobody_else_may_append() {
    let ledger = Ledger::new().await;
    let other = format!("{}_other", ledger.database.name());
    // Even who may look into the schema.
    let grants = format!(
        "CREATE ROLE {other} LOGIN; GRANT USAGE ON SCHEMA ledger TO {other};
         GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO {other};
         GRANT SELECT ON ALL SEQUENCES IN SCHEMA ledger TO {other}"
    );
    ledger.as_owner(&grants).await.expect("a role");
    let options = PostgresStore::options().schema(ledger.schema.clone()).migrate(false);
    let store = options.connect_with(ledger.options_of(&other)).await.expect("it may read");
    let stream = StreamId::from_static("a-1");
    let error = store.append_to(stream, ExpectedVersion::Any, [tagged()]).await;
    let error = annals_core::error::Chain(&error.expect_err("it may not")).to_string();
    assert!(error.contains("permission denied for function append"), "{error}");
    store.close().await;
    ledger.as_owner(&format!("DROP OWNED BY {other}; DROP ROLE {other}")).await.expect("it goes");
    ledger.end().await;
}

/// The function has the rights of its owner: what it calls must be what its owner meant.
#[tokio::test]
async fn a_caller_cannot_put_something_else_in_the_function() {
    let ledger = Ledger::new().await;
    let own_schema = format!("CREATE SCHEMA mine AUTHORIZATION {}", ledger.role);
    ledger.as_owner(&own_schema).await.expect("a schema");
    let pool = PgPool::connect_with(ledger.options_of(&ledger.role)).await.expect("it connects");
    let mut connection = pool.acquire().await.expect("a connection");
    raw_sql(
        "CREATE FUNCTION mine.cardinality(anyarray) RETURNS integer LANGUAGE plpgsql
         AS $$ BEGIN RAISE EXCEPTION 'called as %', current_user; END $$;
         SET search_path = mine, pg_catalog",
    )
    .execute(&mut *connection)
    .await
    .expect("it may do this in its own schema");
    let store = ledger.store().await;
    let stream = StreamId::from_static("a-1");
    let append = Append::to(stream, ExpectedVersion::Any, [tagged()]);
    store.append_in(&mut connection, &append).await.expect("the append is stored");
    drop(connection);
    pool.close().await;
    store.close().await;
    ledger.end().await;
}

#[tokio::test]
async fn the_owner_is_stopped_by_the_triggers() {
    let ledger = Ledger::new().await;
    let stream = StreamId::from_static("a-1");
    ledger.owner.append_to(stream, ExpectedVersion::Any, [tagged()]).await.expect("it is stored");
    for statement in EVERY_CHANGE {
        let error = ledger.owner.pool().execute(raw_sql(ledger.statement(statement))).await;
        let error = error.expect_err(statement);
        assert!(error.to_string().contains("events are immutable"), "{statement}: {error}");
    }
    assert_eq!(ledger.owner.read_to_end(Read::all()).await.expect("it reads").len(), 1);
    ledger.end().await;
}

#[tokio::test]
async fn such_a_role_makes_no_tables() {
    let ledger = Ledger::new().await;
    let options = PostgresStore::options().schema(SchemaName::new("other").expect("valid"));
    let error = options.clone().migrate(false).connect_with(ledger.options_of(&ledger.role)).await;
    assert!(matches!(error, Err(OpenError::NotMigrated { .. })), "{error:?}");
    let error = options.connect_with(ledger.options_of(&ledger.role)).await;
    assert!(matches!(error, Err(OpenError::Sql(_))), "{error:?}");
    ledger.end().await;
}
