//! A projection whose rows are kept in a read side.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use annals_core::{
    Activation, CheckpointStore, Fault, Generation, ListRows, Partition, ProjectError, Projector,
    Query, ReadSideError, RecordedEvent, Row, RowChange, RowFold, RowKey, RowStore, Stretch,
    SubscriberName, Timestamp,
};
use async_trait::async_trait;
use bytes::Bytes;

use super::Projection;
use super::apply::{Applying, row_of, value_of};
use super::known::{Known, KnownRow, KnownRows};

/// How many rows of a generation that is gone are dropped at once.
const SWEEP_ROWS: usize = 1_000;

/// A [`Projection`] whose rows are kept in a [`RowStore`], beside its checkpoint. Cheap to clone.
///
/// It is what [`Annals::project`](crate::Annals::project) runs, and where the rows are read.
pub struct ReadModel<P: Projection> {
    applying: Arc<Applying<P>>,
    rows: Arc<dyn RowStore>,
    known: Arc<Known<P::Row>>,
}

impl<P: Projection> ReadModel<P> {
    /// `projection`, with its rows in `rows`.
    ///
    /// # Panics
    /// When [`Projection::NAME`] is not a valid [`SubscriberName`]: a mistake in the program.
    pub fn new(projection: P, rows: impl RowStore + 'static) -> Self {
        let applying = Arc::new(Applying::new(projection));
        Self { applying, rows: Arc::new(rows), known: Arc::default() }
    }

    /// The projection for a store that runs it inline, in the transaction of each append: see
    /// the options of the stores.
    #[must_use]
    pub fn fold(&self) -> Arc<dyn RowFold> {
        Arc::clone(&self.applying) as _
    }

    /// The row under a key, if there is one.
    ///
    /// # Errors
    /// When the read side does not answer, or what it keeps is no such row.
    pub async fn get(&self, key: impl Into<RowKey>) -> Result<Option<P::Row>, ReadSideError> {
        let row = self.rows.row(self.applying.name(), &key.into()).await?;
        row.map(|row| decode(&row)).transpose()
    }

    /// Rows in the order of their keys, byte by byte.
    ///
    /// ```
    /// # use annals::{Event, ListRows, MemoryReadSide, Projection, ReadModel, RecordedEvent, RowKey};
    /// # #[derive(Event)] enum AccountEvent { AccountOpened }
    /// # struct Balances;
    /// # impl Projection for Balances {
    /// #     type Event = AccountEvent;
    /// #     type Row = u64;
    /// #     const NAME: &'static str = "balances";
    /// #     fn apply(&self, _: &RowKey, _: Option<u64>, _: &AccountEvent, _: &RecordedEvent) -> Option<u64> { None }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let balances = ReadModel::new(Balances, MemoryReadSide::new());
    /// let first = balances.list(ListRows { limit: 100, ..ListRows::default() }).await?;
    /// let after = first.last().map(|(key, _)| key.clone());
    /// let next = balances.list(ListRows { after, limit: 100, ..ListRows::default() }).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn list(&self, list: ListRows) -> Result<Vec<(RowKey, P::Row)>, ReadSideError> {
        let rows = self.rows.rows(self.applying.name(), list).await?;
        rows.into_iter().map(|row| Ok((row.key.clone(), decode(&row)?))).collect()
    }
}

fn decode<R: serde::de::DeserializeOwned>(row: &Row) -> Result<R, ReadSideError> {
    serde_json::from_slice(&row.value).map_err(|error| {
        ReadSideError::Corrupt(Fault::because(format!("reading the row {}", row.key), error))
    })
}

impl<P: Projection> Clone for ReadModel<P> {
    fn clone(&self) -> Self {
        let Self { applying, rows, known } = self;
        Self { applying: applying.clone(), rows: rows.clone(), known: known.clone() }
    }
}

