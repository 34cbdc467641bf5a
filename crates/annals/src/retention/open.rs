//! Appending only to streams that are open, without reading them.

use annals_core::error::{AppendError, ReadError};
use annals_core::{
    Append, AppendCondition, EventType, Position, Query, QueryItem, Read, Receipt, StreamId,
};
use futures_util::TryStreamExt;

use crate::standing::{ARCHIVED, CLOSED, DELETED, MARKERS, RESTORED};
use crate::{Annals, NotOpen, RetryPolicy, Standing};

/// As many as the terms of a query's item leave room for, beside the markers' types.
const STREAMS_OF_ITEM_MAX: usize = 100;

/// Why something was not appended to streams that had to be open.
#[derive(Debug)]
pub(crate) enum NotAppended {
    Append(AppendError),
    Read(ReadError),
    Standing(NotOpen),
}

/// The markers in streams.
pub(super) fn markers_of<'s>(streams: impl IntoIterator<Item = &'s StreamId>) -> Query {
    let streams: Vec<_> = streams.into_iter().cloned().collect();
    let items = streams.chunks(STREAMS_OF_ITEM_MAX).map(|some| {
        let markers = QueryItem::new().types(MARKERS.map(EventType::from_static));
        some.iter().cloned().fold(markers, QueryItem::stream)
    });
    items.collect()
}

impl Annals {
    /// Appends, if all streams of the append are open.
    ///
    /// Nearly no stream has a marker, so that there is none is a condition of the append. Only
    /// when that does not hold are the markers read, and the append is tried again under the
    /// condition that they are the last.
    pub(crate) async fn append_to_open(
        &self,
        append: &Append,
        policy: &RetryPolicy,
    ) -> Result<Receipt, NotAppended> {
        let streams = || append.streams.iter().map(|part| &part.stream);
        let open_since =
            |position| AppendCondition::none_match_after(markers_of(streams()), position);
        let first = append.clone().only_if(open_since(Position::START));
        let conflict = match self.append_certainly(&first, policy).await {
            Err(AppendError::Conflict(conflict)) => conflict,
            done => return done.map_err(NotAppended::Append),
        };
        let head = self.store().head().await.map_err(NotAppended::Read)?;
        let marked = self.check_open_at(streams(), head).await?;
        if !marked {
            return Err(NotAppended::Append(AppendError::Conflict(conflict)));
        }
        let again = append.clone().only_if(open_since(head));
        self.append_certainly(&again, policy).await.map_err(NotAppended::Append)
    }

    /// Whether any of the streams has a marker, all of them being open.
    async fn check_open_at(
        &self,
        streams: impl Iterator<Item = &StreamId>,
        head: Position,
    ) -> Result<bool, NotAppended> {
        let mut marked = false;
        for stream in streams {
            let markers = Read::query(markers_of([stream])).up_to(head).backward().limit(1);
            let any = self.store().read(markers).try_next().await.map_err(NotAppended::Read)?;
            marked |= any.is_some();
            let standing = self.standing_at(stream, head).await.map_err(NotAppended::Read)?;
            if standing != Standing::Open {
                let stream = stream.clone();
                return Err(NotAppended::Standing(NotOpen { stream, standing }));
            }
        }
        Ok(marked)
    }

    /// How a stream stood at a position.
    pub(super) async fn standing_at(
        &self,
        stream: &StreamId,
        head: Position,
    ) -> Result<Standing, ReadError> {
        let standings = [ARCHIVED, CLOSED, DELETED, RESTORED].map(EventType::from_static);
        let item = QueryItem::new().types(standings).stream(stream.clone());
        let last = Read::query(Query::of(item)).up_to(head).backward().limit(1);
        let last = self.store().read(last).try_next().await?;
        Ok(match last.as_ref().map(|last| last.event_type.as_str()) {
            Some(ARCHIVED) => Standing::Archived,
            Some(CLOSED) => Standing::Closed,
            Some(DELETED) => Standing::Deleted,
            _ => Standing::Open,
        })
    }
}
