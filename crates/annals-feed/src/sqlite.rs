//! A feed in tables of an SQLite file, searched with FTS5.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use annals::sqlite::{ProjectionTable, SqliteProjection, SqliteReadSide, SqliteRows, TableName};
use annals::{
    CheckpointStore, EventId, Fault, Position, Projector, Query, RecordedEvent, SubscriberName,
    Timestamp,
};
use async_trait::async_trait;
use rusqlite::types::ToSql;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};
use tokio::sync::Semaphore;

use crate::sql::{Bound, Dialect, Found, Statement};
use crate::stored::{StoredEntry, json_of};
use crate::words::words_of;
use crate::{Count, CountBy, Entry, EntryStore, FeedDefinition, FeedError, Filter, Quarter, Slice};

/// So many questions are asked of the file at the same time.
const READERS: usize = 4;
/// How long another process's transaction is waited for.
const BUSY_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const CREATE: &str = "
CREATE TABLE {feed} (
    row INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    part INTEGER NOT NULL,
    event BLOB NOT NULL,
    stream TEXT NOT NULL,
    category TEXT NOT NULL,
    type TEXT NOT NULL,
    actor TEXT,
    reason TEXT,
    batch TEXT,
    batch_description TEXT,
    correlation TEXT,
    occurred_at INTEGER NOT NULL, -- microseconds since 1970
    recorded_at INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    data TEXT NOT NULL,
    UNIQUE (position, part)
) STRICT;
CREATE INDEX {feed}_by_time ON {feed} (occurred_at, position, part);
CREATE INDEX {feed}_by_stream ON {feed} (stream, occurred_at, position, part);
CREATE INDEX {feed}_by_category ON {feed} (category, occurred_at, position, part);
CREATE INDEX {feed}_by_type ON {feed} (type, occurred_at, position, part);
CREATE INDEX {feed}_by_actor ON {feed} (actor, occurred_at, position, part)
    WHERE actor IS NOT NULL;
CREATE INDEX {feed}_by_batch ON {feed} (batch, occurred_at, position, part)
    WHERE batch IS NOT NULL;
CREATE INDEX {feed}_by_correlation ON {feed} (correlation, occurred_at, position, part)
    WHERE correlation IS NOT NULL;";

/// The words were cut before they come here, which the tokenizer leaves as they are.
pub(crate) const CREATE_WORDS: &str = "
CREATE VIRTUAL TABLE {feed_words} USING fts5 (
    words, content = '', detail = none, columnsize = 0, tokenize = 'ascii'
);";

/// The part is how many of its position are there already.
const INSERT: &str = "
INSERT INTO {feed} (position, part, event, stream, category, type, actor, reason, batch,
    batch_description, correlation, occurred_at, recorded_at, metadata, data)
