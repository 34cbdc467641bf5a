//! A feed in a table of a PostgreSQL database, searched with its full-text index.

use std::sync::Arc;

use annals::postgres::{
    BoxError, PostgresProjection, PostgresReadSide, PostgresRows, ProjectionTable,
};
use annals::{
    CheckpointStore, EventId, Fault, Position, Projector, Query, RecordedEvent, SubscriberName,
    Timestamp,
};
use async_trait::async_trait;
use sqlx_core::arguments::Arguments as _;
use sqlx_core::error::Error;
use sqlx_core::query::{query, query_with};
use sqlx_core::row::Row as _;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::{PgArguments, PgPool, PgRow};

use crate::live::Parts;
use crate::sql::{Bound, Dialect, Found, Statement};
use crate::stored::{StoredEntry, json_of};
use crate::words::words_of;
use crate::{Count, CountBy, Entry, EntryStore, FeedDefinition, FeedError, Filter, Quarter, Slice};

/// Names are compared byte by byte, as everywhere else.
pub(crate) const CREATE: &str = r#"
CREATE TABLE {feed} (
    position bigint NOT NULL,
    part integer NOT NULL,
    event bytea NOT NULL,
    stream text COLLATE "C" NOT NULL,
    category text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    actor text COLLATE "C",
    reason text,
    batch text COLLATE "C",
    batch_description text,
    correlation text COLLATE "C",
    occurred_at bigint NOT NULL, -- microseconds since 1970
    recorded_at bigint NOT NULL,
    metadata text NOT NULL,
    data text NOT NULL,
    words tsvector NOT NULL,
    PRIMARY KEY (position, part)
);
CREATE INDEX ON {feed} (occurred_at, position, part);
CREATE INDEX ON {feed} (stream, occurred_at, position, part);
CREATE INDEX ON {feed} (category, occurred_at, position, part);
CREATE INDEX ON {feed} (type, occurred_at, position, part);
CREATE INDEX ON {feed} (actor, occurred_at, position, part) WHERE actor IS NOT NULL;
CREATE INDEX ON {feed} (batch, occurred_at, position, part) WHERE batch IS NOT NULL;
CREATE INDEX ON {feed} (correlation, occurred_at, position, part) WHERE correlation IS NOT NULL;
CREATE INDEX ON {feed} USING gin (words);"#;

/// Words were cut before they come here, and no dictionary changes them.
const INSERT: &str = "
INSERT INTO {feed} (position, part, event, stream, category, type, actor, reason, batch,
    batch_description, correlation, occurred_at, recorded_at, metadata, data, words)
SELECT position, part, event, stream, category, type, actor, reason, batch,
    batch_description, correlation, occurred_at, recorded_at, metadata, data,
    array_to_tsvector(string_to_array(words, ' '))
FROM unnest($1::bigint[], $2::integer[], $3::bytea[], $4::text[], $5::text[], $6::text[],
    $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[], $13::bigint[],
    $14::text[], $15::text[], $16::text[])
AS e (position, part, event, stream, category, type, actor, reason, batch,
    batch_description, correlation, occurred_at, recorded_at, metadata, data, words)";

const PARTS: &str = "SELECT count(*) FROM {feed} WHERE position = $1";

pub(crate) fn feed(
    definition: Arc<FeedDefinition>,
    read_side: &PostgresReadSide,
) -> (Arc<dyn EntryStore>, Arc<dyn Projector>) {
    let name = definition.name();
    let tables = PostgresTables {
        create: kept(CREATE, name),
        insert: kept(INSERT, name),
        parts: kept(PARTS, name),
        definition: Arc::clone(&definition),
    };
    let entries = PostgresFeed {
        definition,
        checkpoints: Arc::new(read_side.clone()),
        pool: read_side.pool().clone(),
    };
    (Arc::new(entries), Arc::new(read_side.projection(tables)))
}

/// A statement for a feed, whose name is harmless. A feed is defined once in a program, and its
/// projection wants statements that live as long.
fn kept(template: &str, name: &str) -> &'static str {
    template.replace("{feed}", &format!("{{{name}}}")).leak()
}

