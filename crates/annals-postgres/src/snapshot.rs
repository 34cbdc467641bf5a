//! Snapshots: a row of a table for each stream and fold.
//!
//! They are read where they are written, on the primary, and need no watermark: a snapshot is one
//! row, seen as one transaction or another left it.

use std::sync::Arc;

use annals_core::{
    EventId, EventStore, Fingerprint, SelectSnapshots, Snapshot, SnapshotError, SnapshotInfo,
    SnapshotInfos, SnapshotStore, StreamId,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use sqlx_core::error::Error;
use sqlx_core::query::query;
use sqlx_core::query_as::query_as_with;
use sqlx_postgres::{PgRow, Postgres};
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use crate::PostgresStore;
use crate::connections::no_answer;
use crate::fault::read_error;
use crate::moment::Moment;
use crate::number::{count, stored_version, version};
use crate::read::Source;
use crate::row::get;
use crate::sql::Sql;

/// How many callers save or drop snapshots at once.
pub(crate) const WRITING_MAX: usize = 2;
/// How many snapshots are listed, or dropped, at once.
const PAGE_SNAPSHOTS: usize = 256;

/// The newest is kept, whoever comes first. The commit is not waited for: neither the disk nor a
/// standby must have what can be made again.
const SAVE: &str = "INSERT INTO {schema}.snapshots AS s
        (stream, fold, version, taken_at, last_event, state)
    SELECT $1, $2, $3, $4, $5, $6 FROM set_config('synchronous_commit', 'off', true)
    ON CONFLICT (stream, fold) DO UPDATE
    SET version = excluded.version, taken_at = excluded.taken_at,
        last_event = excluded.last_event, state = excluded.state
    WHERE excluded.version >= s.version";

const LOAD: &str = "SELECT s.version, s.taken_at, s.last_event, s.state FROM {schema}.snapshots s
    WHERE s.stream = $1 AND s.fold = $2";

#[async_trait]
impl SnapshotStore for PostgresStore {
    /// Nobody waits for the disk or a standby: a snapshot may be lost when the server's power
    /// fails, or another server takes over.
    async fn save_snapshot(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        self.limits().check_snapshot(&snapshot)?;
        let _turn = self.turn().await?;
        let Source { connections, schema, .. } = &*self.shared().source;
        // It may be saved twice.
        let saved = connections.read(async |mut connection| {
            let saved = query::<Postgres>(schema.statement(SAVE))
                .bind(snapshot.stream.as_str())
                .bind(snapshot.fold.as_str())
                .bind(stored_version(snapshot.version))
                .bind(Moment(snapshot.taken_at))
                .bind(uuid::Uuid::from(snapshot.last_event))
                .bind(&*snapshot.state)
                .execute(&mut *connection)
                .await;
            (connection, saved)
        });
        saved.await.map(drop).map_err(|error| failed("saving a snapshot", error))
    }

    async fn load_snapshot(
        &self,
        stream: &StreamId,
        fold: &Fingerprint,
    ) -> Result<Option<Snapshot>, SnapshotError> {
        let Source { connections, schema, .. } = &*self.shared().source;
        let row = connections.read(async |mut connection| {
            let row = query::<Postgres>(schema.statement(LOAD))
                .bind(stream.as_str())
                .bind(fold.as_str())
                .fetch_optional(&mut *connection)
                .await;
            (connection, row)
        });
        let loaded =
            row.await.and_then(|row| row.map(|row| decode(&row, stream, fold)).transpose());
        loaded.map_err(|error| failed("loading a snapshot", error))
    }

    async fn drop_snapshots(&self, which: SelectSnapshots) -> Result<u64, SnapshotError> {
        let _turn = self.turn().await?;
        let source = &self.shared().source;
        let (mut behind, mut dropped) = (Key::default(), 0);
        loop {
            let page = source.drop_page(&which, &behind).await;
            let page = page.map_err(|error| failed("dropping snapshots", error))?;
            let Some((count, last)) = page else { return Ok(dropped) };
            dropped += count;
            behind = last;
        }
    }

    fn snapshots(&self, which: SelectSnapshots) -> SnapshotInfos {
        let (source, which) = (Arc::clone(&self.shared().source), Arc::new(which));
        let pages = stream::try_unfold(Some(Key::default()), move |behind| {
            let (source, which) = (Arc::clone(&source), Arc::clone(&which));
            async move {
                let Some(behind) = behind else { return Ok(None) };
                let page = source.list_page(&which, &behind).await;
                let page = page.map_err(|error| failed("listing snapshots", error))?;
                let last = page.last().filter(|_| page.len() == PAGE_SNAPSHOTS);
                let next = last.map(|info| Key(info.stream.to_string(), info.fold.to_string()));
                Ok::<_, SnapshotError>(Some((stream::iter(page.into_iter().map(Ok)), next)))
            }
        });
        Box::pin(pages.try_flatten())
    }
}

impl PostgresStore {
    /// Few of those who write snapshots have a connection at once: the others are for events.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, SnapshotError> {
        self.shared().snapshots.acquire().await.map_err(|_| SnapshotError::Closed)
    }
}

