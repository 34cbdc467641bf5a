//! The raw loop on SQLite: reads the log's own table, and upserts rows.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, params};

use crate::bank::Deposited;

/// Projects the whole log, so many events to a transaction; how many events it were.
pub fn project(path: &Path, batch: usize) -> u64 {
    let mut connection = Connection::open(path).expect("the file opens");
    connection
        .execute_batch(
            "PRAGMA synchronous = NORMAL;
             DROP TABLE IF EXISTS raw_balances;
             DROP TABLE IF EXISTS raw_checkpoint;
             CREATE TABLE raw_balances (id TEXT PRIMARY KEY, held INTEGER, events INTEGER) WITHOUT ROWID;
             CREATE TABLE raw_checkpoint (position INTEGER);
             INSERT INTO raw_checkpoint VALUES (0);",
        )
        .expect("the tables are made");
    let reader = Connection::open(path).expect("the file opens");
    let mut select = reader
        .prepare("SELECT position, stream, data FROM annals_events WHERE position > ?1 ORDER BY position LIMIT ?2")
        .expect("the statement is valid");
    let (mut position, mut count) = (0_i64, 0_u64);
    loop {
        let mut changed = HashMap::<String, (i64, i64)>::new();
        let mut read = 0;
        let mut rows = select.query(params![position, batch as i64]).expect("the query runs");
        while let Some(row) = rows.next().expect("the row is read") {
            position = row.get(0).expect("a position");
            let stream = row.get_ref(1).expect("a stream").as_str().expect("text");
            let data = row.get_ref(2).expect("data").as_blob().expect("a blob");
            let deposited: Deposited = serde_json::from_slice(data).expect("a deposit");
            let id = stream.split_once('-').expect("a stream id").1;
            let change = match changed.get_mut(id) {
                Some(change) => change,
                None => changed.entry(id.to_owned()).or_default(),
            };
            change.0 += deposited.amount as i64;
            change.1 += 1;
            read += 1;
        }
        drop(rows);
        if read == 0 {
            return count;
        }
        count += read;
        let transaction = connection.transaction().expect("a transaction");
        {
            let mut upsert = transaction
                .prepare_cached(
                    "INSERT INTO raw_balances VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE
                     SET held = held + excluded.held, events = events + excluded.events",
                )
                .expect("the statement is valid");
            for (id, (held, events)) in &changed {
                upsert.execute(params![id, held, events]).expect("the row is written");
            }
        }
        transaction
            .prepare_cached("UPDATE raw_checkpoint SET position = ?1")
            .and_then(|mut update| update.execute([position]))
            .expect("the checkpoint moves");
        transaction.commit().expect("it commits");
    }
}
