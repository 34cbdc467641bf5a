//! One append inside a transaction: recognise a repeat, check, write.
//!
//! Everything is checked before anything is written, so a refused append leaves no trace and
//! its neighbours in the same transaction need not know of it. What runs inside an append can only
//! refuse it when it is written: see `inline`.

use std::collections::HashMap;

use annals_core::repeat::{Stored, recognise};
use annals_core::{
    Append, AppendError, Conflict, EventId, EventType, Invalid, NewEvent, Position, Receipt,
    StreamId, StreamReceipt, Tags, Timestamp,
};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Result, Row};

use crate::number::{position, stored_position, version};
use crate::query::find_after;
use crate::stream::{Newest, head_version};

/// What the writing of appends needs; kept by a connection that writes many.
pub(crate) struct Appender<'c> {
    connection: &'c Connection,
    by_id: CachedStatement<'c>,
    insert_event: CachedStatement<'c>,
    insert_tag: CachedStatement<'c>,
    types: HashMap<EventType, i64>,
    /// Streams begun since the totals were written.
    streams_begun: i64,
}

/// How an append ended inside a transaction that can still be committed.
pub(crate) type Outcome = std::result::Result<Receipt, AppendError>;

impl<'c> Appender<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Result<Self> {
        Ok(Self {
            connection,
            by_id: connection.prepare_cached(
                "SELECT position, stream, version, append_index, recorded_at
                 FROM annals_events WHERE id = ?1",
            )?,
            insert_event: connection.prepare_cached(
                "INSERT INTO annals_events
                     (position, stream, version, type, schema_version, append_index, recorded_at,
                      occurred_at, id, content_type, tags, metadata, data)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?,
            insert_tag: connection.prepare_cached(
                "INSERT INTO annals_tags (tag, type, position) VALUES (?1, ?2, ?3)",
            )?,
            types: HashMap::new(),
            streams_begun: 0,
        })
    }

    /// Performs one append that has passed [`Append::check`], and whose conditions are known to
    /// hold up to the position `checked`. `newest` is the newest event of the log and moves
    /// along.
    ///
    /// An error of SQLite leaves the append half done: roll back, and call
    /// [`forget`](Self::forget). Otherwise call [`finish`](Self::finish) before committing.
    pub(crate) fn append(
        &mut self,
        append: &Append,
        checked: Position,
        now: Timestamp,
        newest: &mut Newest,
    ) -> Result<Outcome> {
        match self.repeated(append)? {
            Ok(None) => {}
            Ok(Some(receipt)) => return Ok(Ok(receipt)),
            Err(invalid) => return Ok(Err(invalid.into())),
        }
        match self.check(append, checked)? {
            Ok(heads) => Ok(Ok(self.write(append, &heads, now, newest)?)),
            Err(conflict) => Ok(Err(conflict.into())),
        }
    }

    /// Writes the totals; to be called once behind the last append of a transaction.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let begun = std::mem::take(&mut self.streams_begun);
        if begun > 0 {
            self.connection
                .prepare_cached("UPDATE annals_totals SET streams = streams + ?1")?
                .execute([begun])?;
        }
        Ok(())
    }

    pub(crate) fn connection(&self) -> &'c Connection {
        self.connection
    }

    pub(crate) fn streams_begun(&self) -> i64 {
        self.streams_begun
    }

    /// Drops what was learnt since so many streams were begun, for it was rolled back.
    pub(crate) fn undo(&mut self, streams_begun: i64) {
        self.types.clear();
        self.streams_begun = streams_begun;
    }

    /// Drops what was learnt in a transaction that did not commit.
    pub(crate) fn forget(&mut self) {
        self.types.clear();
        self.streams_begun = 0;
    }

    /// The first receipt, when exactly this append is stored already (S7).
    fn repeated(
        &mut self,
        append: &Append,
    ) -> Result<std::result::Result<Option<Receipt>, Invalid>> {
        let mut found = Vec::new();
        for event in append.events() {
            found.extend(self.stored(event.id)?);
        }
        let Some(last) = found.last() else {
            return Ok(Ok(None));
        };
        let follower: Option<i64> = self
            .connection
            .prepare_cached("SELECT append_index FROM annals_events WHERE position = ?1")?
            .query_row([stored_position(last.position) + 1], |row| row.get(0))
            .optional()?;
        Ok(recognise(append, &found, follower.is_some_and(|index| index > 0)))
    }

    fn stored(&mut self, id: EventId) -> Result<Option<Stored>> {
        let read = |row: &Row<'_>| {
            Ok(Stored {
                id,
                position: position(row.get(0)?),
                stream: StreamId::from_stored(row.get::<_, String>(1)?),
                version: version(row.get(2)?),
                append_index: row.get::<_, u32>(3)?.into(),
                recorded_at: Timestamp::from_micros(row.get(4)?),
            })
        };
        self.by_id.query_row([id.as_bytes()], read).optional()
    }

    /// The version of every stream of the append, or what stands against it (S6).
    fn check(
        &self,
        append: &Append,
        checked: Position,
    ) -> Result<std::result::Result<Vec<i64>, Conflict>> {
        let mut heads = Vec::with_capacity(append.streams.len());
        for part in &append.streams {
            let head = head_version(self.connection, &part.stream)?;
            let found = version(head);
            if !part.expected.accepts(found) {
                let (stream, expected) = (part.stream.clone(), part.expected);
                return Ok(Err(Conflict::Version { stream, expected, found }));
            }
            heads.push(head);
        }
        for condition in &append.conditions {
            let after = stored_position(condition.after.max(checked));
            if let Some(found) = find_after(self.connection, &condition.query, after)? {
                let (condition, found) = (condition.clone(), position(found));
                return Ok(Err(Conflict::Condition { condition, found }));
            }
        }
        Ok(Ok(heads))
    }

    fn write(
        &mut self,
        append: &Append,
        heads: &[i64],
        now: Timestamp,
        newest: &mut Newest,
    ) -> Result<Receipt> {
        newest.recorded_at = newest.recorded_at.max(now);
        let first_position = position(newest.position + 1);
        let mut streams = Vec::with_capacity(append.streams.len());
        let mut append_index = 0;
        for (part, head) in append.streams.iter().zip(heads) {
            let mut last = *head;
            for event in &part.events {
                last += 1;
                newest.position += 1;
                self.insert(&part.stream, last, append_index, event, newest)?;
                append_index += 1;
            }
            if !part.events.is_empty() {
                self.streams_begun += i64::from(*head == 0);
                let version = version(last);
                streams.push(StreamReceipt { stream: part.stream.clone(), version });
            }
        }
        Ok(Receipt {
            first_position,
            last_position: position(newest.position),
            recorded_at: newest.recorded_at,
            streams,
        })
    }

    fn insert(
        &mut self,
        stream: &StreamId,
        version: i64,
        append_index: i64,
        event: &NewEvent,
        at: &Newest,
    ) -> Result<()> {
        let type_id = self.type_id(&event.event_type)?;
        let tags = Tags::new(&event.tags);
        let json = event.data.content_type == annals_core::ContentType::JSON;
        let metadata =
            (!event.metadata.is_empty()).then(|| String::from_utf8_lossy(event.metadata.as_json()));
        self.insert_event.execute(rusqlite::params![
            at.position,
            stream.as_str(),
            version,
            type_id,
            event.schema_version,
            append_index,
            at.recorded_at.as_micros(),
            event.occurred_at.filter(|moment| *moment != at.recorded_at).map(Timestamp::as_micros),
            event.id.as_bytes(),
            (!json).then(|| event.data.content_type.as_str()),
            tags.as_stored(),
            metadata,
            &*event.data.bytes,
        ])?;
        for tag in &tags {
            self.insert_tag.execute((tag, type_id, at.position))?;
        }
        Ok(())
    }

    fn type_id(&mut self, event_type: &EventType) -> Result<i64> {
        if let Some(id) = self.types.get(event_type) {
            return Ok(*id);
        }
        let name = [event_type.as_str()];
        let known = self
            .connection
            .prepare_cached("SELECT id FROM annals_types WHERE name = ?1")?
            .query_row(name, |row| row.get(0))
            .optional()?;
        let id = match known {
            Some(id) => id,
            None => self
                .connection
                .prepare_cached("INSERT INTO annals_types (name) VALUES (?1)")?
                .insert(name)?,
        };
        self.types.insert(event_type.clone(), id);
        Ok(id)
    }
}
