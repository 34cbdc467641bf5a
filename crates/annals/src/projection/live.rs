//! A projection folded when somebody asks, and kept nowhere.

use std::collections::BTreeMap;
use std::fmt;

use annals_core::{Position, Query, QueryItem, Read, RowKey, StreamId, Timestamp};
use futures_util::TryStreamExt;

use super::Projection;
use super::apply::Applying;
use crate::Annals;
use crate::error::LoadError;

impl Annals {
    /// Folds a projection from the log as it is now: all of it, or what is said further.
    ///
    /// Costs the reading of every event that the projection wants to see. In exchange it is never
    /// behind, and can be asked about the past.
    ///
    /// ```
    /// # use annals::{Annals, Event, MemoryStore, Projection, RecordedEvent, RowKey, Timestamp};
    /// # #[derive(Event)] enum AccountEvent { MoneyDeposited { amount: u64 } }
    /// # struct Balances;
    /// # impl Projection for Balances {
    /// #     type Event = AccountEvent;
    /// #     type Row = u64;
    /// #     const NAME: &'static str = "balances";
    /// #     fn apply(&self, _: &RowKey, held: Option<u64>, _: &AccountEvent, _: &RecordedEvent) -> Option<u64> { held }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bank = Annals::new(MemoryStore::new());
    /// let now = bank.live(Balances).rows().await?;
    /// let new_year: Timestamp = "2026-01-01T00:00:00Z".parse()?;
    /// let then = bank.live(Balances).as_at(new_year).rows().await?;
    /// let one = bank.live(Balances).of_stream("account-1".parse()?).rows().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    /// When [`Projection::NAME`] is not valid: a mistake in the program.
    pub fn live<P: Projection>(&self, projection: P) -> Live<P> {
        let applying = Applying::new(projection);
        let read = Read::query(applying.query());
        Live { annals: self.clone(), applying, read, streams: Vec::new() }
    }
}

/// A projection that is about to be folded: see [`Annals::live`].
pub struct Live<P: Projection> {
    annals: Annals,
    applying: Applying<P>,
    read: Read,
    streams: Vec<StreamId>,
}

impl<P: Projection> Live<P> {
    /// Only from the events of this stream, and of others that are named like this.
    #[must_use]
    pub fn of_stream(mut self, stream: StreamId) -> Self {
        self.streams.push(stream);
        self
    }

    /// Only from events recorded at this moment or before.
    #[must_use]
    pub fn as_at(mut self, moment: Timestamp) -> Self {
        self.read = self.read.as_at(moment);
        self
    }

    /// Only from events up to this position.
    #[must_use]
    pub fn up_to(mut self, position: Position) -> Self {
        self.read = self.read.up_to(position);
        self
    }

    /// Folds, in memory that the rows need, and nothing else.
    ///
    /// # Errors
    /// When the log cannot be read, or an event of the projection's cannot be decoded.
    pub async fn rows(self) -> Result<BTreeMap<RowKey, P::Row>, LoadError> {
        let Self { annals, applying, mut read, streams } = self;
        if !streams.is_empty() {
            let query = applying.query();
            let query: Query =
                query.items().iter().filter_map(|item| narrow(item, &streams)).collect();
            read.scope = annals_core::Scope::Query(query);
        }
        let mut rows = BTreeMap::new();
        let mut events = annals.read(read);
        while let Some(recorded) = events.try_next().await? {
            let decoded = crate::event::decode::<P::Event>(&recorded, crate::UnknownTypes::Skip)?;
            for event in decoded {
                for key in applying.keys_of(&event, &recorded) {
                    let row = applying.apply(&key, rows.remove(&key), &event, &recorded);
                    rows.extend(row.map(|row| (key, row)));
                }
            }
        }
        Ok(rows)
    }
}

/// What an item asks for, in these streams only; `None` if that is nothing.
fn narrow(item: &QueryItem, streams: &[StreamId]) -> Option<QueryItem> {
    let is_asked_for = |stream: &&StreamId| {
        item.is_anywhere()
            || item.streams.contains(stream)
            || item.categories.contains(&stream.category())
    };
    let mut narrowed = item.clone();
    narrowed.streams = streams.iter().filter(is_asked_for).cloned().collect();
    narrowed.categories.clear();
    (!narrowed.streams.is_empty()).then_some(narrowed)
}

impl<P: Projection> fmt::Debug for Live<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { applying, read, streams, .. } = self;
        f.debug_struct("Live")
            .field("projection", applying)
            .field("read", read)
            .field("streams", streams)
            .finish_non_exhaustive()
    }
}
