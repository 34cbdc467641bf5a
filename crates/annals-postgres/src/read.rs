//! Reads: a page at a time, the next one under way while one is consumed.
//!
//! No statement and no transaction stays open between pages, so a slow consumer holds up nobody.
//! A read along the log ends at the watermark, one along a stream at its last version, both as
//! they were when the first page was read: a read is a snapshot all the same.

use std::sync::Arc;
use std::time::Duration;

use annals_core::{Direction, EventStream, Position, Read, ReadError, RecordedEvent, Scope};
use futures_util::{StreamExt, TryStreamExt, stream};
use sqlx_core::error::Error;
use sqlx_core::query::query_with;
use sqlx_core::query_as::query_as;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::{PgConnection, Postgres};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::connections::Connections;
use crate::fault::read_error;
use crate::number::{stored_position, stored_version};
use crate::query::{Bounds, Track, page};
use crate::row::{COLUMNS, Decoder, get};
use crate::schema::SchemaName;
use crate::watermark::Watermark;

/// The first page is small: many readers want only a few events. It grows up to the last one …
const PAGE_ROWS: [i64; 3] = [64, 256, 1_024];
/// … or ends once its events have this many bytes.
const PAGE_BYTES: i64 = 1024 * 1024;
/// How often to ask a replica whether it has caught up.
const REPLAY_LOOK: Duration = Duration::from_millis(2);
/// How soon to try again after a failure; it grows up to the second.
const TRY_AGAIN: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];

/// Where events are read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) connections: Arc<Connections>,
    /// Where the log is read, when that is not on the primary.
    pub(crate) replica: Option<Connections>,
    pub(crate) watermark: Watermark,
    pub(crate) schema: SchemaName,
    /// The last head that was seen.
    pub(crate) head: watch::Receiver<Position>,
    pub(crate) patience: Duration,
}

/// What to do when the server cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// Try again for ever, from where the read stands.
    Resume,
    Tell,
}

/// The events that a checked read selects.
pub(crate) fn read(source: Arc<Source>, read: Read, on_failure: OnFailure) -> EventStream {
    let pages = stream::once(async move {
        // Begins with the first event that is asked for, and ends when nobody asks any more.
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(Reader { source, on_failure, sender }.run(read));
        stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|page| (page, receiver))
        })
    });
    let pages = pages.flatten().map_ok(|page| stream::iter(page).map(Ok));
    Box::pin(pages.try_flatten())
}

type Page = Vec<RecordedEvent>;

struct Reader {
    source: Arc<Source>,
    on_failure: OnFailure,
    sender: mpsc::Sender<Result<Page, ReadError>>,
}

/// Where a read stands.
struct Cursor {
    track: Track,
    bounds: Bounds,
    remaining: u64,
    pages: usize,
    /// Whether the end of a stream is still to be fixed.
    open_end: bool,
    /// What a replica must have replayed, when the read is from one.
    replayed: Option<String>,
}

/// Where a read along the log ends.
struct End {
    head: Position,
    replayed: Option<String>,
}

