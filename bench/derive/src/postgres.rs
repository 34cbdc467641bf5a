//! The raw loop on PostgreSQL: reads the log's own table, and upserts rows, a statement for each
//! batch.

use std::collections::HashMap;

use sqlx_core::connection::ConnectOptions;
use sqlx_core::executor::Executor;
use sqlx_core::query::query;
use sqlx_core::query_as::query_as;
use sqlx_postgres::{PgConnectOptions, PgConnection, Postgres};

use crate::bank::Deposited;

async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().expect("the server's URL is valid");
    let mut connection = options.connect().await.expect("the server accepts connections");
    connection.execute("SET jit = off").await.expect("it is set");
    connection
}

/// Projects the whole log, so many events to a transaction; how many events it were.
pub async fn project(url: &str, batch: usize) -> u64 {
    let mut reader = connect(url).await;
    let mut writer = connect(url).await;
    for statement in [
        "DROP TABLE IF EXISTS raw_balances",
        "DROP TABLE IF EXISTS raw_checkpoint",
        "CREATE TABLE raw_balances (id text PRIMARY KEY, held bigint, events bigint)",
        "CREATE TABLE raw_checkpoint (position bigint)",
        "INSERT INTO raw_checkpoint VALUES (0)",
    ] {
        writer.execute(statement).await.expect("the tables are made");
    }
    let (mut position, mut count) = (0_i64, 0_u64);
    loop {
        let read: Vec<(i64, String, Vec<u8>)> = query_as::<Postgres, _>(
            "SELECT position, stream, data FROM annals.events WHERE position > $1
             ORDER BY position LIMIT $2",
        )
        .bind(position)
        .bind(batch as i64)
        .fetch_all(&mut reader)
        .await
        .expect("the log is read");
        let Some(last) = read.last() else { return count };
        position = last.0;
        count += read.len() as u64;
        let mut changed = HashMap::<&str, (i64, i64)>::new();
        for (_, stream, data) in &read {
            let deposited: Deposited = serde_json::from_slice(data).expect("a deposit");
            let id = stream.split_once('-').expect("a stream id").1;
            let change = changed.entry(id).or_default();
            change.0 += deposited.amount as i64;
            change.1 += 1;
        }
        let ids: Vec<String> = changed.keys().map(|id| (*id).to_owned()).collect();
        let held: Vec<i64> = changed.values().map(|change| change.0).collect();
        let events: Vec<i64> = changed.values().map(|change| change.1).collect();
        // Rows and checkpoint in one statement: one round trip and one commit.
        query::<Postgres>(
            "WITH moved AS (UPDATE raw_checkpoint SET position = $4)
             INSERT INTO raw_balances SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])
             ON CONFLICT (id) DO UPDATE SET held = raw_balances.held + excluded.held,
                 events = raw_balances.events + excluded.events",
        )
        .bind(ids)
        .bind(held)
        .bind(events)
        .bind(position)
        .execute(&mut writer)
        .await
        .expect("the rows are written");
    }
}
