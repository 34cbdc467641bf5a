//! Appends: what is written at once, what must hold for it, and what came of it.

use std::collections::HashSet;

use crate::error::Invalid;
use crate::{
    EventId, ExpectedVersion, Limits, NewEvent, Position, Query, StreamId, Timestamp, Version,
};

/// One atomic write: any number of streams, any number of conditions, all or nothing (S1).
///
/// Events are stored in the order given here, one stream after the other.
///
/// ```
/// use annals_core::{Append, Data, EventType, ExpectedVersion, NewEvent, StreamId};
///
/// let sent = NewEvent::new(EventType::new("TransferSent")?, Data::json(r#"{"amount":5}"#));
/// let received = NewEvent::new(EventType::new("TransferReceived")?, Data::json(r#"{"amount":5}"#));
/// let transfer = Append::to(StreamId::new("account-1")?, ExpectedVersion::StreamExists, [sent])
///     .and_to(StreamId::new("account-2")?, ExpectedVersion::StreamExists, [received]);
/// assert_eq!(transfer.events().count(), 2);
/// # Ok::<(), annals_core::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Append {
    /// The streams to write to, each named once.
    pub streams: Vec<StreamAppend>,
    /// What must hold besides the expected versions.
    pub conditions: Vec<AppendCondition>,
}

/// The part of an append that concerns one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAppend {
    /// The stream.
    pub stream: StreamId,
    /// What must hold of it.
    pub expected: ExpectedVersion,
    /// What is added to it; nothing, when only its version is to be checked.
    pub events: Vec<NewEvent>,
}

/// "Fail if an event matching this query exists after this position."
///
/// A dynamic consistency boundary: decide on what a query returned, then append under the same
/// query and the last position seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendCondition {
    /// Which events must not have appeared.
    pub query: Query,
    /// The last position that was taken into account; [`Position::START`] for none.
    pub after: Position,
}

impl AppendCondition {
    /// No event matching `query` exists.
    #[must_use]
    pub fn none_match(query: Query) -> Self {
        Self { query, after: Position::START }
    }

    /// No event matching `query` exists after `position`.
    #[must_use]
    pub fn none_match_after(query: Query, position: Position) -> Self {
        Self { query, after: position }
    }
}

impl Append {
    /// Adds `events` to one stream.
    #[must_use]
    pub fn to(
        stream: StreamId,
        expected: ExpectedVersion,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Self {
        Self::default().and_to(stream, expected, events)
    }

    /// The same and also adds `events` to another stream.
    #[must_use]
    pub fn and_to(
        mut self,
        stream: StreamId,
        expected: ExpectedVersion,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Self {
        let events = events.into_iter().collect();
        self.streams.push(StreamAppend { stream, expected, events });
        self
    }

    /// The same, refused when `condition` does not hold.
    #[must_use]
    pub fn only_if(mut self, condition: AppendCondition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// All events, in the order they will have in the log.
    pub fn events(&self) -> impl Iterator<Item = &NewEvent> {
        self.streams.iter().flat_map(|part| &part.events)
    }

    /// The bytes of its events that count towards the limit.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.events().map(NewEvent::bytes).sum()
    }

    /// Checks everything that can be checked without the log; every store does so before it
    /// writes anything (S8).
    ///
    /// # Errors
    /// [`Invalid`], naming the first fault found.
    pub fn check(&self, limits: &Limits) -> Result<(), Invalid> {
        limits.check_append(self)?;
        if self.events().next().is_none() {
            return Err(Invalid::NoEvents);
        }
        let mut streams = HashSet::new();
        if let Some(twice) = self.streams.iter().find(|part| !streams.insert(&part.stream)) {
            return Err(Invalid::StreamTwice { stream: twice.stream.clone() });
        }
        let mut ids = HashSet::<EventId>::new();
        if let Some(twice) = self.events().find(|event| !ids.insert(event.id)) {
            return Err(Invalid::IdTwice { id: twice.id });
        }
        Ok(())
    }
}

/// What came of an append. A repeat of the same append returns the same receipt (S7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where its first event stands.
    pub first_position: Position,
    /// Where its last event stands: hand it to a reader to read one's own write.
    pub last_position: Position,
    /// When it was recorded (S9).
    pub recorded_at: Timestamp,
    /// The streams that were written to, in the append's order.
    pub streams: Vec<StreamReceipt>,
}

impl Receipt {
    /// The receipt of an append from where its events stand, in log order; `None` when there
    /// are none. For stores, which give it again when the append is repeated.
    #[must_use]
    pub fn of<'a>(
        recorded_at: Timestamp,
        events: impl IntoIterator<Item = (Position, &'a StreamId, Version)>,
    ) -> Option<Self> {
        let mut events = events.into_iter().peekable();
        let (first_position, ..) = *events.peek()?;
        let (last_position, streams) = (first_position, Vec::new());
        let mut receipt = Self { first_position, last_position, recorded_at, streams };
        for (position, stream, version) in events {
            receipt.last_position = position;
            match receipt.streams.last_mut().filter(|part| part.stream == *stream) {
                Some(part) => part.version = version,
                None => receipt.streams.push(StreamReceipt { stream: stream.clone(), version }),
            }
        }
        Some(receipt)
    }

    /// The version of `stream` after the append, when it was written to.
    #[must_use]
    pub fn version_of(&self, stream: &StreamId) -> Option<Version> {
        self.streams.iter().find(|part| part.stream == *stream).map(|part| part.version)
    }
}

/// What an append did to one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamReceipt {
    /// The stream.
    pub stream: StreamId,
    /// The version of its last event after the append.
    pub version: Version,
}
