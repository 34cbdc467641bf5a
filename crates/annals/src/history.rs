//! History: what happened, event by event.

use std::pin::Pin;

use annals_core::{Read, RecordedEvent};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};

use crate::aggregate::stream_of;
use crate::error::LoadError;
use crate::event::decode;
use crate::process::is_kept;
use crate::standing::Marker;
use crate::{Aggregate, Annals};

/// A recorded event: what it says, and how it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded<E> {
    /// What happened.
    pub event: E,
    /// When, where and how it was recorded, as it was written then.
    pub stored: RecordedEvent,
}

/// The events of an aggregate, oldest first, read as they are asked for.
///
/// An event that cannot be decoded is an error in its place, and the others follow; after an
/// error of the store the stream ends.
pub type History<E> = Pin<Box<dyn Stream<Item = Result<Recorded<E>, LoadError>> + Send>>;

impl Annals {
    /// The events of the aggregate with this id, oldest first, brought to their newest shape.
    ///
    /// All of them: also those before the version that the stream was truncated at.
    ///
    /// Errors are items of the stream, and those of [`load`](Self::load).
    pub fn history<A: Aggregate>(&self, id: impl Into<A::Id>) -> History<A::Event> {
        let stream = match stream_of::<A>(id) {
            Ok(stream) => stream,
            Err(invalid) => return Box::pin(stream::iter([Err(invalid.into())])),
        };
        let history = self.store().read(Read::stream(stream));
        let history = history.map_err(LoadError::from).map(|stored| match stored {
            Ok(stored) => recorded::<A>(&stored),
            Err(error) => vec![Err(error)],
        });
        Box::pin(history.flat_map(stream::iter))
    }
}

/// What a stored event says; several when it has been split, none when it is about the stream or
/// the process.
fn recorded<A: Aggregate>(stored: &RecordedEvent) -> Vec<Result<Recorded<A::Event>, LoadError>> {
    if is_kept(stored.event_type.as_str()) {
        return vec![];
    }
    let decoded = match Marker::of(stored) {
        Ok(None) => decode::<A::Event>(stored, A::UNKNOWN),
        Ok(Some(_)) => return vec![],
        Err(error) => Err(error),
    };
    match decoded {
        Ok(events) => events.map(|event| Ok(Recorded { event, stored: stored.clone() })).collect(),
        Err(error) => vec![Err(error.into())],
    }
}
