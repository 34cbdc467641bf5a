//! Appends on the wire.

use annals_core::{
    Append, AppendCondition, EventId, ExpectedVersion, Limits, Position, StreamId, StreamReceipt,
    Timestamp, Version,
};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::event::{parse, within};
use crate::{Malformed, NewEvent, Query};

/// One atomic write.
///
/// Events and conditions are kept as text until [`into_append`](Self::into_append) has counted
/// them: a small text can spell out very many of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppendRequest<'a> {
    /// The streams to write to, each named once.
    #[serde(borrow)]
    pub streams: Vec<StreamAppend<'a>>,
    /// What must hold besides the expected versions: each a [`Condition`].
    #[serde(borrow, default)]
    pub conditions: Vec<&'a RawValue>,
}

/// The part of an append that concerns one stream.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamAppend<'a> {
    /// The stream.
    pub stream: StreamId,
    /// What must hold of it: `"any"` when left out.
    #[serde(default = "any")]
    pub expected: ExpectedVersion,
    /// What is added to it: each a [`NewEvent`].
    #[serde(borrow, default)]
    pub events: Vec<&'a RawValue>,
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

impl<'a> AppendRequest<'a> {
    /// Reads the request from JSON.
    ///
    /// # Errors
    /// When it is not JSON, or has unknown or missing fields; the error names them.
    pub fn from_json(json: &'a [u8]) -> Result<Self, Malformed> {
        serde_json::from_slice(json).map_err(Malformed::body)
    }

    /// The append it stands for.
    ///
    /// # Errors
    /// [`Malformed`], when there are more events or conditions than `limits` allow, or one of
    /// them is not what it must be.
    pub fn into_append(self, limits: &Limits) -> Result<Append, Malformed> {
        let events = self.streams.iter().map(|part| part.events.len()).sum();
        within("append_events_max", limits.append_events_max, events)?;
        let conditions = self.conditions.len();
        within("append_conditions_max", limits.append_conditions_max, conditions)?;
        let conditions = self.conditions.iter().enumerate().map(|(index, json)| {
            let condition: Condition = parse(json, || format!("conditions[{index}]"))?;
            Ok(condition.into())
        });
        Ok(Append {
            conditions: conditions.collect::<Result<_, Malformed>>()?,
            streams: self
                .streams
                .into_iter()
                .map(StreamAppend::into_part)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl StreamAppend<'_> {
    fn into_part(self) -> Result<annals_core::StreamAppend, Malformed> {
        let events = self.events.iter().enumerate().map(|(index, json)| {
            let event: NewEvent = parse(json, || format!("events[{index}] of {}", self.stream))?;
            event.into_event()
        });
        Ok(annals_core::StreamAppend {
            events: events.collect::<Result<_, _>>()?,
            stream: self.stream,
            expected: within_range(self.expected),
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
