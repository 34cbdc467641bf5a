//! At most once within a time.

use std::time::Duration;

use annals_core::{
    Append, AppendCondition, Position, Query, QueryItem, Read, RecordedEvent, Tag, Timestamp,
};
use futures_util::TryStreamExt;

use super::RecordError;
use crate::Annals;
use crate::error::LoadError;

/// What makes two events of a type equal, and for how long one is enough.
#[derive(Debug)]
pub(super) struct Throttle {
    pub(super) within: Duration,
    pub(super) key: Tag,
}

impl Throttle {
    /// The equal event that is young enough, or the condition that none has come since.
    ///
    /// So of many who try at once one succeeds, and the others look again and find what it has
    /// recorded.
    pub(super) async fn look(
        &self,
        annals: &Annals,
        append: &Append,
    ) -> Result<Result<AppendCondition, RecordedEvent>, RecordError> {
        let equal = self.equal(append);
        let mut last = annals.store().read(Read::query(equal.clone()).backward().limit(1));
        let last = last.try_next().await.map_err(LoadError::from)?;
        Ok(match last {
            Some(last) if self.is_young(&last, annals.clock.now()) => Err(last),
            last => {
                let after = last.map_or(Position::START, |last| last.position);
                Ok(AppendCondition::none_match_after(equal, after))
            }
        })
    }

    fn equal(&self, append: &Append) -> Query {
        let streams = append.streams.iter().map(|part| part.stream.clone());
        let types = append.events().map(|event| event.event_type.clone());
        let item = QueryItem::new().types(types).tag(self.key.clone());
        Query::of(streams.fold(item, QueryItem::stream))
    }

    /// An event of the future, by a clock that is behind, is young.
    fn is_young(&self, event: &RecordedEvent, now: Timestamp) -> bool {
        let age = now.as_micros().saturating_sub(event.recorded_at.as_micros());
        let within = i64::try_from(self.within.as_micros()).unwrap_or(i64::MAX);
        age < within
    }
}
