//! What all parts of running inboxes share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use annals_core::error::ReadError;
use annals_core::{
    Clock, DeliveryId, DeliveryQueue, EventId, EventRef, EventStoreExt, Position, Read,
    RecordedEvent, SubscriberName, Timestamp,
};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::Notify;

use super::current::Current;
use super::hosted::AllHosted;
use super::places::Places;
use super::runner::Settings;
use super::signals::Signals;
use crate::{Annals, Upcasters};

/// What all parts of running inboxes share.
pub(super) struct Engine {
    pub(super) annals: Annals,
    pub(super) queue: Arc<dyn DeliveryQueue>,
    pub(super) inboxes: AllHosted,
    pub(super) settings: Settings,
    pub(super) signals: Arc<Signals>,
    pub(super) places: Arc<Places>,
    /// As whom this process claims what it works.
    pub(super) owner: Arc<str>,
    /// What brings events to their newest shapes: that of the handle, and of each inbox that came.
    upcasters: RwLock<Arc<Upcasters>>,
    /// Taken deliveries that are not settled.
    held: Mutex<HashMap<DeliveryId, Held>>,
    /// Some were settled.
    pub(super) settled: Notify,
    /// Events that were put into the queue a short while ago.
    recent: Cache<Position, Arc<Current>, Bytes>,
}

/// Of which inbox a delivery is, and the token of its attempt.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) inbox: SubscriberName,
    pub(super) token: u64,
}

const UPCASTERS: &str = "nobody panics while holding the upcasters";

impl Engine {
    pub(super) fn new(annals: Annals, queue: Arc<dyn DeliveryQueue>, settings: Settings) -> Self {
        const RECENT_EVENTS: usize = 4096;
        const RECENT_BYTES_MAX: u64 = 16 * 1024 * 1024;
        let owner = format!("{}-{}", std::process::id(), EventId::generate());
        Self {
            upcasters: RwLock::new(Arc::clone(&annals.upcasters)),
            annals,
            queue,
            inboxes: AllHosted::default(),
            places: Arc::new(Places::new(settings.workers_max)),
            settings,
            signals: Arc::default(),
            owner: owner.into(),
            held: Mutex::default(),
            settled: Notify::new(),
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

    pub(super) fn upcasters(&self) -> Arc<Upcasters> {
        Arc::clone(&self.upcasters.read().expect(UPCASTERS))
    }

    /// From now on events are brought to their newest shapes by these as well.
    pub(super) fn upcast_by(&self, others: &Upcasters) {
        if others.is_empty() {
            return;
        }
        let together = (*self.upcasters()).clone().and(others);
        *self.upcasters.write().expect(UPCASTERS) = Arc::new(together);
        // They are as others brought them.
        self.recent.clear();
    }

    /// A stored event as it is now.
    pub(super) fn current(&self, stored: RecordedEvent) -> Arc<Current> {
        Arc::new(Current::of(stored, &self.upcasters()))
    }

    /// Keeps an event for those who deliver it soon.
    pub(super) fn remember(&self, current: &Arc<Current>) {
        self.recent.insert(current.stored.position, Arc::clone(current));
    }

    /// The event of a delivery; `None` when it is not in the log.
    pub(super) async fn find(&self, event: &EventRef) -> Result<Option<Arc<Current>>, ReadError> {
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
    pub(super) fn held(&self) -> MutexGuard<'_, HashMap<DeliveryId, Held>> {
        self.held.lock().expect("nobody panics while holding the deliveries that are held")
    }

    /// Lets go of what is held for an inbox: somebody takes it when the lease is up, as after a
    /// crash.
    pub(super) fn let_go(&self, inbox: &SubscriberName) {
        self.held().retain(|_, held| held.inbox != *inbox);
    }

    /// Waits until everything that was taken for an inbox is settled.
    pub(super) async fn all_settled(&self, inbox: &SubscriberName) {
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            settled.as_mut().enable();
            if self.held().values().all(|held| held.inbox != *inbox) {
                return;
            }
            settled.await;
        }
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
