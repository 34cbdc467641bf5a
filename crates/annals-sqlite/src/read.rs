//! Reads: a page at a time, the next one already on its way while one is consumed.
//!
//! No statement stays open between pages, so a slow consumer holds up nobody. Every page is cut
//! to what was there when the first one was read, so a read is a snapshot all the same.

use std::pin::Pin;
use std::task::{Context, Poll};

use annals_core::{Direction, EventStream, Read, ReadError, RecordedEvent, Scope, StreamId};
use futures_util::Stream;
use rusqlite::{Connection, Params, Result, Rows};

use crate::fault::read_error;
use crate::number::{stored_position, stored_version};
use crate::query::postings::Postings;
use crate::query::{Key, Lists, plan};
use crate::reader::{Answer, Reader, Readers, lost};
use crate::row::{Decoder, columns};
use crate::stream::{newest, position_as_at, version_at};

/// A page grows up to this many events …
const PAGE_EVENTS_MAX: usize = 1_024;
/// … or ends once its events have this many bytes.
const PAGE_BYTES_MAX: usize = 512 * 1024;
/// The first page is small: many readers want only a few events.
const PAGE_EVENTS_FIRST: usize = 64;

/// The events that a checked read selects.
pub(crate) fn read(readers: Readers, read: Read) -> EventStream {
    Box::pin(Pages { readers, events: Vec::new().into_iter(), next: NextPage::Unread(read) })
}

struct Pages {
    readers: Readers,
    events: std::vec::IntoIter<RecordedEvent>,
    next: NextPage,
}

enum NextPage {
    Unread(Read),
    Coming(Answer<Result<Page, ReadError>>),
    None,
}

/// Some events, and where to go on.
struct Page {
    events: Vec<RecordedEvent>,
    rest: Option<Cursor>,
}

impl Stream for Pages {
    type Item = Result<RecordedEvent, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.events.next() {
                return Poll::Ready(Some(Ok(event)));
            }
            match std::mem::replace(&mut self.next, NextPage::None) {
                NextPage::None => return Poll::Ready(None),
                NextPage::Unread(read) => {
                    let first = self.readers.start_job(move |reader| {
                        Cursor::open(reader, &read).and_then(|cursor| cursor.page(reader))
                    });
                    self.next = NextPage::Coming(first);
                }
                NextPage::Coming(mut page) => {
                    let Poll::Ready(arrived) = Pin::new(&mut page).poll(context) else {
                        self.next = NextPage::Coming(page);
                        return Poll::Pending;
                    };
                    match arrived.unwrap_or_else(|_| Err(lost())) {
                        Ok(page) => self.turn(page),
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    }
                }
            }
        }
    }
}

impl Pages {
    fn turn(&mut self, page: Page) {
        self.events = page.events.into_iter();
        if let Some(rest) = page.rest {
            self.next = NextPage::Coming(self.readers.start_job(move |reader| rest.page(reader)));
        }
    }
}

/// Where a read stands.
struct Cursor {
    track: Track,
    direction: Direction,
    remaining: u64,
    page: usize,
}

/// What a read moves along, between a lower and an upper end that close in on each other.
enum Track {
    Log { low: i64, high: i64 },
    Query { postings: Postings<Key>, low: i64, high: i64 },
    Stream { stream: StreamId, low: i64, high: i64 },
}

impl Cursor {
    /// Fixes the bounds of a read to what is there now.
    fn open(reader: &Reader, read: &Read) -> Result<Self, ReadError> {
        Track::open(&reader.connection, read)
            .map(|track| Self {
                track,
                direction: read.direction,
                remaining: read.limit.unwrap_or(u64::MAX),
                page: PAGE_EVENTS_FIRST,
            })
            .map_err(|error| read_error("reading events", error))
    }

    fn page(mut self, reader: &mut Reader) -> Result<Page, ReadError> {
        let count = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(self.page);
        let mut collect = Collect {
            connection: &reader.connection,
            decoder: Decoder::new(&reader.connection, &mut reader.type_names),
            direction: self.direction,
            count,
            bytes: 0,
            events: Vec::with_capacity(count),
        };
        let more = self
            .track
            .advance(&mut collect)
            .map_err(|error| read_error("reading events", error))?;
        let events = collect.events;
        self.remaining -= events.len() as u64;
        self.page = (self.page * 4).min(PAGE_EVENTS_MAX);
        let rest = (more && self.remaining > 0).then_some(self);
        Ok(Page { events, rest })
    }
}

impl Track {
    fn open(connection: &Connection, read: &Read) -> Result<Self> {
        let newest = newest(connection)?;
        let as_at = match read.as_at {
            Some(moment) => position_as_at(connection, newest, moment)?,
            None => newest.position,
        };
        let high = stored_position(read.up_to).min(as_at);
        let low = stored_position(read.after).saturating_add(1);
        match &read.scope {
            Scope::Stream(stream) => {
                let before = version_at(connection, stream, low - 1)?;
                let last = version_at(connection, stream, high)?;
                Ok(Self::Stream {
                    stream: stream.clone(),
                    low: stored_version(read.from_version).max(before + 1),
                    high: stored_version(read.to_version).min(last),
                })
            }
            Scope::Query(query) if query.is_all() => Ok(Self::Log { low, high }),
            Scope::Query(query) => {
                Ok(Self::Query { postings: plan(connection, query)?, low, high })
            }
        }
    }

    /// Collects a page. Whether there may be more.
    fn advance(&mut self, collect: &mut Collect<'_>) -> Result<bool> {
        match self {
            Self::Log { low, high } => {
                let full = collect.log(*low, *high)?;
                collect.close_in(low, high, |event| stored_position(event.position));
                Ok(full)
            }
            Self::Stream { stream, low, high } => {
                let full = collect.stream(stream, *low, *high)?;
                collect.close_in(low, high, |event| stored_version(event.version));
                Ok(full)
            }
            Self::Query { postings, low, high } => {
                let full = collect.query(postings, *low, *high)?;
                collect.close_in(low, high, |event| stored_position(event.position));
                Ok(full)
            }
        }
    }
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

    fn query(&mut self, postings: &mut Postings<Key>, low: i64, high: i64) -> Result<bool> {
        let (connection, direction) = (self.connection, self.direction);
        let lists = Lists { connection, after: low - 1, up_to: high, direction };
        let mut from = match direction {
            Direction::Forward => low,
            Direction::Backward => high,
        };
        let mut statement = connection.prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM annals_events WHERE position = ?1"
        ))?;
        while !self.is_full() {
            let Some(found) = postings.seek(&lists, from, direction)? else {
                return Ok(false);
            };
            self.take(statement.query([found])?)?;
            from = match direction {
                Direction::Forward => found + 1,
                Direction::Backward => found - 1,
            };
        }
        Ok(true)
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
            let event = self.decoder.decode(row)?;
            self.bytes += event.data.bytes.len() + event.metadata.as_json().len();
            self.events.push(event);
        }
        Ok(true)
    }

    fn is_full(&self) -> bool {
        self.events.len() >= self.count || self.bytes >= PAGE_BYTES_MAX
    }

    /// Moves the near end of a range past the last event of the page.
    fn close_in(&self, low: &mut i64, high: &mut i64, place: impl Fn(&RecordedEvent) -> i64) {
        let Some(last) = self.events.last().map(place) else {
            return;
        };
        match self.direction {
            Direction::Forward => *low = last + 1,
            Direction::Backward => *high = last - 1,
        }
    }
}