fn failed(doing: &'static str, error: Error) -> SnapshotError {
    read_error(doing, error).into()
}

fn decode(row: &PgRow, stream: &StreamId, fold: &Fingerprint) -> Result<Snapshot, Error> {
    Ok(Snapshot {
        stream: stream.clone(),
        fold: fold.clone(),
        version: version(get(row, 0)?),
        taken_at: get::<Moment>(row, 1)?.0,
        last_event: EventId::from(get::<uuid::Uuid>(row, 2)?),
        state: Bytes::copy_from_slice(get(row, 3)?),
    })
}

/// Stream and fold of a snapshot; empty before the first.
#[derive(Debug, Clone, Default)]
struct Key(String, String);

impl Source {
    async fn list_page(
        &self,
        which: &SelectSnapshots,
        behind: &Key,
    ) -> Result<Vec<SnapshotInfo>, Error> {
        type Row = (String, String, i64, Moment, i64);
        let rows = self.connections.read(async |mut connection| {
            let mut sql = Sql::new();
            sql.push(
                "SELECT s.stream, s.fold, s.version, s.taken_at, octet_length(s.state)::bigint ",
            );
            select(&mut sql, which, behind);
            let rows = match sql.finish(&self.schema) {
                Ok((statement, arguments)) => {
                    let rows = query_as_with::<Postgres, Row, _>(statement, arguments);
                    rows.fetch_all(&mut *connection).await
                }
                Err(error) => Err(error),
            };
            (connection, rows)
        });
        let info = |(stream, fold, at, taken_at, bytes): Row| SnapshotInfo {
            stream: StreamId::from_stored(stream),
            fold: Fingerprint::from_stored(fold),
            version: version(at),
            taken_at: taken_at.0,
            bytes: bytes.unsigned_abs(),
        };
        Ok(rows.await?.into_iter().map(info).collect())
    }

    /// Drops the next ones: how many, and which was the last that was looked at. None when there
    /// are no more.
    async fn drop_page(
        &self,
        which: &SelectSnapshots,
        behind: &Key,
    ) -> Result<Option<(u64, Key)>, Error> {
        let mut sql = Sql::new();
        sql.push("WITH page AS MATERIALIZED (SELECT s.stream, s.fold, s.version, s.taken_at ");
        select(&mut sql, which, behind);
        // What has taken the place of one meanwhile is not what was selected.
        sql.push(
            "), dropped AS (
                 DELETE FROM {schema}.snapshots s USING page p
                 WHERE (s.stream, s.fold, s.version, s.taken_at)
                     = (p.stream, p.fold, p.version, p.taken_at)
                 RETURNING 1)
             SELECT (SELECT count(*) FROM dropped), p.stream, p.fold FROM page p
             ORDER BY p.stream DESC, p.fold DESC LIMIT 1",
        );
        let (statement, arguments) = sql.finish(&self.schema)?;
        // One that answers: this is not repeated, or the count would not be true.
        let mut connection = self.connections.take_tested().await?;
        let limit = self.connections.limit();
        let page = query_as_with::<Postgres, (i64, String, String), _>(statement, arguments);
        let page = timeout(limit, page.fetch_optional(&mut *connection)).await;
        let page = page.unwrap_or_else(|_| Err(no_answer(limit)));
        match &page {
            Ok(_) => self.connections.give_back(connection),
            Err(error) => self.connections.put_away(connection, error),
        }
        let key = |(dropped, stream, fold): (i64, String, String)| {
            (dropped.unsigned_abs(), Key(stream, fold))
        };
        Ok(page?.map(key))
    }
}

/// From the table on: the next ones that are selected, in their order.
fn select(sql: &mut Sql, which: &SelectSnapshots, behind: &Key) {
    sql.push("FROM {schema}.snapshots s WHERE (s.stream, s.fold) > (");
    sql.bind(behind.0.clone()).push(", ").bind(behind.1.clone()).push(")");
    if let Some(stream) = &which.stream {
        sql.push(" AND s.stream = ").bind(stream.to_string());
    }
    if let Some(category) = &which.category {
        // Between `account` and `account-1` there may be others, `account!` for example.
        sql.push(" AND s.stream >= ").bind(category.to_string());
        sql.push(" AND s.stream < ").bind(format!("{category}."));
        sql.push(" AND split_part(s.stream, '-', 1) = ").bind(category.to_string());
    }
    if let Some(fold) = &which.fold {
        sql.push(" AND s.fold = ").bind(fold.to_string());
    }
    if let Some(fold) = &which.every_fold_but {
        sql.push(" AND s.fold <> ").bind(fold.to_string());
    }
    if let Some(moment) = which.taken_before {
        sql.push(" AND s.taken_at < ").bind(Moment(moment));
    }
    sql.push(" ORDER BY s.stream, s.fold LIMIT ").bind(i64::from(count(PAGE_SNAPSHOTS)));
}
