//! History: what happened, event by event.

use std::fmt;
use std::pin::Pin;

use annals_core::{Read, RecordedEvent};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};

use crate::aggregate::stream_of;
use crate::error::LoadError;
use crate::{Aggregate, Annals, Event};

/// A recorded event: what it says, and the record that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded<E> {
    /// What happened.
    pub event: E,
    /// When, where and how it was recorded.
    pub record: RecordedEvent,
}

/// The events of an aggregate, oldest first, read as they are asked for.
///
/// After an error the stream ends.
pub type History<E> = Pin<Box<dyn Stream<Item = Result<Recorded<E>, LoadError>> + Send>>;

impl Annals {
    /// The events of the aggregate with this id, oldest first.
    ///
    /// Errors are items of the stream, which ends after the first; they are those of
    /// [`load`](Self::load).
    pub fn history<A: Aggregate>(&self, id: impl fmt::Display) -> History<A::Event> {
        let stream = match stream_of::<A>(id) {
            Ok(stream) => stream,
            Err(invalid) => return Box::pin(stream::iter([Err(invalid.into())])),
        };
        let records = self.store().read(Read::stream(stream));
        Box::pin(records.map_err(LoadError::from).map(|record| {
            let record = record?;
            let event = A::Event::decode(&record)?;
            Ok(Recorded { event, record })
        }))
    }
}