/// Keeps entries.
#[derive(Debug)]
struct PostgresTables {
    definition: Arc<FeedDefinition>,
    create: &'static str,
    insert: &'static str,
    parts: &'static str,
}

#[async_trait]
impl PostgresProjection for PostgresTables {
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
        vec![ProjectionTable::new(self.definition.name(), self.create)]
    }

    async fn apply(
        &self,
        rows: &mut PostgresRows<'_>,
        event: &RecordedEvent,
    ) -> Result<(), BoxError> {
        let Some(mut entry) = self.definition.entry(event) else { return Ok(()) };
        // How many of its position are there already.
        let row = query(rows.sql(self.parts))
            .bind(entry.position.get().cast_signed())
            .fetch_one(rows.connection())
            .await?;
        entry.part = u32::try_from(row.try_get::<i64, _>(0)?)?;
        self.insert(rows, &[entry]).await
    }

    async fn apply_all(
        &self,
        rows: &mut PostgresRows<'_>,
        events: &[RecordedEvent],
    ) -> Result<(), BoxError> {
        // A stretch never ends within a position.
        let mut parts = Parts::default();
        let entries = events.iter().filter_map(|event| parts.entry(&self.definition, event));
        self.insert(rows, &entries.collect::<Vec<_>>()).await
    }
}

impl PostgresTables {
    async fn insert(&self, rows: &mut PostgresRows<'_>, entries: &[Entry]) -> Result<(), BoxError> {
        fn all<T>(entries: &[Entry], of: impl Fn(&Entry) -> T) -> Vec<T> {
            entries.iter().map(of).collect()
        }
        if entries.is_empty() {
            return Ok(());
        }
        let words = |entry: &Entry| words_of(entry).into_iter().collect::<Vec<_>>().join(" ");
        let batch = |entry: &Entry| entry.batch.clone();
        query(rows.sql(self.insert))
            .bind(all(entries, |entry| entry.position.get().cast_signed()))
            .bind(all(entries, |entry| entry.part.cast_signed()))
            .bind(all(entries, |entry| entry.event.as_bytes().to_vec()))
            .bind(all(entries, |entry| entry.stream.to_string()))
            .bind(all(entries, |entry| entry.category.to_string()))
            .bind(all(entries, |entry| entry.event_type.to_string()))
            .bind(all(entries, |entry| entry.actor.clone()))
            .bind(all(entries, |entry| entry.reason.clone()))
            .bind(all(entries, |entry| batch(entry).map(|batch| batch.id)))
            .bind(all(entries, |entry| batch(entry).and_then(|batch| batch.description)))
            .bind(all(entries, |entry| entry.correlation.clone()))
            .bind(all(entries, |entry| entry.occurred_at.as_micros()))
            .bind(all(entries, |entry| entry.recorded_at.as_micros()))
            .bind(all(entries, |entry| json_of(&entry.metadata)))
            .bind(all(entries, |entry| json_of(&entry.data)))
            .bind(all(entries, words))
            .execute(rows.connection())
            .await?;
        Ok(())
    }
}

/// Reads entries.
#[derive(Debug)]
struct PostgresFeed {
    definition: Arc<FeedDefinition>,
    checkpoints: Arc<dyn CheckpointStore>,
    pool: PgPool,
}

impl PostgresFeed {
    async fn ask<T>(
        &self,
        statement: Statement,
        read: impl Fn(&PgRow) -> Result<T, Error>,
    ) -> Result<Vec<T>, FeedError> {
        let failure = |error| failure(self.definition.name(), error);
        let values = arguments(statement.values).map_err(failure)?;
        let asked = query_with(AssertSqlSafe(statement.text), values).fetch_all(&self.pool);
        asked.await.map_err(failure)?.iter().map(|row| read(row).map_err(failure)).collect()
    }
}

