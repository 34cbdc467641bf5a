//! Events as rows.

use std::collections::HashMap;
use std::sync::Arc;

use crate::number::{position, version};
use annals_core::{
    ContentType, Data, EventId, EventType, Metadata, RecordedEvent, StreamId, Tag, Tags, Timestamp,
};
use bytes::Bytes;
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

/// Makes events of rows, sharing what many events have in common.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    types: HashMap<i64, EventType>,
    /// Neighbours are often of one stream.
    last_stream: Option<StreamId>,
}

impl Decoder {
    pub(crate) fn decode(
        &mut self,
        connection: &Connection,
        row: &Row<'_>,
    ) -> Result<RecordedEvent> {
        let recorded_at = Timestamp::from_micros(row.get(5)?);
        let occurred_at = row.get::<_, Option<i64>>(6)?.map(Timestamp::from_micros);
        Ok(RecordedEvent {
            position: position(row.get(0)?),
            stream: self.stream(text(row, 1)?),
            version: version(row.get(2)?),
            event_type: self.event_type(connection, row.get(3)?)?,
            schema_version: row.get(4)?,
            recorded_at,
            occurred_at: occurred_at.unwrap_or(recorded_at),
            id: EventId::from_bytes(row.get(7)?),
            data: Data {
                content_type: content_type(row, 8)?,
                bytes: Bytes::copy_from_slice(row.get_ref(11)?.as_blob().map_err(at(11))?),
            },
            tags: tags(row, 9)?,
            metadata: metadata(row, 10)?,
        })
    }

    fn stream(&mut self, name: &str) -> StreamId {
        match &self.last_stream {
            Some(last) if last.as_str() == name => last.clone(),
            _ => self.last_stream.insert(StreamId::from_stored(name)).clone(),
        }
    }

    fn event_type(&mut self, connection: &Connection, id: i64) -> Result<EventType> {
        if let Some(known) = self.types.get(&id) {
            return Ok(known.clone());
        }
        let mut statement =
            connection.prepare_cached("SELECT name FROM annals_types WHERE id = ?1")?;
        let name: Arc<str> = statement.query_row([id], |row| row.get(0))?;
        let event_type = EventType::from_stored(name);
        self.types.insert(id, event_type.clone());
        Ok(event_type)
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

fn metadata(row: &Row<'_>, column: usize) -> Result<Metadata> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(Metadata::empty()),
        other => {
            let json = other.as_bytes().map_err(at(column))?;
            Ok(Metadata::from_stored(Bytes::copy_from_slice(json)))
        }
    }
}

fn tags(row: &Row<'_>, column: usize) -> Result<Tags> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(Tags::default()),
        other => {
            let lines = other.as_str().map_err(at(column))?;
            Ok(Tags::new(lines.split('\n').map(Tag::from_stored).collect()))
        }
    }
}

fn at(column: usize) -> impl Fn(FromSqlError) -> Error {
    move |error| {
        Error::FromSqlConversionFailure(column, rusqlite::types::Type::Null, Box::new(error))
    }
}

/// The tags of an event as one text: names hold no line breaks.
pub(crate) fn tags_text(tags: &Tags) -> Option<String> {
    let names: Vec<&str> = tags.into_iter().map(Tag::as_str).collect();
    (!names.is_empty()).then(|| names.join("\n"))
}
