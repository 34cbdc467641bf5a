//! A projection whose rows are kept in a read side.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use annals_core::{
    CheckpointStore, Fault, Generation, ListRows, Partition, ProjectError, Projector, Query,
    ReadSideError, RecordedEvent, Row, RowChange, RowFold, RowKey, RowStore, Stretch,
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
        let missing = known.missing(&decoded.keys);
        if !missing.is_empty() {
            let stored = self.rows.rows_of(lease, &missing).await?;
            known.learn(missing, stored);
        }
        let changes = decoded.apply(&self.applying, &mut known)?;
        self.rows.commit_rows(changes, &stretch.advance).await?;
        self.known.put_back(lease, known);
        Ok(())
    }

    async fn activate(&self, generation: Generation, now: Timestamp) -> Result<(), ProjectError> {
        self.rows.activate(self.name(), generation, now).await?;
        self.sweep().await
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

/// The events of a stretch as the projection knows them, with the keys of each that its part owns.
struct Decoded<'s, P: Projection> {
    events: Vec<(P::Event, &'s RecordedEvent, Vec<RowKey>)>,
    /// All of those keys, each once, in order: whoever else writes rows locks them in the same.
    keys: Vec<RowKey>,
}

impl<'s, P: Projection> Decoded<'s, P> {
    fn of(applying: &Applying<P>, stretch: &'s Stretch) -> Result<Self, ProjectError> {
        let partition = stretch.advance.lease.partition;
        let mut events = Vec::with_capacity(stretch.events.len());
        for recorded in &stretch.events {
            for event in applying.decode(recorded)? {
                let mut keys = applying.keys_of(&event, recorded);
                keys.retain(|key| partition.owns(key.as_str()));
                if !keys.is_empty() {
                    events.push((event, recorded, keys));
                }
            }
        }
        let mut keys: Vec<_> = events.iter().flat_map(|(_, _, keys)| keys.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        Ok(Self { events, keys })
    }

    /// What becomes of the rows, each of which is encoded once.
    fn apply(
        self,
        applying: &Applying<P>,
        known: &mut KnownRows<P::Row>,
    ) -> Result<Vec<RowChange>, ProjectError> {
        let mut because_of = HashMap::with_capacity(self.keys.len());
        for (event, recorded, keys) in &self.events {
            for key in keys {
                let known = known.rows.get_mut(key).expect("every row was looked for");
                let row = match std::mem::replace(known, KnownRow::Absent) {
                    KnownRow::Absent => None,
                    KnownRow::Stored(value) => Some(row_of(&value, recorded)?),
                    KnownRow::Decoded(row) => Some(row),
                };
                let row = applying.apply(key, row, event, recorded);
                *known = row.map_or(KnownRow::Absent, KnownRow::Decoded);
                because_of.insert(key, *recorded);
            }
        }
        let mut changes = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let value = match &known.rows[key] {
                KnownRow::Decoded(row) => Some(value_of(row, because_of[key])?),
                KnownRow::Stored(_) | KnownRow::Absent => None,
            };
            known.bytes += value.as_ref().map_or(0, Bytes::len);
            changes.push(RowChange { key: key.clone(), value });
        }
        Ok(changes)
    }
}
