//! Snapshots: written by the writer as a chore, read by the readers.

use std::sync::Arc;
use std::time::Instant;

use annals_core::{
    Category, EventId, Fingerprint, SelectSnapshots, Snapshot, SnapshotError, SnapshotInfo,
    SnapshotInfos, SnapshotStore, StreamId, Timestamp,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Result, named_params};
use tokio::sync::oneshot;

use crate::SqliteStore;
use crate::chore::{Chore, Task};
use crate::fault::read_error;
use crate::number::{stored_version, version};
use crate::reader::Readers;
use crate::writer::Request;

/// The most bytes of snapshots that wait for the writer; they take no room from appends.
pub(crate) const CHORES_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// How many snapshots are listed, or dropped, at once.
const PAGE_SNAPSHOTS: usize = 256;

#[async_trait]
impl SnapshotStore for SqliteStore {
    /// Appends go first, and nobody waits for the disk: a snapshot may be lost when the power
    /// fails.
    async fn save_snapshot(&self, snapshot: Snapshot) -> std::result::Result<(), SnapshotError> {
        self.shared().limits.check_snapshot(&snapshot)?;
        let bytes = snapshot.state.len();
        self.ask(Task::Save(snapshot), bytes).await.map(drop)
    }

    async fn load_snapshot(
        &self,
        stream: &StreamId,
        fold: &Fingerprint,
    ) -> std::result::Result<Option<Snapshot>, SnapshotError> {
        let (stream, fold) = (stream.clone(), fold.clone());
        let loaded = self.shared().readers.run(move |reader| {
            load(&reader.connection, stream, fold)
                .map_err(|error| read_error("loading a snapshot", error))
        });
        Ok(loaded.await?)
    }

    async fn drop_snapshots(
        &self,
        which: SelectSnapshots,
    ) -> std::result::Result<u64, SnapshotError> {
        let mut dropped = 0;
        let mut pages = Box::pin(pages(self.shared().readers.clone(), which));
        while let Some(page) = pages.try_next().await? {
            dropped += self.ask(Task::Drop(page), PAGE_SNAPSHOTS).await?;
        }
        Ok(dropped)
    }

    fn snapshots(&self, which: SelectSnapshots) -> SnapshotInfos {
        let pages = pages(self.shared().readers.clone(), which);
        Box::pin(pages.map_ok(|page| stream::iter(page.into_iter().map(Ok))).try_flatten())
    }
}

impl SqliteStore {
    async fn ask(&self, task: Task, bytes: usize) -> std::result::Result<u64, SnapshotError> {
        let room = Arc::clone(&self.shared().chores).acquire_many_owned(permits(bytes)).await;
        let room = room.map_err(|_| SnapshotError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let chore = Chore { task, answer, since: Instant::now(), _room: room };
        let request = Request::Chore(chore);
        self.shared().writer.send(request).map_err(|_| SnapshotError::Closed)?;
        answered.await.unwrap_or(Err(SnapshotError::Closed))
    }
}

/// At least some, so that the empty ones are bounded too.
fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1_024, CHORES_BYTES_MAX)
}

pub(crate) fn save(connection: &Connection, snapshot: &Snapshot) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO annals_snapshots (stream, fold, version, taken_at, last_event, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (stream, fold) DO UPDATE
             SET version = excluded.version, taken_at = excluded.taken_at,
                 last_event = excluded.last_event, state = excluded.state
             WHERE excluded.version >= annals_snapshots.version",
        )?
        .execute((
            snapshot.stream.as_str(),
            snapshot.fold.as_str(),
            stored_version(snapshot.version),
            snapshot.taken_at.as_micros(),
            snapshot.last_event.as_bytes(),
            snapshot.state.as_ref(),
        ))?;
    Ok(())
}

/// Drops those of these snapshots that are there still.
pub(crate) fn drop_seen(connection: &Connection, infos: &[SnapshotInfo]) -> Result<u64> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM annals_snapshots
         WHERE stream = ?1 AND fold = ?2 AND version = ?3 AND taken_at = ?4",
    )?;
    let mut dropped = 0;
    for info in infos {
        let (version, taken_at) = (stored_version(info.version), info.taken_at.as_micros());
        let key = (info.stream.as_str(), info.fold.as_str(), version, taken_at);
        dropped += delete.execute(key)? as u64;
    }
    Ok(dropped)
}

