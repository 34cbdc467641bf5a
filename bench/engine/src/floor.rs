//! The floor: the least a program can do for the same durable work on the same engine.
//!
//! The same tables and indexes, prepared statements, one thread that commits all waiting
//! batches in one transaction. No checks, no limits, no types, no errors.

use std::path::Path;

use crossbeam_channel::{Receiver, Sender};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use crate::load::Batch;

const SCHEMA: &str = include_str!("../../../crates/annals-sqlite/src/schema/0001_events.sql");

pub struct Floor {
    batches: Sender<(Batch, oneshot::Sender<i64>)>,
    thread: std::thread::JoinHandle<()>,
}

impl Floor {
    pub fn open(path: &Path) -> Self {
        let connection = connect(path);
        connection.execute_batch(SCHEMA).expect("the schema applies");
        connection
            .execute_batch(
                "CREATE TABLE annals_schema (version INTEGER NOT NULL) STRICT;
                 INSERT INTO annals_schema VALUES (1);",
            )
            .expect("the version is noted");
        Self::start(connection)
    }

    pub fn reopen(path: &Path) -> Self {
        Self::start(connect(path))
    }

    fn start(connection: Connection) -> Self {
        let (batches, queue) = crossbeam_channel::unbounded();
        let thread = std::thread::spawn(move || write(&connection, &queue));
        Self { batches, thread }
    }

    pub async fn append(&self, batch: Batch) -> i64 {
        let (answer, answered) = oneshot::channel();
        self.batches.send((batch, answer)).expect("the writer lives");
        answered.await.expect("the writer answers")
    }

    pub fn close(self) {
        drop(self.batches);
        self.thread.join().expect("the writer ends well");
    }
}

pub fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("the file opens");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 8192; PRAGMA cache_size = -24576;
             PRAGMA temp_store = MEMORY;",
        )
        .expect("the settings apply");
    connection
}

fn write(connection: &Connection, queue: &Receiver<(Batch, oneshot::Sender<i64>)>) {
    let mut begin = connection.prepare("BEGIN IMMEDIATE").unwrap();
    let mut commit = connection.prepare("COMMIT").unwrap();
    let mut head = connection
        .prepare(
            "SELECT version FROM annals_events WHERE stream = ?1 ORDER BY version DESC LIMIT 1",
        )
        .unwrap();
    let mut insert = connection
        .prepare(
            "INSERT INTO annals_events (position, stream, version, type, schema_version,
                 append_index, recorded_at, id, tags, data)
             VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7, ?8, ?9)",
        )
        .unwrap();
    let mut insert_tag = connection
        .prepare("INSERT INTO annals_tags (tag, type, position) VALUES (?1, ?2, ?3)")
        .unwrap();
    let mut position: i64 = connection
        .query_row("SELECT coalesce(max(position), 0) FROM annals_events", [], |row| row.get(0))
        .unwrap();
    connection
        .execute_batch(
            "INSERT OR IGNORE INTO annals_types VALUES
                 (1, 'AccountOpened'), (2, 'MoneyDeposited'), (3, 'MoneyWithdrawn')",
        )
        .unwrap();
    let types = |name: &str| match name {
        "AccountOpened" => 1_i64,
        "MoneyDeposited" => 2,
        _ => 3,
    };
    let mut answers = Vec::new();
    while let Ok(first) = queue.recv() {
        begin.execute([]).unwrap();
        for (batch, answer) in std::iter::once(first).chain(queue.try_iter()).take(1024) {
            let version: Option<i64> =
                head.query_row([&batch.stream], |row| row.get(0)).optional().unwrap();
            let mut version = version.unwrap_or(0);
            for (index, event) in (0_i64..).zip(&batch.events) {
                version += 1;
                position += 1;
                let event_type = types(event.event_type);
                insert
                    .execute(params![
                        position,
                        batch.stream,
                        version,
                        event_type,
                        index,
                        1_763_000_000_000_000_i64,
                        event.id.as_bytes(),
                        event.tag,
                        event.data
                    ])
                    .unwrap();
                if let Some(tag) = &event.tag {
                    insert_tag.execute(params![tag, event_type, position]).unwrap();
                }
            }
            answers.push((answer, position));
        }
        commit.execute([]).unwrap();
        for (answer, position) in answers.drain(..) {
            let _ = answer.send(position);
        }
    }
}

/// Reads every column of every row in log order; what it returns cannot be optimised away.
pub fn scan(connection: &Connection) -> (u64, u64) {
    read(connection, "ORDER BY position", [])
}

pub fn read_stream(connection: &Connection, stream: &str) -> (u64, u64) {
    read(connection, "WHERE stream = ?1 ORDER BY version", [stream])
}

pub fn read_tag(connection: &Connection, tag: &str) -> (u64, u64) {
    read(
        connection,
        "WHERE position IN (SELECT position FROM annals_tags WHERE tag = ?1) ORDER BY position",
        [tag],
    )
}

fn read(connection: &Connection, which: &str, params: impl rusqlite::Params) -> (u64, u64) {
    let mut statement = connection
        .prepare_cached(&format!(
            "SELECT position, stream, version, type, schema_version, recorded_at, occurred_at, id,
                 content_type, tags, metadata, data FROM annals_events {which}"
        ))
        .unwrap();
    let mut rows = statement.query(params).unwrap();
    let (mut events, mut bytes) = (0, 0);
    while let Some(row) = rows.next().unwrap() {
        let numbers: i64 = row.get::<_, i64>(0).unwrap()
            + row.get::<_, i64>(2).unwrap()
            + row.get::<_, i64>(3).unwrap()
            + row.get::<_, i64>(4).unwrap()
            + row.get::<_, i64>(5).unwrap()
            + row.get::<_, Option<i64>>(6).unwrap().unwrap_or(0);
        events += 1;
        bytes += std::hint::black_box(numbers) as u64 & 1;
        for column in [1, 7, 8, 9, 10, 11] {
            if let Ok(text) = row.get_ref(column).unwrap().as_bytes() {
                bytes += text.len() as u64;
            }
        }
    }
    (events, bytes)
}
