//! A projection without its input and output, so that every database can run it where it likes.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;

use bytes::Bytes;

use super::RowKey;
use crate::{EventId, Position, Query, RecordedEvent, SubscriberName};

/// What becomes of rows because of events: pure, and the same wherever it runs.
///
/// Whoever runs it asks for the keys of an event, gets the rows with them from wherever they
/// are, lets it fold, and writes what has changed.
pub trait RowFold: Send + Sync + fmt::Debug {
    /// The projection's name.
    fn name(&self) -> &SubscriberName;

    /// The version of its code.
    fn version(&self) -> u32;

    /// Which events concern it.
    fn query(&self) -> Query;

    /// The keys of all rows that it looks at, or changes, because of an event.
    ///
    /// # Errors
    /// When the event cannot be understood.
    fn keys(&self, event: &RecordedEvent) -> Result<Vec<RowKey>, PoisonEvent>;

    /// Applies an event. `rows` has the present value of each row that exists among its
    /// [`keys`](Self::keys), and perhaps others; what is missing afterwards is to be taken away.
    /// It changes only rows among those keys for which `owns` says yes.
    ///
    /// # Errors
    /// When the event cannot be understood, or a row not be read. Then no row has changed.
    fn fold(
        &self,
        event: &RecordedEvent,
        rows: &mut HashMap<RowKey, Bytes>,
        owns: &dyn Fn(&RowKey) -> bool,
    ) -> Result<(), PoisonEvent>;
}

/// An event that a subscriber cannot apply, however often it tries.
#[derive(Debug, thiserror::Error)]
#[error(
    "the event at position {position} cannot be applied; mend the code, then resume or rebuild"
)]
#[expect(clippy::exhaustive_structs, reason = "callers make it")]
pub struct PoisonEvent {
    /// Where the event stands.
    pub position: Position,
    /// Its id.
    pub event: EventId,
    /// Why.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

impl PoisonEvent {
    /// The event that it is, and why.
    pub fn new(event: &RecordedEvent, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { position: event.position, event: event.id, source: source.into() }
    }
}
