//! Whether streams are open that are written to without being loaded.
//!
//! Markers have a tag that names their stream, so that a condition about them costs next to
//! nothing on a stream that has none, however long it is.

use annals_core::error::Conflict;
use annals_core::{
    Append, AppendCondition, EventType, Position, Query, QueryItem, Read, StreamId, Tag,
};
use futures_util::TryStreamExt;

use crate::error::{ExecuteError, LoadError};
use crate::execute::how::hash_of;
use crate::standing::{Marker, NOT_OPEN, RESTORED};
use crate::{Annals, NotOpen, Standing};

/// The key of the tag of markers.
const STREAM_TAG: &str = "annals.stream";
/// As many as a query may have items.
const STREAMS_OF_QUERY_MAX: usize = 64;

/// The tag that the markers of a stream have.
pub(crate) fn marker_tag(stream: &StreamId) -> Tag {
    Tag::of(STREAM_TAG, stream).unwrap_or_else(|_| {
        Tag::of(STREAM_TAG, hash_of(stream.as_str())).expect("a hash is short and plain")
    })
}

/// The markers of these types in streams.
pub(crate) fn markers(streams: &[&StreamId], types: &[&'static str]) -> Query {
    let items = streams.iter().map(|stream| {
        let types = types.iter().map(|name| EventType::from_static(name));
        QueryItem::new().types(types).tag(marker_tag(stream)).stream((*stream).clone())
    });
    items.collect()
}

/// That no stream of the append has been archived, closed or deleted since.
pub(crate) fn open_conditions(
    append: &Append,
    since: Position,
) -> impl Iterator<Item = AppendCondition> {
    let streams: Vec<_> = append.streams.iter().map(|part| &part.stream).collect();
    let queries: Vec<_> =
        streams.chunks(STREAMS_OF_QUERY_MAX).map(|streams| markers(streams, &NOT_OPEN)).collect();
    queries.into_iter().map(move |query| AppendCondition::none_match_after(query, since))
}

/// Whether it is such a condition that does not hold.
pub(crate) fn is_about_markers(conflict: &Conflict, append: &Append) -> bool {
    let Conflict::Condition { condition, .. } = conflict else { return false };
    open_conditions(append, condition.after).any(|open| open == *condition)
}

impl Annals {
    /// Since when the streams of an append are open: since the beginning, unless one was ever
    /// archived, closed or deleted. Nearly none was, so this is asked only after a conflict.
    ///
    /// # Errors
    /// When one of them is not open.
    pub(crate) async fn open_since<E>(&self, append: &Append) -> Result<Position, ExecuteError<E>> {
        let mut since = Position::START;
        let streams: Vec<_> = append.streams.iter().map(|part| &part.stream).collect();
        let head = self.store().head().await.map_err(LoadError::from)?;
        let [archived, closed, deleted] = NOT_OPEN;
        let mut not_open = Vec::<NotOpen>::new();
        for streams in streams.chunks(STREAMS_OF_QUERY_MAX) {
            let markers = markers(streams, &[archived, closed, deleted, RESTORED]);
            let mut markers = self.store().read(Read::query(markers).up_to(head));
            while let Some(stored) = markers.try_next().await.map_err(LoadError::from)? {
                since = head;
                let marker = Marker::of(&stored).map_err(LoadError::from)?;
                if let Some(Marker::Stands(standing)) = marker {
                    not_open.retain(|other| other.stream != stored.stream);
                    if standing != Standing::Open {
                        not_open.push(NotOpen { stream: stored.stream, standing });
                    }
                }
            }
        }
        match not_open.into_iter().next() {
            Some(first) => Err(ExecuteError::Standing(first)),
            None => Ok(since),
        }
    }
}
