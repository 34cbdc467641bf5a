//! Events as rows.

use annals_core::{ContentType, Data, EventId, EventType, Metadata, RecordedEvent, StreamId, Tags};
use bytes::Bytes;
use sqlx_core::decode::Decode;
use sqlx_core::error::{BoxDynError, Error};
use sqlx_core::row::Row;
use sqlx_core::value::ValueRef;
use sqlx_postgres::{PgRow, PgValueRef, Postgres};

use crate::moment::Moment;
use crate::number::{position, version};

/// The columns that [`Decoder::decode`] expects of `events e`, in its order.
pub(crate) const COLUMNS: &str = "e.position, e.version, e.schema_version, e.recorded_at, \
     e.occurred_at, e.id, e.stream, e.type, e.content_type, e.tags, e.metadata, e.data";

/// Makes events of the rows of one page; what they have in common they share.
#[derive(Default)]
pub(crate) struct Decoder {
    types: Vec<EventType>,
    last_stream: Option<StreamId>,
}

impl Decoder {
    pub(crate) fn decode(&mut self, row: &PgRow) -> Result<RecordedEvent, Error> {
        let recorded_at = get::<Moment>(row, 3)?.0;
        let occurred_at = optional::<Moment>(row, 4)?.map(|moment| moment.0);
        Ok(RecordedEvent {
            position: position(get(row, 0)?),
            version: version(get(row, 1)?),
            schema_version: u32::try_from(get::<i64>(row, 2)?).map_err(|e| bad(2, e.into()))?,
            recorded_at,
            occurred_at: occurred_at.unwrap_or(recorded_at),
            id: EventId::from_bytes(get::<uuid::Uuid>(row, 5)?.into_bytes()),
            stream: self.stream(get(row, 6)?),
            event_type: self.event_type(get(row, 7)?),
            data: Data {
                content_type: match optional::<&str>(row, 8)? {
                    None => ContentType::JSON,
                    Some(name) => ContentType::new(name).map_err(|e| bad(8, e.into()))?,
                },
                bytes: Bytes::copy_from_slice(get(row, 11)?),
            },
            tags: match optional::<Vec<String>>(row, 9)? {
                None => Tags::default(),
                Some(tags) => Tags::from_stored(&tags.join("\n")),
            },
            metadata: metadata(row, 10)?,
        })
    }

    fn stream(&mut self, name: &str) -> StreamId {
        match &self.last_stream {
            Some(last) if last.as_str() == name => last.clone(),
            _ => self.last_stream.insert(StreamId::from_stored(name)).clone(),
        }
    }

    fn event_type(&mut self, name: &str) -> EventType {
        // A page has few types.
        if let Some(known) = self.types.iter().find(|known| known.as_str() == name) {
            return known.clone();
        }
        let event_type = EventType::from_stored(name);
        self.types.push(event_type.clone());
        event_type
    }
}

/// The text of the metadata as it was stored: PostgreSQL's `json` keeps every byte.
fn metadata(row: &PgRow, column: usize) -> Result<Metadata, Error> {
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        return Ok(Metadata::empty());
    }
    let bytes = value.as_bytes().map_err(|error| bad(column, error))?;
    Ok(Metadata::from_stored(Bytes::copy_from_slice(bytes)))
}

/// A column of a type that the statement is known to have.
pub(crate) fn get<'r, T: Decode<'r, Postgres>>(row: &'r PgRow, column: usize) -> Result<T, Error> {
    decode(row.try_get_raw(column)?, column)
}

/// The same, where it may be null.
pub(crate) fn optional<'r, T: Decode<'r, Postgres>>(
    row: &'r PgRow,
    column: usize,
) -> Result<Option<T>, Error> {
    let value = row.try_get_raw(column)?;
    if value.is_null() { Ok(None) } else { decode(value, column).map(Some) }
}

fn decode<'r, T: Decode<'r, Postgres>>(value: PgValueRef<'r>, column: usize) -> Result<T, Error> {
    T::decode(value).map_err(|error| bad(column, error))
}

fn bad(column: usize, source: BoxDynError) -> Error {
    Error::ColumnDecode { index: column.to_string(), source }
}
