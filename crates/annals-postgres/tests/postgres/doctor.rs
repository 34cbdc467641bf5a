//! What `diagnose` finds, in a log that is well and in logs that are not.

use std::time::Duration;

use annals_core::{Append, Data, EventStoreExt, EventType, ExpectedVersion, NewEvent, StreamId};
use annals_postgres::{Finding, PostgresStore, SchemaName, Severity, diagnose};
use annals_scratch::{Cluster, Database};
use sqlx_core::connection::ConnectOptions;
use sqlx_core::raw_sql::raw_sql;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::{PgConnectOptions, PgConnection, PgPool};

const PATIENCE: Duration = Duration::from_secs(30);

async fn store() -> (Database, PostgresStore) {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.expect("the store opens");
    (database, store)
}

fn opened(stream: &'static str) -> (StreamId, NewEvent) {
    let event = NewEvent::new(EventType::from_static("Opened"), Data::json("{}"));
    (StreamId::from_static(stream), event)
}

async fn append(store: &PostgresStore, stream: &'static str) {
    let (stream, event) = opened(stream);
    store.append_to(stream, ExpectedVersion::Any, [event]).await.expect("the append is stored");
}

async fn execute(store: &PostgresStore, sql: &'static str) {
    raw_sql(sql).execute(store.pool()).await.expect("the statement is executed");
}

async fn examined(store: &PostgresStore) -> Vec<Finding> {
    store.diagnose().await.expect("the server can be asked")
}

#[track_caller]
fn find<'f>(findings: &'f [Finding], subject: &str) -> &'f Finding {
    let found = findings.iter().find(|finding| finding.subject == subject);
    found.unwrap_or_else(|| panic!("nothing is said of {subject}: {findings:#?}"))
}

/// The statements that a finding advises to run.
#[track_caller]
fn statements(finding: &Finding) -> &str {
    let advice = finding.advice.as_deref().expect("there is advice");
    advice.split_once("run: ").expect("something can be run").1
}

#[tokio::test]
async fn a_log_that_is_well_has_no_warnings() {
    let (_database, store) = store().await;
    append(&store, "a-1").await;
    let findings = examined(&store).await;
    // Other tests have sessions on the same server.
    let ours = |finding: &&Finding| {
        !["oldest transaction", "prepared transactions", "max_connections"]
            .contains(&&*finding.subject)
    };
    let worst = findings.iter().filter(ours).max_by_key(|finding| finding.severity);
    assert_eq!(worst.map(|f| f.severity), Some(Severity::Note), "{findings:#?}");
    let notes: Vec<_> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Note)
        .map(|finding| &*finding.subject)
        .collect();
    assert_eq!(notes, ["idle_in_transaction_session_timeout", "user"]);
    let watermark = find(&findings, "watermark");
    assert_eq!(watermark.message, "head 4096, newest 4096, lag 0.0 s");
    assert_eq!(find(&findings, "indexes").message, "all 7 are there and valid");
    assert_eq!(find(&findings, "triggers").message, "all 4 are there and enabled");
    for subject in
        ["server", "fsync", "schema", "sequence", "origin", "table events", "table snapshots"]
    {
        assert_eq!(find(&findings, subject).severity, Severity::Ok, "{findings:#?}");
    }
}

