//! Recognising an append that is stored already (S7).

use crate::error::Invalid;
use crate::{Append, EventId, Position, Receipt, StreamId, Timestamp, Version};

/// What a store holds under an event id of an append, as far as repeats are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "every backend makes it of a row")]
pub struct Stored {
    /// The event's id.
    pub id: EventId,
    /// Where it stands.
    pub position: Position,
    /// Its stream.
    pub stream: StreamId,
    /// Its place there.
    pub version: Version,
    /// Its place in the append that stored it, from 0 on.
    pub append_index: u64,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// What is to be said about an append some of whose event ids are stored already.
///
/// `found` has what is stored under the append's ids, in the append's order, for a store that
/// gives the events of an append consecutive positions. `goes_on` tells whether the event after
/// the last one found, if there is one, belongs to the same stored append.
///
/// The first receipt, when exactly this append is stored; `None` when nothing was found.
///
/// # Errors
/// [`Invalid::IdsPartlyStored`], when only a part of it is, or another append.
pub fn recognise(
    append: &Append,
    found: &[Stored],
    goes_on: bool,
) -> Result<Option<Receipt>, Invalid> {
    let [first, ..] = found else { return Ok(None) };
    if goes_on || !is_whole(append, found) {
        return Err(Invalid::IdsPartlyStored { id: first.id, position: first.position });
    }
    let standing = found.iter().map(|event| (event.position, &event.stream, event.version));
    Ok(Receipt::of(first.recorded_at, standing))
}

/// Whether the events found are one stored append, from its first event on, in the order and
/// the streams that are given again.
fn is_whole(append: &Append, found: &[Stored]) -> bool {
    let given = append
        .streams
        .iter()
        .flat_map(|part| part.events.iter().map(move |event| (event.id, &part.stream)));
    let first = found.first().map_or(0, |event| event.position.get());
    append.events().count() == found.len()
        && (0..).zip(found).zip(given).all(|((index, event), (id, stream))| {
            event.append_index == index
                && event.position.get() == first + index
                && event.id == id
                && event.stream == *stream
        })
}
