//! A feed in memory: for tests and examples, and the plainest statement of what a feed does.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use annals::{
    Activation, CheckpointStore, Generation, MemoryReadSide, Position, ProjectError, Projector,
    Query, Stretch, SubscriberName, Timestamp,
};
use async_trait::async_trait;

use crate::entry::Place;
use crate::live::Parts;
use crate::store::QUARTER_MICROS;
use crate::{
    Count, CountBy, Entry, EntryStore, FeedDefinition, FeedError, Filter, Order, Quarter, Slice,
};

/// Entries in memory. Clones share them.
#[derive(Clone, Debug)]
pub struct MemoryFeed {
    definition: Arc<FeedDefinition>,
    read_side: MemoryReadSide,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug)]
struct Kept {
    generations: HashMap<Generation, BTreeMap<Place, Entry>>,
    active: Generation,
}

impl MemoryFeed {
    /// No entries yet.
    #[must_use]
    pub fn new(definition: Arc<FeedDefinition>) -> Self {
        let kept = Kept { generations: HashMap::new(), active: Generation::FIRST };
        Self { definition, read_side: MemoryReadSide::new(), kept: Arc::new(Mutex::new(kept)) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no code panics while holding the entries")
    }

    /// What a filter finds, the oldest first.
    fn found(&self, filter: &Filter) -> Vec<Entry> {
        let kept = self.kept();
        let active = kept.generations.get(&kept.active).into_iter();
        active.flat_map(BTreeMap::values).filter(|entry| filter.matches(entry)).cloned().collect()
    }
}

#[async_trait]
impl Projector for MemoryFeed {
    fn name(&self) -> &SubscriberName {
        self.definition.subscriber()
    }

    fn version(&self) -> u32 {
        self.definition.code_version()
    }

    fn query(&self) -> Query {
        self.definition.query()
    }

    fn checkpoints(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(self.read_side.clone())
    }

    async fn prepare(&self, generation: Generation) -> Result<(), ProjectError> {
        self.kept().generations.entry(generation).or_default();
        Ok(())
    }

    async fn project(&self, stretch: &Stretch) -> Result<(), ProjectError> {
        // The same entry again changes nothing, so the checkpoint may come behind.
        let mut parts = Parts::default();
        let entries: Vec<_> =
            stretch.events.iter().filter_map(|e| parts.entry(&self.definition, e)).collect();
        {
            let mut kept = self.kept();
            let generation = stretch.advance.lease.generation;
            let into = kept.generations.entry(generation).or_default();
            into.extend(entries.into_iter().map(|entry| (entry.place(), entry)));
        }
        Ok(self.read_side.advance(&stretch.advance).await?)
    }

    async fn activate(
        &self,
        generation: Generation,
        now: Timestamp,
    ) -> Result<Activation, ProjectError> {
        let activation = self.read_side.activate(self.name(), generation, now).await?;
        if activation == Activation::Behind {
            return Ok(activation);
        }
        let mut kept = self.kept();
        kept.active = generation;
        kept.generations.retain(|&one, _| one >= generation);
        Ok(activation)
    }

    async fn discard(&self, generation: Generation) -> Result<(), ProjectError> {
        self.read_side.discard(self.name(), generation).await?;
        let mut kept = self.kept();
        if kept.active != generation {
            kept.generations.remove(&generation);
        }
        Ok(())
    }
}

#[async_trait]
impl EntryStore for MemoryFeed {
    async fn slice(&self, filter: &Filter, slice: Slice) -> Result<Vec<Entry>, FeedError> {
        let Slice { order, after, limit } = slice;
        let mut found = self.found(filter);
        match order {
            Order::OldestFirst => found.retain(|e| after.is_none_or(|after| e.place() > after)),
            Order::NewestFirst => {
                found.retain(|e| after.is_none_or(|after| e.place() < after));
                found.reverse();
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn count(
        &self,
        filter: &Filter,
        by: CountBy,
        limit: usize,
    ) -> Result<Vec<Count>, FeedError> {
        let mut counts = BTreeMap::<Option<String>, u64>::new();
        for entry in self.found(filter) {
            let key = match by {
                CountBy::Actor => entry.actor,
                CountBy::Category => Some(entry.category.to_string()),
                CountBy::Stream => Some(entry.stream.to_string()),
                CountBy::Type => Some(entry.event_type.to_string()),
            };
            *counts.entry(key).or_default() += 1;
        }
        let mut counts: Vec<_> =
            counts.into_iter().map(|(key, count)| Count { key, count }).collect();
        counts.sort_by_key(|count| std::cmp::Reverse(count.count));
        counts.truncate(limit);
        Ok(counts)
    }

    async fn quarters(&self, filter: &Filter) -> Result<Vec<Quarter>, FeedError> {
        let mut quarters = BTreeMap::<i64, u64>::new();
        for entry in self.found(filter) {
            *quarters
                .entry(entry.occurred_at.as_micros().div_euclid(QUARTER_MICROS))
                .or_default() += 1;
        }
        let quarter = |(number, count)| Quarter {
            begins: Timestamp::from_micros(number * QUARTER_MICROS),
            count,
        };
        Ok(quarters.into_iter().map(quarter).collect())
    }

    async fn firsts(&self, filter: &Filter, limit: usize) -> Result<Vec<Entry>, FeedError> {
        let mut found = self.found(filter);
        let mut seen = std::collections::HashSet::new();
        found.retain(|entry| seen.insert(entry.event_type.clone()));
        found.truncate(limit);
        Ok(found)
    }

    async fn reached(&self) -> Result<Position, FeedError> {
        let info = self.read_side.subscriber(self.name()).await?;
        Ok(info.and_then(|info| Some(info.active()?.position())).unwrap_or_default())
    }
}