#[tokio::test]
async fn missing_and_invalid_indexes_are_named_with_what_mends_them() {
    let (_database, store) = store().await;
    execute(
        &store,
        "DROP INDEX annals.events_type_position_idx, annals.events_category_position_idx;
         ALTER TABLE annals.events DROP CONSTRAINT events_pkey, DROP CONSTRAINT events_id_key,
             DROP CONSTRAINT events_stream_version_key;
         ALTER TABLE annals.tags DROP CONSTRAINT tags_pkey;
         ALTER TABLE annals.snapshots DROP CONSTRAINT snapshots_pkey;",
    )
    .await;
    let findings = examined(&store).await;
    let missing: Vec<_> = findings.iter().filter(|f| f.subject.starts_with("index ")).collect();
    assert_eq!(missing.len(), 7, "{findings:#?}");
    for finding in missing {
        assert_eq!(finding.severity, Severity::Problem);
        assert!(finding.message.starts_with("missing"), "{finding:?}");
        let statements = AssertSqlSafe(statements(finding).to_owned());
        raw_sql(statements).execute(store.pool()).await.expect("the advice can be followed");
    }
    execute(
        &store,
        "UPDATE pg_index SET indisvalid = false
         WHERE indexrelid = 'annals.events_type_position_idx'::regclass",
    )
    .await;
    let findings = examined(&store).await;
    let invalid = find(&findings, "index events_type_position_idx");
    assert!(invalid.message.starts_with("invalid"), "{invalid:?}");
    let reindex = AssertSqlSafe(statements(invalid).to_owned());
    raw_sql(reindex).execute(store.pool()).await.expect("the advice can be followed");
    assert_eq!(find(&examined(&store).await, "indexes").severity, Severity::Ok);
}

#[tokio::test]
async fn triggers_that_do_not_fire_are_named_with_what_mends_them() {
    let (_database, store) = store().await;
    execute(
        &store,
        "ALTER TABLE annals.events DISABLE TRIGGER events_are_immutable;
         ALTER TABLE annals.tags ENABLE REPLICA TRIGGER tags_are_immutable;
         DROP TRIGGER events_are_not_truncated ON annals.events;
         DROP TRIGGER tags_are_not_truncated ON annals.tags;",
    )
    .await;
    let findings = examined(&store).await;
    for (name, says) in [
        ("events_are_immutable", "disabled"),
        ("tags_are_immutable", "disabled"),
        ("events_are_not_truncated", "missing"),
        ("tags_are_not_truncated", "missing"),
    ] {
        let finding = find(&findings, &format!("trigger {name}"));
        assert_eq!(finding.severity, Severity::Problem);
        assert!(finding.message.starts_with(says), "{finding:?}");
        let statements = AssertSqlSafe(statements(finding).to_owned());
        raw_sql(statements).execute(store.pool()).await.expect("the advice can be followed");
    }
    assert_eq!(find(&examined(&store).await, "triggers").severity, Severity::Ok);
}

#[tokio::test]
async fn who_holds_readers_back_is_named() {
    let (database, store) = store().await;
    let options: PgConnectOptions = database.url().parse().expect("a valid URL");
    let mut connection: PgConnection =
        options.application_name("slow").connect().await.expect("a connection");
    raw_sql("BEGIN").execute(&mut connection).await.expect("a transaction");
    let (stream, event) = opened("a-1");
    let forgotten = Append::to(stream, ExpectedVersion::Any, [event]);
    store.append_in(&mut connection, &forgotten).await.expect("the append is stored");
    append(&store, "b-1").await;
    let pid: i32 = sqlx_core::query_scalar::query_scalar(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'slow'
             AND datname = current_database()",
    )
    .fetch_one(store.pool())
    .await
    .expect("the session is there");

    let findings = examined(&store).await;
    assert_eq!(find(&findings, "watermark").severity, Severity::Ok, "it may just be appending");
    let blocker = find(&findings, &format!("blocker {pid}"));
    assert_eq!(blocker.severity, Severity::Note);
    for said in [&format!("process {pid} "), "\"slow\"", "idle in transaction", "annals\".append"] {
        assert!(blocker.message.contains(said), "{said}: {blocker:?}");
    }

    let watermark = find(&findings, "watermark");
    assert!(watermark.message.starts_with("head 0, newest 8192, lag "), "{watermark:?}");
    assert_eq!(statements(blocker), format!("SELECT pg_terminate_backend({pid});"));
    let end = AssertSqlSafe(statements(blocker).to_owned());
    raw_sql(end).execute(store.pool()).await.expect("the advice can be followed");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while examined(&store).await.iter().any(|finding| finding.subject.starts_with("blocker")) {
        assert!(tokio::time::Instant::now() < deadline, "the session does not end");
    }
}

