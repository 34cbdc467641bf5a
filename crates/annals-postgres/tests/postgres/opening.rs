//! Making the tables, and the states in which a store must not be used.

use annals_core::{
    Append, Data, EventStore, EventStoreExt, EventType, ExpectedVersion, Limits, NewEvent, Read,
    SelectSnapshots, SnapshotStore, StreamId,
};
use annals_postgres::{OpenError, Options, PostgresStore, SchemaName, Severity};
use annals_scratch::Database;
use sqlx_core::connection::Connection;
use sqlx_core::executor::Executor;
use sqlx_core::query::query;
use sqlx_core::raw_sql::raw_sql;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::{PgConnection, PgPool};

fn append(number: u32) -> Append {
    let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    Append::to(StreamId::of("a", number).expect("a stream id"), ExpectedVersion::NoStream, [event])
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_may_start_at_once() {
    let database = Database::create().await;
    let starting: Vec<_> = (0..12)
        .map(|number| {
            let url = database.url().to_owned();
            tokio::spawn(async move {
                let store = PostgresStore::connect(&url).await.expect("the store opens");
                store.append(append(number)).await.expect("it works");
            })
        })
        .collect();
    for store in starting {
        store.await.unwrap();
    }
    let store = PostgresStore::connect(database.url()).await.unwrap();
    assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), 12);
}

#[tokio::test]
async fn a_dry_run_tells_everything_and_does_nothing() {
    let database = Database::create().await;
    let pool = PgPool::connect(database.url()).await.unwrap();
    let options = PostgresStore::options().schema(SchemaName::new("ledger").unwrap());
    let pending = options.pending_migrations(&pool).await.unwrap();
    assert!(pending.iter().any(|sql| sql.contains("CREATE TABLE \"ledger\".events")));
    let refused = options.clone().migrate(false).over(pool.clone()).await.unwrap_err();
    assert!(matches!(&refused, OpenError::NotMigrated { schema } if schema == "ledger"));
    // An administrator may run it by hand.
    for statement in pending {
        pool.execute(raw_sql(AssertSqlSafe(statement))).await.unwrap();
    }
    assert_eq!(options.pending_migrations(&pool).await.unwrap(), [""; 0]);
    let store = options.migrate(false).over(pool).await.unwrap();
    store.append(append(1)).await.unwrap();
}

/// What an administrator ran when there were no snapshots.
async fn make_version_1(options: &Options, pool: &PgPool) {
    let statements = options.pending_migrations(pool).await.expect("the server answers");
    for statement in statements {
        let is_last = statement.ends_with("SET version = 1;");
        pool.execute(raw_sql(AssertSqlSafe(statement))).await.expect("it runs");
        if is_last {
            return;
        }
    }
    panic!("there is no version 1");
}

#[tokio::test]
async fn a_log_of_version_1_is_migrated() {
    let database = Database::create().await;
    let pool = PgPool::connect(database.url()).await.unwrap();
    let options = PostgresStore::options();
    make_version_1(&options, &pool).await;
    let refused = options.clone().migrate(false).over(pool.clone()).await.unwrap_err();
    assert!(matches!(refused, OpenError::TooOld { found: 1, .. }), "{refused:?}");
    assert!(refused.to_string().contains("annals migrate"), "{refused}");
    let findings = annals_postgres::diagnose(&pool, &SchemaName::default()).await.unwrap();
    let problems: Vec<_> =
        findings.iter().filter(|finding| finding.severity == Severity::Problem).collect();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].message.contains("older than this build needs"), "{problems:#?}");

    let pending = options.pending_migrations(&pool).await.unwrap();
    assert!(pending[0].contains("CREATE TABLE \"annals\".snapshots"), "{pending:?}");
    assert!(!pending.iter().any(|sql| sql.contains("CREATE TABLE \"annals\".events")));
    let store = options.clone().over(pool.clone()).await.unwrap();
    assert_eq!(options.pending_migrations(&pool).await.unwrap(), [""; 0]);
    store.append(append(1)).await.unwrap();
    assert_eq!(store.drop_snapshots(SelectSnapshots::all()).await.unwrap(), 0);
}

#[tokio::test]
async fn several_stores_share_a_database_and_know_nothing_of_each_other() {
    let database = Database::create().await;
    let pool = PgPool::connect(database.url()).await.unwrap();
    let mut stores = Vec::new();
    for name in ["one", "two"] {
        let options = PostgresStore::options().schema(SchemaName::new(name).unwrap());
        stores.push(options.over(pool.clone()).await.unwrap());
    }
    stores[0].append(append(1)).await.unwrap();
    stores[1].append(append(1)).await.unwrap();
    stores[1].append(append(2)).await.unwrap();
    for (store, events) in stores.iter().zip([1, 2]) {
        assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), events);
    }
}

#[tokio::test]
async fn a_log_restored_without_its_sequence_is_refused_with_the_way_out() {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    for number in 0..5 {
        store.append(append(number)).await.unwrap();
    }
    let last = store.head().await.unwrap();
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    query("SELECT setval('annals.positions', 2)").execute(&mut connection).await.unwrap();
    let error = PostgresStore::connect(database.url()).await.unwrap_err();
    assert!(
        matches!(error, OpenError::SequenceBehind { given_out: 2, needed: 5, .. }),
        "{error:?}"
    );
    let text = error.to_string();
    let advice = text.rsplit("Run: ").next().unwrap().to_owned();
    query(AssertSqlSafe(advice)).execute(&mut connection).await.unwrap();
    let store = PostgresStore::connect(database.url()).await.unwrap();
    let receipt = store.append(append(99)).await.unwrap();
    assert!(receipt.first_position > last);
}

#[tokio::test]
async fn what_cannot_hold_a_store_is_refused() {
    let database = Database::create().await;
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    let latin = format!("{}_latin", database.name());
    let create = format!("CREATE DATABASE {latin} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    query(AssertSqlSafe(create)).execute(&mut connection).await.unwrap();
    let url = database.url().replace(database.name(), &latin);
    let error = PostgresStore::connect(&url).await.unwrap_err();
    let drop = AssertSqlSafe(format!("DROP DATABASE {latin} WITH (FORCE)"));
    query(drop).execute(&mut connection).await.unwrap();
    assert!(matches!(&error, OpenError::Encoding { found } if found == "LATIN1"), "{error:?}");

    let mut limits = Limits::DEFAULT;
    limits.append_events_max = 5_000;
    let error = PostgresStore::options().limits(limits).connect(database.url()).await.unwrap_err();
    assert!(matches!(error, OpenError::Limits { given: 5_000, max: 4_096 }), "{error:?}");

    PostgresStore::connect(database.url()).await.unwrap();
    query("UPDATE annals.schema_version SET version = 99").execute(&mut connection).await.unwrap();
    let error = PostgresStore::connect(database.url()).await.unwrap_err();
    assert!(matches!(error, OpenError::TooNew { found: 99, .. }), "{error:?}");

    let nobody = "postgres://nobody:secret@127.0.0.1:1/nothing";
    let error = PostgresStore::connect(nobody).await.unwrap_err();
    let text = format!("{error:?} {}", annals_core::error::Chain(&error));
    assert!(matches!(error, OpenError::Connect(_)) && !text.contains("secret"), "{text}");
}
