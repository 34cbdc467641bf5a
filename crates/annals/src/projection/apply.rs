//! The pure part of a projection: what events make of rows, wherever those are.

use std::collections::HashMap;
use std::fmt;

use annals_core::{Partition, PoisonEvent, Query, RecordedEvent, RowFold, RowKey, SubscriberName};
use bytes::Bytes;

use super::{Keys, KeysOf, Projection};
use crate::{Event, UnknownTypes};

/// A projection and what follows from it once and for all.
pub(crate) struct Applying<P: Projection> {
    projection: P,
    name: SubscriberName,
    keys: Keys<P::Event>,
}

impl<P: Projection> Applying<P> {
    /// # Panics
    /// When the projection's name is not valid: a mistake in the program.
    pub(crate) fn new(projection: P) -> Self {
        let keys = projection.keys();
        Self { projection, name: SubscriberName::from_static(P::NAME), keys }
    }

    /// Its events of a stored one.
    pub(crate) fn decode(&self, recorded: &RecordedEvent) -> Result<Vec<P::Event>, PoisonEvent> {
        let decoded = crate::event::decode::<P::Event>(recorded, UnknownTypes::Skip);
        decoded.map(Iterator::collect).map_err(|error| PoisonEvent::new(recorded, error))
    }

    /// The keys that an event concerns, each once.
    pub(crate) fn keys_of(&self, event: &P::Event, recorded: &RecordedEvent) -> Vec<RowKey> {
        match &self.keys.0 {
            KeysOf::StreamId => vec![RowKey::new(recorded.stream.id())],
            KeysOf::By(keys) => {
                let mut keys = keys(event, recorded);
                keys.sort_unstable();
                keys.dedup();
                keys
            }
        }
    }

    /// Whether an event may concern a part, as far as that can be told without decoding it.
    pub(crate) fn concerns(&self, recorded: &RecordedEvent, partition: Partition) -> bool {
        match &self.keys.0 {
            KeysOf::StreamId => partition.owns(recorded.stream.id()),
            KeysOf::By(_) => true,
        }
    }

    /// What becomes of a row.
    pub(crate) fn apply(
        &self,
        key: &RowKey,
        row: Option<P::Row>,
        event: &P::Event,
        recorded: &RecordedEvent,
    ) -> Option<P::Row> {
        self.projection.apply(key, row, event, recorded)
    }

    pub(crate) fn name(&self) -> &SubscriberName {
        &self.name
    }

    /// What it wants to see, under every name and shape in which it may be stored.
    pub(crate) fn query(&self) -> Query {
        P::Event::upcasters().as_stored(&self.projection.query())
    }
}

impl<P: Projection> fmt::Debug for Applying<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (version {})", self.name, P::VERSION)
    }
}

pub(crate) fn row_of<R: serde::de::DeserializeOwned>(
    value: &Bytes,
    because_of: &RecordedEvent,
) -> Result<R, PoisonEvent> {
    serde_json::from_slice(value).map_err(|error| PoisonEvent::new(because_of, error))
}

pub(crate) fn value_of<R: serde::Serialize>(
    row: &R,
    because_of: &RecordedEvent,
) -> Result<Bytes, PoisonEvent> {
    let value = serde_json::to_vec(row).map_err(|error| PoisonEvent::new(because_of, error))?;
    Ok(value.into())
}

/// For whoever runs it without knowing its types: in the transaction of an append.
impl<P: Projection> RowFold for Applying<P> {
    fn name(&self) -> &SubscriberName {
        &self.name
    }

    fn version(&self) -> u32 {
        P::VERSION
    }

    fn query(&self) -> Query {
        Self::query(self)
    }

    fn keys(&self, event: &RecordedEvent) -> Result<Vec<RowKey>, PoisonEvent> {
        let events = self.decode(event)?;
        let mut keys: Vec<_> = events.iter().flat_map(|one| self.keys_of(one, event)).collect();
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    fn fold(
        &self,
        event: &RecordedEvent,
        rows: &mut HashMap<RowKey, Bytes>,
        owns: &dyn Fn(&RowKey) -> bool,
    ) -> Result<(), PoisonEvent> {
        let mut changed = HashMap::<RowKey, Option<P::Row>>::new();
        for one in self.decode(event)? {
            for key in self.keys_of(&one, event).into_iter().filter(owns) {
                let row = match changed.remove(&key) {
                    Some(row) => row,
                    None => rows.get(&key).map(|value| row_of(value, event)).transpose()?,
                };
                let row = self.apply(&key, row, &one, event);
                changed.insert(key, row);
            }
        }
        let encode = |(key, row): (RowKey, Option<P::Row>)| {
            Ok((key, row.map(|row| value_of(&row, event)).transpose()?))
        };
        for (key, value) in changed.into_iter().map(encode).collect::<Result<Vec<_>, _>>()? {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }
}
