//! What all parts of running inboxes share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use annals_core::{
    Clock, DeliveryId, DeliveryQueue, EventId, EventRef, EventStoreExt, Position, Read, RecordedEvent,
    Timestamp,
};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::current::Current;
use super::places::Places;
use super::runner::Settings;
use super::signals::Signals;
use super::Inbox;
use crate::Annals;
use crate::error::LoadError;

/// What all parts of running inboxes share.
pub(super) struct Engine {
    pub(super) annals: Annals,
    pub(super) queue: Arc<dyn DeliveryQueue>,
    pub(super) inboxes: Vec<Arc<Inbox>>,
    pub(super) settings: Settings,
    pub(super) signals: Arc<Signals>,
    pub(super) places: Arc<Places>,
    /// As whom this process claims what it works.
    pub(super) owner: Arc<str>,
    /// Taken deliveries that are not settled, with their tokens.
    held: Mutex<HashMap<DeliveryId, u64>>,
    /// Events that were put into the queue a short while ago.
    recent: Cache<Position, Arc<Current>, Bytes>,
}

impl Engine {
    pub(super) fn new(
        annals: Annals,
        queue: Arc<dyn DeliveryQueue>,
        inboxes: Vec<Arc<Inbox>>,
        settings: Settings,
        signals: Arc<Signals>,
    ) -> Self {
        const RECENT_EVENTS: usize = 4096;
        const RECENT_BYTES_MAX: u64 = 16 * 1024 * 1024;
        let owner = format!("{}-{}", std::process::id(), EventId::generate());
        Self {
            annals,
            queue,
            inboxes,
            places: Arc::new(Places::new(settings.workers_max)),
            settings,
            signals,
            owner: owner.into(),
            held: Mutex::default(),
            recent: Cache::with_weighter(RECENT_EVENTS, RECENT_BYTES_MAX, Bytes),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.annals.clock.now()
    }

    /// Until when what is claimed or taken now is held.
    pub(super) fn until(&self) -> Timestamp {
        self.now().saturating_add(self.settings.lease)
    }

    /// A stored event as it is now.
    pub(super) fn current(&self, stored: RecordedEvent) -> Arc<Current> {
        Arc::new(Current::of(stored, &self.annals.upcasters))
    }

    /// Keeps an event for those who deliver it soon.
    pub(super) fn remember(&self, current: &Arc<Current>) {
        self.recent.insert(current.stored.position, Arc::clone(current));
    }

    /// The event of a delivery; `None` when it is not in the log.
    pub(super) async fn find(&self, event: &EventRef) -> Result<Option<Arc<Current>>, LoadError> {
        if let Some(recent) = self.recent.get(&event.position)
            && recent.stored.id == event.id
        {
            return Ok(Some(recent));
        }
        let read = Read::stream(event.stream.clone());
        let read = read.from_version(event.version).to_version(event.version);
        let found = self.annals.store().read_to_end(read).await?;
        let found = found.into_iter().find(|found| found.id == event.id);
        Ok(found.map(|stored| {
            let current = self.current(stored);
            self.remember(&current);
            current
        }))
    }

    /// Deliveries that were taken here, and are not settled yet.
    pub(super) fn held(&self) -> MutexGuard<'_, HashMap<DeliveryId, u64>> {
        self.held.lock().expect("nobody panics while holding the deliveries that are held")
    }
}

/// Weighs events by what they take in memory, about.
#[derive(Clone)]
struct Bytes;

impl Weighter<Position, Arc<Current>> for Bytes {
    fn weight(&self, _: &Position, current: &Arc<Current>) -> u64 {
        const REST: usize = 512;
        (current.bytes() + REST) as u64
    }
}
