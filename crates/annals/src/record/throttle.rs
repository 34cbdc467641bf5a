//! At most once within a time.

use std::time::Duration;

use annals_core::error::AppendError;
use annals_core::{
    Append, AppendCondition, Position, Query, QueryItem, Read, RecordedEvent, Tag, Timestamp,
};
use futures_util::TryStreamExt;

use super::{RecordError, Recording};
use crate::Annals;
use crate::retention::NotAppended;
use crate::retry::Attempts;

/// What makes two events of a type equal, and for how long one is enough.
#[derive(Debug)]
pub(super) struct Throttle {
    pub(super) within: Duration,
    pub(super) key: Tag,
}

impl Throttle {
    /// Records the one event of `append`, unless an equal one is young enough.
    ///
    /// The condition of the append is that nobody has recorded an equal one after the last one
    /// that was seen. So of many who try at once one succeeds, and the others look again and find
    /// what it has recorded.
    pub(super) async fn record(
        self,
        annals: &Annals,
        append: Append,
    ) -> Result<Recording, RecordError> {
        let equal = self.equal(&append);
        let mut attempts = Attempts::first(&annals.retry);
        loop {
            let last = annals.store().read(Read::query(equal.clone()).backward().limit(1));
            let last: Option<RecordedEvent> = last.into_stream().try_next().await?;
            if let Some(last) = &last
                && self.is_young(last, annals.clock.now())
            {
                return Ok(Recording::Throttled(Box::new(last.clone())));
            }
            let after = last.map_or(Position::START, |last| last.position);
            let condition = AppendCondition::none_match_after(equal.clone(), after);
            let append = append.clone().only_if(condition);
            match annals.append_to_open(&append, &annals.retry).await {
                Ok(receipt) => return Ok(Recording::Recorded(receipt)),
                Err(NotAppended::Append(AppendError::Conflict(_))) if attempts.next().await => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn equal(&self, append: &Append) -> Query {
        let streams = append.streams.iter().map(|part| part.stream.clone());
        let types = append.events().map(|event| event.event_type.clone());
        let mut item = QueryItem::new().types(types).tag(self.key.clone());
        item = streams.fold(item, QueryItem::stream);
        Query::of(item)
    }

    /// An event of the future, by a clock that is behind, is young.
    fn is_young(&self, event: &RecordedEvent, now: Timestamp) -> bool {
        let age = now.as_micros().saturating_sub(event.recorded_at.as_micros());
        let within = i64::try_from(self.within.as_micros()).unwrap_or(i64::MAX);
        age < within
    }
}
