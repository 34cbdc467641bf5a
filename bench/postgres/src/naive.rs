//! What applications write by hand: a transaction for each append, which looks for the stream's
//! last version and inserts the next one. Each caller has a connection; who meets another caller
//! in a stream begins again.

use std::sync::Arc;

use annals_scratch::Database;
use sqlx_core::connection::Connection;
use sqlx_core::error::Error;
use sqlx_core::executor::Executor;
use sqlx_core::query::query;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::PgConnection;
use tokio::sync::Mutex;

use crate::fact::Fact;
use crate::server::connect;

/// The table of pgbench's INSERT, too. It has two indexes; those of the store have five.
pub const TABLE: &str = r#"CREATE TABLE raw (
    id          bigserial   PRIMARY KEY,
    stream      text        COLLATE "C" NOT NULL,
    version     bigint      NOT NULL,
    type        text        NOT NULL,
    recorded_at timestamptz NOT NULL,
    event_id    uuid        NOT NULL,
    data        bytea       NOT NULL,
    UNIQUE (stream, version)
)"#;

#[derive(Clone)]
pub struct Naive {
    connections: Arc<Vec<Mutex<PgConnection>>>,
}

impl Naive {
    pub async fn open(database: &Database, callers: u64) -> Self {
        connect(database.url()).await.execute(TABLE).await.expect("the table is made");
        let mut connections = Vec::new();
        for _ in 0..callers {
            let mut connection = connect(database.url()).await;
            // A table that was never analysed must not be scanned for its versions.
            connection.execute("SET enable_seqscan = off").await.expect("the setting is known");
            connections.push(Mutex::new(connection));
        }
        Self { connections: Arc::new(connections) }
    }

    pub async fn append(&self, caller: u64, fact: Fact) {
        let mut connection = self.connections[caller as usize].lock().await;
        loop {
            match attempt(&mut connection, &fact).await {
                Ok(()) => return,
                Err(Error::Database(error)) if error.is_unique_violation() => {}
                Err(error) => panic!("the append fails: {error}"),
            }
        }
    }
}

async fn attempt(connection: &mut PgConnection, fact: &Fact) -> Result<(), Error> {
    let mut transaction = connection.begin().await?;
    let version: i64 = query_scalar("SELECT coalesce(max(version), 0) FROM raw WHERE stream = $1")
        .bind(&fact.stream)
        .fetch_one(&mut *transaction)
        .await?;
    query(
        "INSERT INTO raw (stream, version, type, recorded_at, event_id, data)
         VALUES ($1, $2, $3, now(), $4, $5)",
    )
    .bind(&fact.stream)
    .bind(version + 1)
    .bind(fact.event_type)
    .bind(fact.id)
    .bind(&fact.data)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}
