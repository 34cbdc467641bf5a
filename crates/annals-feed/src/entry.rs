//! An entry: what a feed keeps of an event.

use annals::{
    Category, ContentType, Context, EventId, EventType, Metadata, Position, RecordedEvent,
    StreamId, Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most bytes of an actor, a batch's id or a correlation: what is longer is cut.
pub const KEY_BYTES_MAX: usize = 512;

/// What a feed keeps of an event.
///
/// Entries stand in the order of `occurred_at`, and among those of one moment in that of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// Where the event stands in the log.
    pub position: Position,
    /// Which entry of that position it is: 0, unless an upcaster splits the event into several.
    #[serde(default)]
    pub part: u32,
    /// The event's id.
    pub event: EventId,
    /// Its stream.
    pub stream: StreamId,
    /// Its stream's category.
    pub category: Category,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// Who did it; at most [`KEY_BYTES_MAX`] bytes.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The bulk operation that it was a part of.
    pub batch: Option<EntryBatch>,
    /// The conversation that it belongs to; at most [`KEY_BYTES_MAX`] bytes.
    pub correlation: Option<String>,
    /// When it happened in the world.
    pub occurred_at: Timestamp,
    /// When the store recorded it.
    pub recorded_at: Timestamp,
    /// How it came about: a JSON object.
    pub metadata: Value,
    /// What exactly happened; null when the feed does not keep it, or it is not JSON.
    pub data: Value,
}

/// A bulk operation that an event was a part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "an id and its description")]
pub struct EntryBatch {
    /// Its id; at most [`KEY_BYTES_MAX`] bytes.
    pub id: String,
    /// What it was, for people.
    pub description: Option<String>,
}

/// Where an entry stands in a feed: when it happened, where it is in the log, which part it is.
pub type Place = (Timestamp, Position, u32);

impl Entry {
    /// The entry of an event, with everything it says.
    #[must_use]
    pub fn of(event: &RecordedEvent) -> Self {
        let metadata = event.metadata.to_map();
        let text = |key: &str| metadata.get(key).and_then(text_of);
        let is_json = event.data.content_type == ContentType::JSON;
        let data = is_json.then(|| serde_json::from_slice(&event.data.bytes).ok()).flatten();
        Self {
            position: event.position,
            part: 0,
            event: event.id,
            category: event.stream.category(),
            stream: event.stream.clone(),
            event_type: event.event_type.clone(),
            actor: text(Metadata::ACTOR).map(key),
            reason: text(Metadata::REASON),
            batch: metadata.get(Context::BATCH).and_then(batch_of),
            correlation: text(Metadata::CORRELATION).map(key),
            occurred_at: event.occurred_at,
            recorded_at: event.recorded_at,
            metadata: Value::Object(metadata),
            data: data.unwrap_or_default(),
        }
    }

    /// The id of its stream, if that is in this category: `7` of `issue-7`.
    #[must_use]
    pub fn id_in(&self, category: &str) -> Option<&str> {
        let id = self.stream.as_str().strip_prefix(category)?.strip_prefix('-')?;
        (self.category.as_str() == category).then_some(id)
    }

    pub(crate) fn place(&self) -> Place {
        (self.occurred_at, self.position, self.part)
    }

    /// Texts that a database takes and can index, whatever a hook has put there.
    pub(crate) fn bounded(mut self) -> Self {
        self.actor = self.actor.map(key);
        self.reason = self.reason.map(|reason| without_nul(&reason));
        self.correlation = self.correlation.map(key);
        self.batch = self.batch.map(|batch| EntryBatch {
            id: key(batch.id),
            description: batch.description.map(|text| without_nul(&text)),
        });
        self
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn batch_of(value: &Value) -> Option<EntryBatch> {
    let description = value.get("description").and_then(text_of);
    let id = value.get("id").unwrap_or(value);
    Some(EntryBatch { id: key(text_of(id)?), description })
}

/// A text as it is kept to be found by: the same in an entry and in a filter.
pub(crate) fn key(text: impl AsRef<str>) -> String {
    let text = without_nul(text.as_ref());
    let end = text.floor_char_boundary(KEY_BYTES_MAX);
    text[..end].to_owned()
}

/// PostgreSQL has no such text.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