VALUES (?1, (SELECT count(*) FROM {feed} WHERE position = ?1),
    ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
RETURNING row";

const INSERT_WORDS: &str = "INSERT INTO {feed_words} (rowid, words) VALUES (?1, ?2)";

pub(crate) fn feed(
    definition: Arc<FeedDefinition>,
    read_side: &SqliteReadSide,
    path: PathBuf,
) -> (Arc<dyn EntryStore>, Arc<dyn Projector>) {
    let name = definition.name();
    let tables = SqliteTables {
        insert: statement(INSERT, name),
        insert_words: statement(INSERT_WORDS, name),
        definition: Arc::clone(&definition),
    };
    let entries = SqliteFeed {
        definition,
        checkpoints: Arc::new(read_side.clone()),
        path,
        idle: Arc::default(),
        readers: Arc::new(Semaphore::new(READERS)),
    };
    (Arc::new(entries), Arc::new(read_side.projection(tables)))
}

/// A statement for a feed, whose name is harmless.
pub(crate) fn statement(template: &str, name: &str) -> String {
    template.replace("{feed}", &format!("{{{name}}}")).replace("{feed_", &format!("{{{name}_"))
}

/// Keeps entries.
#[derive(Debug)]
struct SqliteTables {
    definition: Arc<FeedDefinition>,
    insert: String,
    insert_words: String,
}

impl SqliteProjection for SqliteTables {
    fn name(&self) -> &SubscriberName {
        self.definition.subscriber()
    }

    fn version(&self) -> u32 {
        self.definition.code_version()
    }

    fn query(&self) -> Query {
        self.definition.query()
    }

    fn tables(&self) -> Vec<ProjectionTable> {
        let name = self.definition.name();
        let words = TableName::new(format!("{name}_words")).expect("a feed's name is harmless");
        vec![
            ProjectionTable::new(TableName::from_static(name), statement(CREATE, name)),
            ProjectionTable::new(words, statement(CREATE_WORDS, name)),
        ]
    }

    fn apply(
        &self,
        rows: &SqliteRows<'_>,
        event: &RecordedEvent,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let Some(entry) = self.definition.entry(event) else { return Ok(()) };
        let batch = entry.batch.as_ref();
        let values: [&dyn ToSql; 14] = [
            &entry.position.get().cast_signed(),
            entry.event.as_bytes(),
            &entry.stream.as_str(),
            &entry.category.as_str(),
            &entry.event_type.as_str(),
            &entry.actor,
            &entry.reason,
            &batch.map(|batch| &batch.id),
            &batch.and_then(|batch| batch.description.as_ref()),
            &entry.correlation,
            &entry.occurred_at.as_micros(),
            &entry.recorded_at.as_micros(),
            &json_of(&entry.metadata),
            &json_of(&entry.data),
        ];
        let row: Option<i64> = rows.query_row(&self.insert, values, |row| row.get(0))?;
        let words: Vec<_> = words_of(&entry).into_iter().collect();
        rows.execute(&self.insert_words, (row, words.join(" ")))?;
        Ok(())
    }
}

/// Reads entries.
#[derive(Debug)]
struct SqliteFeed {
    definition: Arc<FeedDefinition>,
    checkpoints: Arc<dyn CheckpointStore>,
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    readers: Arc<Semaphore>,
}

impl SqliteFeed {
    async fn ask<T: Send + 'static>(
        &self,
        statement: Statement,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, FeedError> {
        let permit = Arc::clone(&self.readers).acquire_owned().await;
        let (path, idle) = (self.path.clone(), Arc::clone(&self.idle));
        let name = self.definition.name();
        let asked = tokio::task::spawn_blocking(move || {
            let _permit = permit.expect("the feed never closes its semaphore");
            let taken = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = taken.map_or_else(|| connect(&path), Ok)?;
            let rows = rows(&connection, &statement, read);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            rows
        });
        let asked = asked.await.map_err(|e| FeedError::Unavailable(Fault::because("asking", e)))?;
        asked.map_err(|error| failure(name, error))
    }
}

fn connect(path: &std::path::Path) -> rusqlite::Result<Connection> {
    // Reading needs no right to write, but the files beside a log that is written ahead do.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_PATIENCE)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn rows<T>(
    connection: &Connection,
    statement: &Statement,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut select = connection.prepare_cached(&statement.text)?;
    for (index, value) in (1..).zip(&statement.values) {
        match value {
            Bound::Number(number) => select.raw_bind_parameter(index, number)?,
            Bound::Text(text) => select.raw_bind_parameter(index, text)?,
            Bound::Texts(texts) => {
                let json = serde_json::to_string(texts).expect("texts are JSON");
                select.raw_bind_parameter(index, json)?;
            }
        }
    }
    select.raw_query().mapped(read).collect()
}

fn failure(name: &'static str, error: rusqlite::Error) -> FeedError {
    let is_missing = error.to_string().contains("no such table");
    match error.sqlite_error_code() {
        Some(ErrorCode::Unknown | ErrorCode::CannotOpen) if is_missing => FeedError::NotBegun(name),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None => {
            FeedError::Corrupt(Fault::because("reading a feed", error))
        }
        _ => FeedError::Unavailable(Fault::because("reading a feed", error)),
    }
}

#[async_trait]
impl EntryStore for SqliteFeed {
    async fn slice(&self, filter: &Filter, slice: Slice) -> Result<Vec<Entry>, FeedError> {
        let table = self.definition.name();
        let found = match filter.words() {
            Some(words) => {
                let probe = Statement::probe(Dialect::Sqlite, table, &words);
                let count = self.ask(probe, |row: &Row<'_>| number(row, 0)).await?;
                Found::of(count.first().copied().unwrap_or_default())
            }
            None => Found::Few,
        };
        let slice = Statement::slice(Dialect::Sqlite, table, filter, found, slice);
        self.ask(slice, stored).await?.into_iter().map(StoredEntry::entry).collect()
    }

    async fn count(
        &self,
        filter: &Filter,
        by: CountBy,
        limit: usize,
    ) -> Result<Vec<Count>, FeedError> {
        let table = self.definition.name();
        let counted = |row: &Row<'_>| Ok(Count { key: row.get(0)?, count: number(row, 1)? });
        self.ask(Statement::count(Dialect::Sqlite, table, filter, by, limit), counted).await
    }

    async fn quarters(&self, filter: &Filter) -> Result<Vec<Quarter>, FeedError> {
        let counted = |row: &Row<'_>| Ok(Quarter::numbered(row.get(0)?, number(row, 1)?));
        let table = self.definition.name();
        self.ask(Statement::quarters(Dialect::Sqlite, table, filter), counted).await
    }

    async fn firsts(&self, filter: &Filter, limit: usize) -> Result<Vec<Entry>, FeedError> {
        let table = self.definition.name();
        let rows = self.ask(Statement::firsts(Dialect::Sqlite, table, filter, limit), stored);
        rows.await?.into_iter().map(StoredEntry::entry).collect()
    }

    async fn reached(&self) -> Result<Position, FeedError> {
        let info = self.checkpoints.subscriber(self.definition.subscriber()).await?;
        Ok(info.and_then(|info| Some(info.active()?.position())).unwrap_or_default())
    }
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredEntry> {
    Ok(StoredEntry {
        position: Position::new(number(row, 0)?),
        part: row.get(1)?,
        event: EventId::from_bytes(row.get(2)?),
        stream: row.get(3)?,
        event_type: row.get(4)?,
        actor: row.get(5)?,
        reason: row.get(6)?,
        batch: row.get(7)?,
        batch_description: row.get(8)?,
        correlation: row.get(9)?,
        occurred_at: Timestamp::from_micros(row.get(10)?),
        recorded_at: Timestamp::from_micros(row.get(11)?),
        metadata: row.get(12)?,
        data: row.get(13)?,
    })
}
