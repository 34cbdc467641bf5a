//! Events as rows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::number::{position, version};
use annals_core::{
    ContentType, Data, EventId, EventType, Metadata, RecordedEvent, StreamId, Tags, Timestamp,
};
use bytes::{Bytes, BytesMut};
use rusqlite::types::{FromSqlError, ValueRef};
use rusqlite::{Connection, Error, Result, Row};

/// The columns that [`Decoder::decode`] expects, in its order.
macro_rules! columns {
    () => {
        "position, stream, version, type, schema_version, recorded_at, occurred_at, id, \
         content_type, tags, metadata, data"
    };
}
pub(crate) use columns;

/// The names of types by their ids, as far as they were needed.
pub(crate) type TypeNames = HashMap<i64, Box<str>>;

/// Makes events of the rows of one page.
///
/// What the events of a page have in common they share, but pages share nothing: otherwise the
/// thread that makes a page and the one that drops another would count references on the same
/// cache line, event by event.
pub(crate) struct Decoder<'r> {
    connection: &'r Connection,
    names: &'r mut TypeNames,
    types: Vec<(i64, EventType)>,
    last_stream: Option<StreamId>,
    chunk: BytesMut,
}

/// Data is copied to chunks of this size, so a single event that is kept keeps no more than
/// this of its neighbours.
const CHUNK_BYTES: usize = 16 * 1024;

impl<'r> Decoder<'r> {
    pub(crate) fn new(connection: &'r Connection, names: &'r mut TypeNames) -> Self {
        let (types, last_stream, chunk) = Default::default();
        Self { connection, names, types, last_stream, chunk }
    }

    pub(crate) fn decode(&mut self, row: &Row<'_>) -> Result<RecordedEvent> {
        let recorded_at = Timestamp::from_micros(row.get(5)?);
        let occurred_at = row.get::<_, Option<i64>>(6)?.map(Timestamp::from_micros);
        Ok(RecordedEvent {
            position: position(row.get(0)?),
            stream: self.stream(text(row, 1)?),
            version: version(row.get(2)?),
            event_type: self.event_type(row.get(3)?)?,
            schema_version: row.get(4)?,
            recorded_at,
            occurred_at: occurred_at.unwrap_or(recorded_at),
            id: EventId::from_bytes(row.get(7)?),
            data: Data {
                content_type: content_type(row, 8)?,
                bytes: self.bytes(row.get_ref(11)?.as_blob().map_err(at(11))?),
            },
            tags: tags(row, 9)?,
            metadata: self.metadata(row, 10)?,
        })
    }

    fn stream(&mut self, name: &str) -> StreamId {
        match &self.last_stream {
            Some(last) if last.as_str() == name => last.clone(),
            _ => self.last_stream.insert(StreamId::from_stored(name)).clone(),
        }
    }

    fn event_type(&mut self, id: i64) -> Result<EventType> {
        // A page has few types.
        if let Some((_, known)) = self.types.iter().find(|(known, _)| *known == id) {
            return Ok(known.clone());
        }
        let name = match self.names.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let select = "SELECT name FROM annals_types WHERE id = ?1";
                let mut statement = self.connection.prepare_cached(select)?;
                unknown.insert(statement.query_row([id], |row| row.get(0))?)
            }
        };
        let event_type = EventType::from_stored(&**name);
        self.types.push((id, event_type.clone()));
        Ok(event_type)
    }

    fn metadata(&mut self, row: &Row<'_>, column: usize) -> Result<Metadata> {
        match row.get_ref(column)? {
            ValueRef::Null => Ok(Metadata::empty()),
            other => Ok(Metadata::from_stored(self.bytes(other.as_bytes().map_err(at(column))?))),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() >= CHUNK_BYTES {
            return Bytes::copy_from_slice(bytes);
        }
        if self.chunk.capacity() < bytes.len() {
            self.chunk = BytesMut::with_capacity(CHUNK_BYTES);
        }
        self.chunk.extend_from_slice(bytes);
        self.chunk.split().freeze()
    }
}

fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str> {
    row.get_ref(column)?.as_str().map_err(at(column))
}

fn content_type(row: &Row<'_>, column: usize) -> Result<ContentType> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(ContentType::JSON),
        other => {
            let name = other.as_str().map_err(at(column))?;
            ContentType::new(name).map_err(|error| at(column)(FromSqlError::other(error)))
        }
    }
}

fn tags(row: &Row<'_>, column: usize) -> Result<Tags> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(Tags::default()),
        other => Ok(Tags::from_stored(other.as_str().map_err(at(column))?)),
    }
}

fn at(column: usize) -> impl Fn(FromSqlError) -> Error {
    move |error| {
        Error::FromSqlConversionFailure(column, rusqlite::types::Type::Null, Box::new(error))
    }
}
