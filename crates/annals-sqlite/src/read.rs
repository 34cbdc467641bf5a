//! Reads: a page at a time, the next ones already on their way while one is consumed.
//!
//! No statement stays open between pages, so a slow consumer holds up nobody. Every page is cut
//! to what was there when the first one was read, so a read is a snapshot all the same.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use annals_core::{Direction, EventStream, Read, ReadError, RecordedEvent, Scope, StreamId};
use futures_util::Stream;
use rusqlite::{Connection, Params, Result, Row, Rows};

use crate::fault::read_error;
use crate::number::{stored_position, stored_version};
use crate::query::{Lists, Members, plan};
use crate::reader::{Answer, Reader, Readers, lost};
use crate::row::{Decoder, columns};
use crate::stream::{newest, position_as_at, version_at};

/// A page grows up to this many events …
const PAGE_EVENTS_MAX: usize = 1_024;
/// … or ends once its events have this many bytes.
const PAGE_BYTES_MAX: usize = 512 * 1024;
/// The first page is small: many readers want only a few events.
const PAGE_EVENTS_FIRST: usize = 64;
/// So many of the positions that answer a query are looked up together …
const MEMBERS_AT_ONCE: usize = 128;
/// … in one stretch of the log, when that is at most so many times as long.
const SKIPPED_MAX: usize = 4;
/// What an index names is not there.
const MISSING: rusqlite::Error = rusqlite::Error::QueryReturnedNoRows;
/// How many pages are on their way at once, where it is known beforehand where they begin.
const PAGES_AHEAD: usize = 2;

/// The events that a checked read selects.
pub(crate) fn read(readers: Readers, read: Read) -> EventStream {
    let (events, coming) = (Vec::new().into_iter(), VecDeque::new());
    Box::pin(Pages { readers, unread: Some(read), events, coming, ahead: None })
}

struct Pages {
    readers: Readers,
    /// The read, until somebody asks for its first event.
    unread: Option<Read>,
    events: std::vec::IntoIter<RecordedEvent>,
    coming: VecDeque<Answer<Result<Page, ReadError>>>,
    /// What no page has been asked for yet, when that does not depend on the pages coming.
    ahead: Option<Cursor>,
}

/// Some events, and where to go on.
struct Page {
    events: Vec<RecordedEvent>,
    /// What the page was to hold but has no room for.
    rest: Option<Cursor>,
    /// What comes behind the page; told by the first one.
    ahead: Option<Cursor>,
}

