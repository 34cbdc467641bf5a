//! Entries as databases hold them.

use annals::{EventId, EventType, Fault, Position, StreamId, Timestamp};
use serde_json::Value;

use crate::store::QUARTER_MICROS;
use crate::{Entry, EntryBatch, FeedError, Quarter};

/// A row.
#[derive(Debug)]
pub(crate) struct StoredEntry {
    pub(crate) position: Position,
    pub(crate) part: u32,
    pub(crate) event: EventId,
    pub(crate) stream: String,
    pub(crate) event_type: String,
    pub(crate) actor: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) batch: Option<String>,
    pub(crate) batch_description: Option<String>,
    pub(crate) correlation: Option<String>,
    pub(crate) occurred_at: Timestamp,
    pub(crate) recorded_at: Timestamp,
    pub(crate) metadata: String,
    pub(crate) data: String,
}

impl StoredEntry {
    pub(crate) fn entry(self) -> Result<Entry, FeedError> {
        let stream = StreamId::new(self.stream).map_err(damaged)?;
        let description = self.batch_description;
        Ok(Entry {
            position: self.position,
            part: self.part,
            event: self.event,
            category: stream.category(),
            stream,
            event_type: EventType::new(self.event_type).map_err(damaged)?,
            actor: self.actor,
            reason: self.reason,
            batch: self.batch.map(|id| EntryBatch { id, description }),
            correlation: self.correlation,
            occurred_at: self.occurred_at,
            recorded_at: self.recorded_at,
            metadata: serde_json::from_str(&self.metadata).map_err(damaged)?,
            data: serde_json::from_str(&self.data).map_err(damaged)?,
        })
    }
}

fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> FeedError {
    FeedError::Corrupt(Fault::because("reading a stored entry", error))
}

/// JSON as it is stored: a text without NUL.
pub(crate) fn json_of(value: &Value) -> String {
    value.to_string()
}

impl Quarter {
    pub(crate) fn numbered(number: i64, count: u64) -> Self {
        Self { begins: Timestamp::from_micros(number.saturating_mul(QUARTER_MICROS)), count }
    }
}