impl Reader {
    async fn run(self, read: Read) {
        let mut pause = TRY_AGAIN[0];
        let mut cursor = None;
        loop {
            match self.next(&read, &mut cursor).await {
                Ok(Some(page)) => {
                    pause = TRY_AGAIN[0];
                    if !page.is_empty() && self.sender.send(Ok(page)).await.is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(ReadError::Unavailable(fault)) if self.on_failure == OnFailure::Resume => {
                    tracing::warn!(%fault, "reading failed; trying again");
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.sender.closed() => return,
                    }
                    pause = (pause * 2).min(TRY_AGAIN[1]);
                }
                Err(error) => {
                    let _ = self.sender.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    /// The next page; `None` at the end.
    async fn next(
        &self,
        read: &Read,
        cursor: &mut Option<Cursor>,
    ) -> Result<Option<Page>, ReadError> {
        let cursor = match cursor {
            Some(cursor) => cursor,
            None => cursor.insert(self.source.open(read).await?),
        };
        if cursor.is_at_end() {
            return Ok(None);
        }
        self.source.page(cursor).await.map(Some)
    }
}

impl Source {
    /// Fixes the bounds of a read to what is there now.
    async fn open(&self, read: &Read) -> Result<Cursor, ReadError> {
        let mut cursor = match &read.scope {
            Scope::Query(query) => {
                let End { head, replayed } = self.end_of_log(read).await?;
                let low = stored_position(read.after);
                let high = stored_position(read.up_to.min(head));
                let mut cursor = Cursor::new(Track::of(query), low, high, read);
                cursor.bounds.seen = stored_position(head);
                cursor.replayed = replayed;
                cursor
            }
            Scope::Stream(stream) => {
                if read.as_at.is_some() {
                    self.watermark.past().await?;
                }
                let low = stored_version(read.from_version).saturating_sub(1).max(0);
                let high = stored_version(read.to_version);
                let track = Track::Stream(stream.clone(), Vec::new());
                let mut cursor = Cursor::new(track, low, high, read);
                cursor.open_end = true;
                cursor
            }
        };
        if matches!(cursor.track, Track::Stream(..))
            && (cursor.on_log(read) || read.after > Position::START || read.up_to < Position::END)
        {
            self.by_version(&mut cursor, read).await?;
        }
        Ok(cursor)
    }

    /// Up to where the log can be read.
    async fn end_of_log(&self, read: &Read) -> Result<End, ReadError> {
        let known = *self.head.borrow();
        let head = match read.as_at {
            Some(_) => self.watermark.past().await?.head,
            None if read.up_to <= known && self.replica.is_none() => known,
            None => self.watermark.covering(read.up_to).await?.head,
        };
        let replayed = match self.replica {
            Some(_) => Some(self.watermark.wal_end().await?),
            None => None,
        };
        Ok(End { head, replayed })
    }

    /// Waits until the server of this connection has replayed so much.
    async fn wait_for_replay(
        &self,
        connection: &mut PgConnection,
        wal_end: &str,
    ) -> Result<(), Error> {
        const HAS: &str =
            "SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= $1::pg_lsn";
        let deadline = Instant::now() + self.patience;
        while !query_scalar::<_, bool>(HAS).bind(wal_end).fetch_one(&mut *connection).await? {
            if timeout_at(deadline, sleep(REPLAY_LOOK)).await.is_err() {
                let lags = format!("the replica has not caught up in {:?}", self.patience);
                return Err(Error::Configuration(lags.into()));
            }
        }
        Ok(())
    }

    /// Turns bounds by position into bounds by version.
    async fn by_version(&self, cursor: &mut Cursor, read: &Read) -> Result<(), ReadError> {
        let Track::Stream(stream, _) = &cursor.track else { return Ok(()) };
        let (after, up_to) = match read.scope {
            Scope::Query(_) => (cursor.bounds.low, cursor.bounds.high),
            Scope::Stream(_) => (stored_position(read.after), stored_position(read.up_to)),
        };
        let select =
            "SELECT {schema}.version_at($1, $2), {schema}.version_at($1, $3), {schema}.holds($4)";
        // On the primary, which has whatever a replica has.
        let ends = self.connections.read(async |mut connection| {
            let ends = query_as::<Postgres, (i64, i64, bool)>(self.schema.statement(select))
                .bind(stream.as_str())
                .bind(after)
                .bind(up_to)
                .bind(cursor.bounds.seen)
                .fetch_one(&mut *connection)
                .await;
            (connection, ends)
        });
        let (low, high, _) = ends.await.map_err(|error| read_error("reading a stream", error))?;
        let by_position = matches!(read.scope, Scope::Query(_));
        cursor.bounds.low = if by_position { low } else { cursor.bounds.low.max(low) };
        cursor.bounds.high = if by_position { high } else { cursor.bounds.high.min(high) };
        cursor.open_end = false;
        Ok(())
    }

    async fn page(&self, cursor: &mut Cursor) -> Result<Page, ReadError> {
        cursor.bounds.rows = cursor.rows();
        let place = &*cursor;
        let replica = self.replica.as_ref().filter(|_| cursor.replayed.is_some());
        let fetched = replica
            .unwrap_or(&self.connections)
            .read(async |mut connection| {
                let fetched = self.fetch(&mut connection, place).await;
                (connection, fetched)
            })
            .await
            .map_err(|error| read_error("reading events", error))?;
        if let Some(last) = fetched.last_version {
            cursor.bounds.high = cursor.bounds.high.min(last);
        }
        cursor.open_end = false;
        cursor.pass(&fetched.events);
        Ok(fetched.events)
    }

    async fn fetch(
        &self,
        connection: &mut PgConnection,
        cursor: &Cursor,
    ) -> Result<Fetched, Error> {
        if let Some(wal_end) = &cursor.replayed {
            self.wait_for_replay(connection, wal_end).await?;
        }
        let (text, arguments) =
            page(&cursor.track, &cursor.bounds, COLUMNS, cursor.open_end).finish(&self.schema)?;
        let mut decoder = Decoder::default();
        let capacity = usize::try_from(cursor.bounds.rows).unwrap_or(0);
        let mut fetched = Fetched { events: Vec::with_capacity(capacity), last_version: None };
        let mut rows = query_with(text, arguments).fetch(connection);
        while let Some(row) = rows.try_next().await? {
            if cursor.open_end && fetched.last_version.is_none() {
                fetched.last_version = Some(get(&row, LAST_COLUMN)?);
            }
            fetched.events.push(decoder.decode(&row)?);
        }
        Ok(fetched)
    }
}

/// A page as it comes from the server.
struct Fetched {
    events: Page,
    /// Where the stream ended when the page was read, if that was asked for.
    last_version: Option<i64>,
}

/// Behind the event's own columns.
const LAST_COLUMN: usize = 12;

impl Cursor {
    fn new(track: Track, low: i64, high: i64, read: &Read) -> Self {
        let Read { direction, as_at, .. } = *read;
        let bounds = Bounds { low, high, seen: 0, direction, as_at, rows: 0, bytes: PAGE_BYTES };
        let remaining = read.limit.unwrap_or(u64::MAX);
        Self { track, bounds, remaining, pages: 0, open_end: false, replayed: None }
    }

    /// Whether the bounds are positions that must become versions.
    fn on_log(&self, read: &Read) -> bool {
        matches!((&self.track, &read.scope), (Track::Stream(..), Scope::Query(_)))
    }

    fn is_at_end(&self) -> bool {
        self.remaining == 0
            || self.bounds.low >= self.bounds.high
            || matches!(self.track, Track::Nowhere)
    }

    fn rows(&self) -> i64 {
        let page = PAGE_ROWS[self.pages.min(PAGE_ROWS.len() - 1)];
        i64::try_from(self.remaining).unwrap_or(i64::MAX).min(page)
    }

    /// Moves the near end past the events of a page.
    fn pass(&mut self, events: &[RecordedEvent]) {
        self.pages += 1;
        let bytes: usize =
            events.iter().map(|e| e.data.bytes.len() + e.metadata.as_json().len()).sum();
        let reached = |count: usize, most: i64| i64::try_from(count).is_ok_and(|c| c >= most);
        let is_full = reached(events.len(), self.bounds.rows) || reached(bytes, PAGE_BYTES);
        self.remaining = match is_full {
            true => self.remaining.saturating_sub(events.len() as u64),
            false => 0,
        };
        let Some(last) = events.last() else { return };
        let last = match self.track {
            Track::Stream(..) => stored_version(last.version),
            _ => stored_position(last.position),
        };
        match self.bounds.direction {
            Direction::Forward => self.bounds.low = last,
            Direction::Backward => self.bounds.high = last - 1,
        }
    }
}