impl Stream for Pages {
    type Item = Result<RecordedEvent, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(read) = self.unread.take() {
            let first = self.start(move |reader| Cursor::first_page(reader, &read));
            self.coming.push_back(first);
        }
        loop {
            if let Some(event) = self.events.next() {
                return Poll::Ready(Some(Ok(event)));
            }
            let Some(next) = self.coming.front_mut() else { return Poll::Ready(None) };
            let Poll::Ready(arrived) = Pin::new(next).poll(context) else { return Poll::Pending };
            self.coming.pop_front();
            match arrived.unwrap_or_else(|_| Err(lost())) {
                Ok(page) => self.turn(page),
                Err(error) => {
                    self.coming.clear();
                    self.ahead = None;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl Pages {
    fn turn(&mut self, page: Page) {
        self.events = page.events.into_iter();
        self.ahead = page.ahead.or_else(|| self.ahead.take());
        if let Some(rest) = page.rest {
            self.coming.push_front(self.start(move |reader| rest.page(reader)));
        }
        while self.coming.len() < PAGES_AHEAD
            && let Some(next) = self.ahead.take()
        {
            let (next, ahead) = next.split();
            self.ahead = ahead;
            self.coming.push_back(self.start(move |reader| next.page(reader)));
        }
    }

    /// Starts to read a page.
    fn start(
        &self,
        page: impl FnOnce(&mut Reader) -> Result<Page, ReadError> + Send + 'static,
    ) -> Answer<Result<Page, ReadError>> {
        self.readers
            .start_job(move |reader| reader.at_once(|error| read_error("reading", error), page))
    }
}

/// Where a read stands: on a track, between a lower and an upper end that close in on each other.
struct Cursor {
    track: Track,
    low: i64,
    high: i64,
    direction: Direction,
    remaining: u64,
    page: usize,
}

/// What a read moves along, and what its ends count.
enum Track {
    /// Positions.
    Log,
    /// Positions.
    Query(Members),
    /// Versions.
    Stream(StreamId),
}

impl Cursor {
    fn first_page(reader: &mut Reader, read: &Read) -> Result<Page, ReadError> {
        let cursor = Self::open(&reader.connection, read)
            .map_err(|error| read_error("reading events", error))?;
        let (first, ahead) = cursor.split();
        Ok(Page { ahead, ..first.page(reader)? })
    }

    /// Fixes the bounds of a read to what is there now.
    fn open(connection: &Connection, read: &Read) -> Result<Self> {
        let newest = newest(connection)?;
        let as_at = match read.as_at {
            Some(moment) => position_as_at(connection, newest, moment)?,
            None => newest.position,
        };
        let mut high = stored_position(read.up_to).min(as_at);
        let mut low = stored_position(read.after).saturating_add(1);
        let track = match &read.scope {
            Scope::Query(query) if query.is_all() => Track::Log,
            Scope::Query(query) => Track::Query(Members::of(plan(connection, query)?)),
            Scope::Stream(stream) => {
                let before = version_at(connection, stream, low - 1)?;
                let last = version_at(connection, stream, high)?;
                low = stored_version(read.from_version).max(before + 1);
                high = stored_version(read.to_version).min(last);
                Track::Stream(stream.clone())
            }
        };
        let remaining = read.limit.unwrap_or(u64::MAX);
        Ok(Self { track, low, high, direction: read.direction, remaining, page: PAGE_EVENTS_FIRST })
    }

    /// Splits the next page off, where it is known beforehand where it ends: versions have no
    /// gaps, nor have the positions of this store.
    fn split(mut self) -> (Self, Option<Self>) {
        let track = match &self.track {
            Track::Log => Track::Log,
            Track::Stream(stream) => Track::Stream(stream.clone()),
            Track::Query(_) => return (self, None),
        };
        let count = self.count();
        let width = i64::try_from(count).unwrap_or(i64::MAX);
        let (low, high) = (self.low, self.high);
        let (near, far) = match self.direction {
            Direction::Forward => {
                let border = low.saturating_add(width).min(high.saturating_add(1));
                ((low, border - 1), (border, high))
            }
            Direction::Backward => {
                let border = high.saturating_sub(width).max(low.saturating_sub(1));
                ((border + 1, high), (low, border))
            }
        };
        (self.low, self.high) = near;
        let (direction, page) = (self.direction, next_page(self.page));
        let remaining = self.remaining - (count as u64).min(self.remaining);
        let ahead = Self { track, low: far.0, high: far.1, direction, remaining, page };
        (self, (far.0 <= far.1 && remaining > 0).then_some(ahead))
    }

    fn count(&self) -> usize {
        usize::try_from(self.remaining).unwrap_or(usize::MAX).min(self.page)
    }

    fn page(mut self, reader: &mut Reader) -> Result<Page, ReadError> {
        let count = self.count();
        let mut collect = Collect {
            connection: &reader.connection,
            decoder: Decoder::new(&reader.connection, &mut reader.type_names),
            direction: self.direction,
            count,
            bytes: 0,
            events: Vec::with_capacity(count),
        };
        let full = match &mut self.track {
            Track::Log => collect.log(self.low, self.high),
            Track::Query(members) => collect.query(members, self.low, self.high),
            Track::Stream(stream) => collect.stream(stream, self.low, self.high),
        }
        .map_err(|error| read_error("reading events", error))?;
        let events = collect.events;
        self.pass(&events);
        let more = full && self.remaining > 0 && self.low <= self.high;
        Ok(Page { events, rest: more.then_some(self), ahead: None })
    }

    /// Moves the near end past the events of a page.
    fn pass(&mut self, events: &[RecordedEvent]) {
        self.remaining -= (events.len() as u64).min(self.remaining);
        self.page = next_page(self.page);
        let Some(last) = events.last() else { return };
        let last = match self.track {
            Track::Log | Track::Query(_) => stored_position(last.position),
            Track::Stream(_) => stored_version(last.version),
        };
        match self.direction {
            Direction::Forward => self.low = last + 1,
            Direction::Backward => self.high = last - 1,
        }
    }
}

fn next_page(page: usize) -> usize {
    (page * 4).min(PAGE_EVENTS_MAX)
}

/// A page in the making.
struct Collect<'r> {
    connection: &'r Connection,
    decoder: Decoder<'r>,
    direction: Direction,
    count: usize,
    bytes: usize,
    events: Vec<RecordedEvent>,
}

/// The same statement in both directions.
macro_rules! events {
    ($direction:expr, $where:literal, $by:literal) => {
        match $direction {
            Direction::Forward => concat!(
                "SELECT ",
                columns!(),
                " FROM annals_events WHERE ",
                $where,
                " ORDER BY ",
                $by,
                " ASC"
            ),
            Direction::Backward => concat!(
                "SELECT ",
                columns!(),
                " FROM annals_events WHERE ",
                $where,
                " ORDER BY ",
                $by,
                " DESC"
            ),
        }
    };
}

impl Collect<'_> {
    fn log(&mut self, low: i64, high: i64) -> Result<bool> {
        let select = events!(self.direction, "position BETWEEN ?1 AND ?2", "position");
        self.select(select, (low, high))
    }

    fn stream(&mut self, stream: &StreamId, low: i64, high: i64) -> Result<bool> {
        let select =
            events!(self.direction, "version BETWEEN ?1 AND ?2 AND stream = ?3", "version");
        self.select(select, (low, high, stream.as_str()))
    }

    fn query(&mut self, members: &mut Members, low: i64, high: i64) -> Result<bool> {
        let (connection, direction) = (self.connection, self.direction);
        let lists = Lists { connection, after: low - 1, up_to: high, direction };
        while !self.is_full() {
            let wanted = (self.count - self.events.len()).min(MEMBERS_AT_ONCE);
            let next = members.next(&lists, wanted)?;
            let (Some(first), Some(last)) = (next.first(), next.last()) else {
                return Ok(false);
            };
            let (low, high) = (*first.min(last), *last.max(first));
            let before = self.events.len();
            if high.abs_diff(low) < (next.len() * SKIPPED_MAX) as u64 {
                self.among(next, low, high)?;
            } else {
                self.one_by_one(next)?;
            }
            members.pass(self.events.len() - before);
        }
        Ok(true)
    }

    /// The events at some positions that lie close to each other: passing over those between
    /// them costs less than looking for each.
    fn among(&mut self, positions: &[i64], low: i64, high: i64) -> Result<()> {
        let select = events!(self.direction, "position BETWEEN ?1 AND ?2", "position");
        let mut statement = self.connection.prepare_cached(select)?;
        let mut rows = statement.query((low, high))?;
        for &position in positions {
            if self.is_full() {
                return Ok(());
            }
            loop {
                let row = rows.next()?.ok_or(MISSING)?;
                if row.get::<_, i64>(0)? == position {
                    self.add(row)?;
                    break;
                }
            }
        }
        Ok(())
    }

    fn one_by_one(&mut self, positions: &[i64]) -> Result<()> {
        let mut statement = self.connection.prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM annals_events WHERE position = ?1"
        ))?;
        for position in positions {
            if self.is_full() {
                return Ok(());
            }
            let mut rows = statement.query([position])?;
            self.add(rows.next()?.ok_or(MISSING)?)?;
        }
        Ok(())
    }

    /// Adds the rows of a statement until the page is full; whether it became full.
    fn select(&mut self, select: &str, params: impl Params) -> Result<bool> {
        let mut statement = self.connection.prepare_cached(select)?;
        self.take(statement.query(params)?)
    }

    fn take(&mut self, mut rows: Rows<'_>) -> Result<bool> {
        while !self.is_full() {
            let Some(row) = rows.next()? else {
                return Ok(false);
            };
            self.add(row)?;
        }
        Ok(true)
    }

    fn add(&mut self, row: &Row<'_>) -> Result<()> {
        let event = self.decoder.decode(row)?;
        let tags = event.tags.as_stored().map_or(0, str::len);
        self.bytes += event.data.bytes.len() + event.metadata.as_json().len() + tags;
        self.events.push(event);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.events.len() >= self.count || self.bytes >= PAGE_BYTES_MAX
    }
}