#[tokio::test]
async fn logs_that_cannot_be_opened_are_examined() {
    let database = Database::create().await;
    let pool = PgPool::connect(database.url()).await.expect("the database is there");
    let schema = SchemaName::default();
    let empty = diagnose(&pool, &schema).await.expect("the server can be asked");
    let finding = find(&empty, "schema");
    assert_eq!(finding.severity, Severity::Problem);
    assert!(finding.message.contains("no log"), "{finding:?}");

    let store = PostgresStore::connect(database.url()).await.expect("the store opens");
    append(&store, "a-1").await;
    append(&store, "a-1").await;
    execute(&store, "SELECT setval('annals.positions', 1)").await;
    let behind = diagnose(&pool, &schema).await.expect("the server can be asked");
    let finding = find(&behind, "sequence");
    assert_eq!(finding.severity, Severity::Problem);
    let setval = AssertSqlSafe(statements(finding).to_owned());
    raw_sql(setval).execute(&pool).await.expect("the advice can be followed");
    let mended = diagnose(&pool, &schema).await.expect("the server can be asked");
    assert_eq!(find(&mended, "sequence").severity, Severity::Ok);

    execute(&store, "UPDATE annals.origin SET timeline = timeline + 1").await;
    let moved = diagnose(&pool, &schema).await.expect("the server can be asked");
    assert_eq!(find(&moved, "origin").severity, Severity::Note);

    for (version, says) in [("99", "has version 99"), ("0", "older")] {
        let set = format!("UPDATE annals.schema_version SET version = {version}");
        raw_sql(AssertSqlSafe(set)).execute(&pool).await.expect("the version is set");
        let other = diagnose(&pool, &schema).await.expect("the server can be asked");
        let finding = find(&other, "schema");
        assert_eq!(finding.severity, Severity::Problem);
        assert!(finding.message.contains(says), "{finding:?}");
    }
}

#[tokio::test]
async fn prepared_transactions_and_standbys_are_named() {
    let cluster = Cluster::start(&[
        ("max_prepared_transactions", "2"),
        ("synchronous_commit", "off"),
        ("default_transaction_isolation", "repeatable read"),
    ])
    .await
    .expect("a server starts");
    let database = cluster.database().await;
    let store = PostgresStore::connect(database.url()).await.expect("the store opens");
    let mut connection = store.pool().acquire().await.expect("a connection");
    raw_sql("BEGIN ISOLATION LEVEL READ COMMITTED")
        .execute(&mut *connection)
        .await
        .expect("a transaction");
    let (stream, event) = opened("a-1");
    let forgotten = Append::to(stream, ExpectedVersion::Any, [event]);
    store.append_in(&mut connection, &forgotten).await.expect("the append is stored");
    raw_sql("PREPARE TRANSACTION 'forgotten'").execute(&mut *connection).await.expect("prepared");
    let findings = examined(&store).await;
    let blocker = find(&findings, "blocker");
    assert!(blocker.advice.as_ref().is_some_and(|a| a.contains("'forgotten'")), "{blocker:?}");
    let prepared = find(&findings, "prepared transactions");
    assert!(prepared.message.contains("\"forgotten\""), "{prepared:?}");
    assert_eq!(find(&findings, "synchronous_commit").severity, Severity::Note);
    assert_eq!(find(&findings, "default_transaction_isolation").severity, Severity::Problem);

    let replica = cluster.replica().await.expect("a replica starts");
    let standby = PgPool::connect(&replica.url(database.name())).await.expect("it answers");
    let findings = diagnose(&standby, store.schema()).await.expect("the server can be asked");
    assert_eq!(find(&findings, "standby").severity, Severity::Problem);
}
