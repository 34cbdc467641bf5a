//! Appends on the wire.

use annals_core::{Append, AppendCondition, EventId, ExpectedVersion, Position, StreamId};
use annals_core::{StreamReceipt, Timestamp, Version};
use serde::{Deserialize, Serialize, Serializer};

use crate::{Malformed, NewEvent, Query};

/// One atomic write.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppendRequest {
    /// The streams to write to, each named once.
    pub streams: Vec<StreamAppend>,
    /// What must hold besides the expected versions.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// The part of an append that concerns one stream.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamAppend {
    /// The stream.
    pub stream: StreamId,
    /// What must hold of it: `"any"` when left out.
    #[serde(default = "any")]
    pub expected: ExpectedVersion,
    /// What is added to it.
    #[serde(default)]
    pub events: Vec<NewEvent>,
}

/// "Fail if an event matching this query exists after this position."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Which events must not have appeared.
    pub query: Query,
    /// The last position that was taken into account; 0 when left out.
    #[serde(default)]
    pub after: Position,
}

fn any() -> ExpectedVersion {
    ExpectedVersion::Any
}

impl AppendRequest {
    /// Reads the request from JSON.
    ///
    /// # Errors
    /// When it is not JSON, or has unknown or missing fields; the error names them.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// The append it stands for.
    ///
    /// # Errors
    /// [`Malformed`], when fields contradict each other.
    pub fn into_append(self) -> Result<Append, Malformed> {
        let streams = self.streams.into_iter().map(StreamAppend::into_part);
        Ok(Append {
            streams: streams.collect::<Result<_, _>>()?,
            conditions: self.conditions.into_iter().map(Into::into).collect(),
        })
    }
}

impl StreamAppend {
    fn into_part(self) -> Result<annals_core::StreamAppend, Malformed> {
        let events = self.events.into_iter().map(NewEvent::into_event);
        Ok(annals_core::StreamAppend {
            stream: self.stream,
            expected: within_range(self.expected),
            events: events.collect::<Result<_, _>>()?,
        })
    }
}

/// Numbers come in unchecked; [`Version::new`] holds them to the range that stores count on.
fn within_range(expected: ExpectedVersion) -> ExpectedVersion {
    match expected {
        ExpectedVersion::Exact(version) => ExpectedVersion::Exact(Version::new(version.get())),
        other => other,
    }
}

impl From<Condition> for AppendCondition {
    fn from(condition: Condition) -> Self {
        Self { query: condition.query.into(), after: Position::new(condition.after.get()) }
    }
}

impl From<&AppendCondition> for Condition {
    fn from(condition: &AppendCondition) -> Self {
        Self { query: Query::from(&condition.query), after: condition.after }
    }
}

/// What came of an append.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Where its first event stands.
    pub first_position: Position,
    /// Where its last event stands.
    pub last_position: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The streams that were written to, with the version of their last event.
    #[serde(serialize_with = "streams")]
    pub streams: Vec<StreamReceipt>,
    /// The ids of its events in order, with those that the server chose.
    pub event_ids: Vec<EventId>,
}

impl Receipt {
    /// The wire form of the receipt of an append of events with these ids.
    #[must_use]
    pub fn of(receipt: annals_core::Receipt, event_ids: Vec<EventId>) -> Self {
        Self {
            first_position: receipt.first_position,
            last_position: receipt.last_position,
            recorded_at: receipt.recorded_at,
            streams: receipt.streams,
            event_ids,
        }
    }
}

fn streams<S: Serializer>(parts: &[StreamReceipt], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Part<'a> {
        stream: &'a StreamId,
        version: Version,
    }
    serializer
        .collect_seq(parts.iter().map(|part| Part { stream: &part.stream, version: part.version }))
}