fn load(connection: &Connection, stream: StreamId, fold: Fingerprint) -> Result<Option<Snapshot>> {
    let mut select = connection.prepare_cached(
        "SELECT version, taken_at, last_event, state FROM annals_snapshots
         WHERE stream = ?1 AND fold = ?2",
    )?;
    let found = select.query_row((stream.as_str(), fold.as_str()), |row| {
        let state = row.get_ref(3)?.as_blob()?;
        Ok((
            version(row.get(0)?),
            Timestamp::from_micros(row.get(1)?),
            EventId::from_bytes(row.get(2)?),
            Bytes::copy_from_slice(state),
        ))
    });
    Ok(found.optional()?.map(|(version, taken_at, last_event, state)| Snapshot {
        stream,
        fold,
        version,
        last_event,
        taken_at,
        state,
    }))
}

/// The snapshots that are selected, some at a time: between two pages no statement is open.
fn pages(
    readers: Readers,
    which: SelectSnapshots,
) -> impl Stream<Item = std::result::Result<Vec<SnapshotInfo>, SnapshotError>> + Send {
    let which = Arc::new(which);
    let start = Some((first_name(&which).to_owned(), String::new()));
    stream::try_unfold(start, move |behind| {
        let (readers, which) = (readers.clone(), Arc::clone(&which));
        async move {
            let Some(behind) = behind else { return Ok(None) };
            let page = readers
                .run(move |reader| {
                    page(&reader.connection, &which, &behind)
                        .map_err(|error| read_error("listing snapshots", error))
                })
                .await?;
            let last = page.last().filter(|_| page.len() == PAGE_SNAPSHOTS);
            let next = last.map(|info| (info.stream.to_string(), info.fold.to_string()));
            Ok((!page.is_empty()).then_some((page, next)))
        }
    })
}

/// Where to begin: no stream that is selected has a name before this.
fn first_name(which: &SelectSnapshots) -> &str {
    let category = which.category.as_ref().map_or("", Category::as_str);
    which.stream.as_ref().map_or(category, StreamId::as_str)
}

/// Where to end: no stream that is selected has this name or a later one.
fn end_of_names(which: &SelectSnapshots) -> Value {
    match (&which.stream, &which.category) {
        // Names hold no control characters.
        (Some(stream), _) => Value::Text(format!("{stream}\0")),
        // What stands behind every `-`.
        (None, Some(category)) => Value::Text(format!("{category}.")),
        // A blob: to SQLite they all stand behind all texts.
        (None, None) => Value::Blob(Vec::new()),
    }
}

fn page(
    connection: &Connection,
    which: &SelectSnapshots,
    behind: &(String, String),
) -> Result<Vec<SnapshotInfo>> {
    let mut select = connection.prepare_cached(
        "SELECT stream, fold, version, taken_at, length(state) FROM annals_snapshots
         WHERE (stream, fold) > (:stream, :fold) AND stream < :end
             AND (:category IS NULL OR stream = :category
                  OR (stream >= :category || '-' AND stream < :category || '.'))
             AND (:only_fold IS NULL OR fold = :only_fold)
             AND (:not_fold IS NULL OR fold <> :not_fold)
             AND (:before IS NULL OR taken_at < :before)
         ORDER BY stream, fold LIMIT :count",
    )?;
    let infos = select.query_map(
        named_params! {
            ":stream": behind.0,
            ":fold": behind.1,
            ":end": end_of_names(which),
            ":category": which.category.as_ref().map(Category::as_str),
            ":only_fold": which.fold.as_ref().map(Fingerprint::as_str),
            ":not_fold": which.every_fold_but.as_ref().map(Fingerprint::as_str),
            ":before": which.taken_before.map(Timestamp::as_micros),
            ":count": i64::try_from(PAGE_SNAPSHOTS).unwrap_or(i64::MAX),
        },
        |row| {
            Ok(SnapshotInfo {
                stream: StreamId::from_stored(row.get::<_, String>(0)?),
                fold: Fingerprint::from_stored(row.get::<_, String>(1)?),
                version: version(row.get(2)?),
                taken_at: Timestamp::from_micros(row.get(3)?),
                bytes: row.get::<_, i64>(4)?.unsigned_abs(),
            })
        },
    )?;
    infos.collect()
}
