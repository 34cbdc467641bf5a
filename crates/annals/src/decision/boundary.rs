//! A dynamic consistency boundary: the events that a decision depends on, folded.

use annals_core::{
    Append, AppendCondition, EventStore, InvalidName, Limits, Position, Query, QueryItem, Read,
    Receipt, RecordedEvent, Version,
};
use futures_util::TryStreamExt;

use crate::error::{DecodeError, EncodeError, LoadError};
use crate::event::{as_if_recorded, knows};
use crate::upcast::{Upcasted, Upcasters};
use crate::{DecisionModels, Event};

/// The models of a decision and how far they were folded.
#[derive(Debug)]
pub(crate) struct Boundary<M> {
    pub(crate) models: M,
    /// The last event that was found; [`Position::START`] when there was none.
    pub(crate) position: Position,
    readings: Vec<Reading>,
    /// What all of them read together.
    query: Query,
}

/// What one model is folded from.
#[derive(Debug)]
pub struct Reading {
    /// As the model says it, in the types that are written now.
    asked: Query,
    /// With the types under which such events may be stored.
    stored: Query,
    upcasters: &'static Upcasters,
    /// Whether the model can read an event.
    can_read: fn(&Self, &RecordedEvent) -> Result<(), DecodeError>,
}

impl<M: DecisionModels> Boundary<M> {
    /// The models before any event.
    pub(crate) fn of(models: M) -> Result<Self, InvalidName> {
        let mut readings = Vec::new();
        models.readings(&mut readings)?;
        let query = once_each(readings.iter().flat_map(|reading| reading.stored.items().to_vec()));
        Ok(Self { models, position: Position::START, readings, query })
    }

    /// Folds what has come since, up to a position.
    pub(crate) async fn catch_up(
        &mut self,
        store: &dyn EventStore,
        up_to: Position,
    ) -> Result<(), LoadError> {
        if self.query.items().is_empty() {
            return Ok(());
        }
        let tail = Read::query(self.query.clone()).after(self.position).up_to(up_to);
        let mut tail = store.read(tail);
        while let Some(stored) = tail.try_next().await? {
            self.fold(&stored)?;
            self.position = stored.position;
        }
        Ok(())
    }

    fn fold(&mut self, stored: &RecordedEvent) -> Result<(), DecodeError> {
        self.models.fold(&mut self.readings.iter(), stored)
    }

    /// That nothing has come since which the decision depends on: what `narrower` finds, or else
    /// everything that was read. `None` when it depends on nothing.
    pub(crate) fn unchanged(&self, narrower: Option<&Query>) -> Option<AppendCondition> {
        let query = narrower.map_or_else(|| self.query.clone(), |query| self.as_stored(query));
        let depends = !query.items().is_empty();
        depends.then(|| AppendCondition::none_match_after(query, self.position))
    }

    /// A query about the events of any of the models, widened as each of them is.
    fn as_stored(&self, query: &Query) -> Query {
        if self.readings.is_empty() {
            return query.clone();
        }
        let widened = self.readings.iter().map(|reading| reading.upcasters.as_stored(query));
        once_each(widened.flat_map(|query| query.items().to_vec()))
    }

    /// Checks that the models can read what is about to be appended: one that is of another enum
    /// than the decision's may take it for something else.
    pub(crate) fn check(&self, append: &Append) -> Result<(), EncodeError> {
        for part in &append.streams {
            for new in &part.events {
                let stored = as_if_recorded(new, &part.stream);
                let mut readings = self.readings.iter();
                readings
                    .try_for_each(|reading| (reading.can_read)(reading, &stored))
                    .map_err(|error| EncodeError::unreadable(new, error))?;
            }
        }
        Ok(())
    }

    /// Folds what was just appended, as it would be read.
    pub(crate) fn append(&mut self, append: &Append, receipt: &Receipt) -> Result<(), DecodeError> {
        for stored in recorded(append, receipt) {
            self.fold(&stored)?;
        }
        self.position = receipt.last_position;
        Ok(())
    }
}

impl Reading {
    pub(crate) fn of<E: Event>(asked: Query) -> Self {
        let upcasters = E::upcasters();
        let stored = upcasters.as_stored(&asked);
        let can_read = |reading: &Self, event: &_| reading.events::<E>(event).map(drop);
        Self { stored, asked, upcasters, can_read }
    }

    /// What a stored event says that the model asks for, brought to its newest shape.
    pub(crate) fn events<E: Event>(&self, stored: &RecordedEvent) -> Result<Vec<E>, DecodeError> {
        if !self.stored.matches(stored) {
            return Ok(vec![]);
        }
        let became = match self.upcasters.apply(stored)? {
            Upcasted::AsStored => vec![stored.clone()],
            Upcasted::Became(events) => events,
        };
        // What an old event was split into is not all asked for.
        let asked = became.iter().filter(|event| self.asks_for::<E>(event));
        asked.map(E::decode_current).collect()
    }

    fn asks_for<E: Event>(&self, event: &RecordedEvent) -> bool {
        let known = knows::<E>(event);
        let mut items = self.asked.items().iter();
        items.any(|item| item.matches(event) && (known || !item.types.is_empty()))
    }
}

/// The items, each of them once. A query that has more than a store takes is left as it is: it
/// is refused anyhow.
fn once_each(items: impl Iterator<Item = QueryItem>) -> Query {
    let mut once: Vec<QueryItem> = Vec::new();
    for item in items {
        if once.len() > Limits::DEFAULT.query_items_max || !once.contains(&item) {
            once.push(item);
        }
    }
    once.into_iter().collect()
}

/// The events of an append as they stand in the log; all but the last are said to stand where
/// the first does, because a receipt does not tell.
fn recorded(append: &Append, receipt: &Receipt) -> Vec<RecordedEvent> {
    let mut recorded = Vec::new();
    for part in &append.streams {
        let last = receipt.version_of(&part.stream).unwrap_or(Version::EMPTY).get();
        let before = last.saturating_sub(part.events.len() as u64);
        for (event, n) in part.events.iter().zip(1..) {
            recorded.push(RecordedEvent {
                position: receipt.first_position,
                version: Version::new(before + n),
                occurred_at: event.occurred_at.unwrap_or(receipt.recorded_at),
                recorded_at: receipt.recorded_at,
                ..as_if_recorded(event, &part.stream)
            });
        }
    }
    if let Some(last) = recorded.last_mut() {
        last.position = receipt.last_position;
    }
    recorded
}