fn arguments(values: Vec<Bound>) -> Result<PgArguments, Error> {
    let mut arguments = PgArguments::default();
    for value in values {
        let added = match value {
            Bound::Number(number) => arguments.add(number),
            Bound::Text(text) => arguments.add(text),
            Bound::Texts(texts) => arguments.add(texts),
        };
        added.map_err(Error::Encode)?;
    }
    Ok(arguments)
}

fn failure(name: &'static str, error: Error) -> FeedError {
    const NO_SUCH_TABLE: &str = "42P01";
    let code = error.as_database_error().and_then(|error| error.code());
    match &error {
        _ if code.as_deref() == Some(NO_SUCH_TABLE) => FeedError::NotBegun(name),
        Error::ColumnDecode { .. } => FeedError::Corrupt(Fault::because("reading a feed", error)),
        _ => FeedError::Unavailable(Fault::because("reading a feed", error)),
    }
}

#[async_trait]
impl EntryStore for PostgresFeed {
    async fn slice(&self, filter: &Filter, slice: Slice) -> Result<Vec<Entry>, FeedError> {
        let table = self.definition.name();
        let found = match filter.words() {
            Some(words) => {
                let probe = Statement::probe(Dialect::Postgres, table, &words);
                let count = self.ask(probe, |row: &PgRow| number(row, 0)).await?;
                Found::of(count.first().copied().unwrap_or_default())
            }
            None => Found::Few,
        };
        let slice = Statement::slice(Dialect::Postgres, table, filter, found, slice);
        self.ask(slice, stored).await?.into_iter().map(StoredEntry::entry).collect()
    }

    async fn count(
        &self,
        filter: &Filter,
        by: CountBy,
        limit: usize,
    ) -> Result<Vec<Count>, FeedError> {
        let table = self.definition.name();
        let counted = |row: &PgRow| Ok(Count { key: row.try_get(0)?, count: number(row, 1)? });
        self.ask(Statement::count(Dialect::Postgres, table, filter, by, limit), counted).await
    }

    async fn quarters(&self, filter: &Filter) -> Result<Vec<Quarter>, FeedError> {
        let table = self.definition.name();
        let counted = |row: &PgRow| Ok(Quarter::numbered(row.try_get(0)?, number(row, 1)?));
        self.ask(Statement::quarters(Dialect::Postgres, table, filter), counted).await
    }

    async fn firsts(&self, filter: &Filter, limit: usize) -> Result<Vec<Entry>, FeedError> {
        let table = self.definition.name();
        let rows = self.ask(Statement::firsts(Dialect::Postgres, table, filter, limit), stored);
        rows.await?.into_iter().map(StoredEntry::entry).collect()
    }

    async fn reached(&self) -> Result<Position, FeedError> {
        let info = self.checkpoints.subscriber(self.definition.subscriber()).await?;
        Ok(info.and_then(|info| Some(info.active()?.position())).unwrap_or_default())
    }
}

fn number(row: &PgRow, column: usize) -> Result<u64, Error> {
    Ok(row.try_get::<i64, _>(column)?.unsigned_abs())
}

fn stored(row: &PgRow) -> Result<StoredEntry, Error> {
    let event: Vec<u8> = row.try_get(2)?;
    let event = event.try_into().map_err(|_| Error::ColumnDecode {
        index: "event".to_owned(),
        source: "an event's id has 16 bytes".into(),
    })?;
    Ok(StoredEntry {
        position: Position::new(number(row, 0)?),
        part: row.try_get::<i32, _>(1)?.cast_unsigned(),
        event: EventId::from_bytes(event),
        stream: row.try_get(3)?,
        event_type: row.try_get(4)?,
        actor: row.try_get(5)?,
        reason: row.try_get(6)?,
        batch: row.try_get(7)?,
        batch_description: row.try_get(8)?,
        correlation: row.try_get(9)?,
        occurred_at: Timestamp::from_micros(row.try_get(10)?),
        recorded_at: Timestamp::from_micros(row.try_get(11)?),
        metadata: row.try_get(12)?,
        data: row.try_get(13)?,
    })
}