impl<P: Projection> fmt::Debug for ReadModel<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { applying, rows, .. } = self;
        f.debug_struct("ReadModel")
            .field("projection", applying)
            .field("rows", rows)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl<P: Projection> Projector for ReadModel<P> {
    fn name(&self) -> &SubscriberName {
        self.applying.name()
    }

    fn version(&self) -> u32 {
        P::VERSION
    }

    fn query(&self) -> Query {
        self.applying.query()
    }

    fn checkpoints(&self) -> Arc<dyn CheckpointStore> {
        Arc::clone(&self.rows) as _
    }

    fn concerns(&self, event: &RecordedEvent, partition: Partition) -> bool {
        self.applying.concerns(event, partition)
    }

    async fn prepare(&self, _: Generation) -> Result<(), ProjectError> {
        Ok(())
    }

    async fn project(&self, stretch: &Stretch) -> Result<(), ProjectError> {
        let lease = &stretch.advance.lease;
        let decoded = Decoded::of(&self.applying, stretch)?;
        let mut known = self.known.take(lease);
        let missing = known.missing(decoded.concerned.iter().map(|row| &row.key));
        if !missing.is_empty() {
            let stored = self.rows.rows_of(lease, &missing).await?;
            known.learn(stored);
        }
        let changes = decoded.apply(&self.applying, &mut known)?;
        self.rows.commit_rows(changes, &stretch.advance).await?;
        self.known.put_back(lease, known);
        Ok(())
    }

    async fn activate(
        &self,
        generation: Generation,
        now: Timestamp,
    ) -> Result<Activation, ProjectError> {
        let activation = self.rows.activate(self.name(), generation, now).await?;
        if activation == Activation::Done {
            self.sweep().await?;
        }
        Ok(activation)
    }

    async fn discard(&self, generation: Generation) -> Result<(), ProjectError> {
        self.rows.discard(self.name(), generation).await?;
        self.sweep().await
    }
}

impl<P: Projection> ReadModel<P> {
    /// Drops what no generation needs any more, bit by bit, so that nobody waits for it long.
    async fn sweep(&self) -> Result<(), ProjectError> {
        let Some(info) = self.rows.subscriber(self.name()).await? else { return Ok(()) };
        let keep: Vec<_> = info.generations.iter().map(|one| one.generation).collect();
        while self.rows.sweep_rows(self.name(), &keep, SWEEP_ROWS).await? > 0 {}
        Ok(())
    }
}

/// The events of a stretch as the projection knows them.
struct Decoded<'s, P: Projection> {
    events: Vec<(P::Event, &'s RecordedEvent)>,
    /// The rows that the part owns and they concern, each once.
    concerned: Vec<Concerned<'s>>,
    /// What to apply, in order: an event to a row, by their places above.
    pairs: Vec<(usize, usize)>,
}

struct Concerned<'s> {
    key: RowKey,
    /// The last event that concerns it.
    by: &'s RecordedEvent,
}

impl<'s, P: Projection> Decoded<'s, P> {
    fn of(applying: &Applying<P>, stretch: &'s Stretch) -> Result<Self, ProjectError> {
        let partition = stretch.advance.lease.partition;
        let (mut concerned, mut places) = (Vec::new(), HashMap::new());
        let mut events = Vec::with_capacity(stretch.events.len());
        let mut pairs = Vec::with_capacity(stretch.events.len());
        for by in &stretch.events {
            for event in applying.decode(by)? {
                let mut keys = applying.keys_of(&event, by);
                keys.retain(|key| partition.owns(key.as_str()));
                for key in keys {
                    let place = *places.entry(key).or_insert_with_key(|key| {
                        concerned.push(Concerned { key: key.clone(), by });
                        concerned.len() - 1
                    });
                    concerned[place].by = by;
                    pairs.push((events.len(), place));
                }
                events.push((event, by));
            }
        }
        Ok(Self { events, concerned, pairs })
    }

    /// What becomes of the rows, each of which is encoded once, in the order of their keys:
    /// whoever else writes rows locks them in the same.
    fn apply(
        self,
        applying: &Applying<P>,
        known: &mut KnownRows<P::Row>,
    ) -> Result<Vec<RowChange>, ProjectError> {
        let Self { events, concerned, pairs } = self;
        let mut rows: Vec<_> = concerned.iter().map(|row| known.take(&row.key)).collect();
        for (event, place) in pairs {
            let (event, recorded) = &events[event];
            let before = match std::mem::replace(&mut rows[place], KnownRow::Absent) {
                KnownRow::Absent => None,
                KnownRow::Stored(value) => Some(row_of(&value, recorded)?),
                KnownRow::Decoded(row) => Some(row),
            };
            let after = applying.apply(&concerned[place].key, before, event, recorded);
            rows[place] = after.map_or(KnownRow::Absent, KnownRow::Decoded);
        }
        let mut changes = Vec::with_capacity(concerned.len());
        for (Concerned { key, by }, row) in concerned.into_iter().zip(rows) {
            let value = match &row {
                KnownRow::Decoded(row) => Some(value_of(row, by)?),
                KnownRow::Stored(_) | KnownRow::Absent => None,
            };
            known.bytes += value.as_ref().map_or(0, Bytes::len);
            known.rows.insert(key.clone(), row);
            changes.push(RowChange { key, value });
        }
        changes.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        Ok(changes)
    }
}
