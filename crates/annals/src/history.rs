//! History: what happened, event by event.

use std::fmt;
use std::pin::Pin;

use annals_core::{Read, RecordedEvent};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};

use crate::aggregate::stream_of;
use crate::error::LoadError;
use crate::{Aggregate, Annals, Event};

/// A recorded event: what it says, and how it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded<E> {
    /// What happened.
    pub event: E,
    /// When, where and how it was recorded.
    pub stored: RecordedEvent,
}

/// The events of an aggregate, oldest first, read as they are asked for.
///
/// An event that cannot be decoded is an error in its place, and the others follow; after an
/// error of the store the stream ends.
pub type History<E> = Pin<Box<dyn Stream<Item = Result<Recorded<E>, LoadError>> + Send>>;

impl Annals {
    /// The events of the aggregate with this id, oldest first.
    ///
    /// Errors are items of the stream, and those of [`load`](Self::load).
    pub fn history<A: Aggregate>(&self, id: impl fmt::Display) -> History<A::Event> {
        let stream = match stream_of::<A>(id) {
            Ok(stream) => stream,
            Err(invalid) => return Box::pin(stream::iter([Err(invalid.into())])),
        };
        let history = self.store().read(Read::stream(stream));
        Box::pin(history.map_err(LoadError::from).map(|stored| {
            let stored = stored?;
            let event = A::Event::decode(&stored)?;
            Ok(Recorded { event, stored })
        }))
    }
}
