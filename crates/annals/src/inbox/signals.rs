//! What the parts of a running engine tell each other: what was told an inbox, and that there is
//! something to do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard};

use annals_core::{SubscriberName, SubscriberState};
use tokio::sync::{Notify, watch};

/// One for each inbox that runs here.
#[derive(Debug, Default)]
pub(super) struct Signals {
    inboxes: RwLock<BTreeMap<SubscriberName, Signal>>,
    /// Something was told, or somebody waits for the log to have been looked at.
    pub(super) reading: Notify,
    /// How often something was told here.
    told: AtomicU64,
}

#[derive(Debug)]
struct Signal {
    state: SubscriberState,
    /// There may be something to deliver.
    deliveries: Arc<Notify>,
}

const UNPOISONED: &str = "nobody panics while holding the signals";

impl Signals {
    /// One more inbox runs here, and how it stands.
    pub(super) fn add(&self, inbox: SubscriberName, state: SubscriberState) {
        let signal = Signal { state, deliveries: Arc::default() };
        self.inboxes.write().expect(UNPOISONED).insert(inbox, signal);
        self.reading.notify_one();
    }

    /// One runs here no more.
    pub(super) fn remove(&self, inbox: &SubscriberName) {
        self.inboxes.write().expect(UNPOISONED).remove(inbox);
        self.reading.notify_one();
    }

    /// An inbox was told something here.
    pub(super) fn told(&self, inbox: &SubscriberName, state: SubscriberState) {
        self.told.fetch_add(1, Ordering::SeqCst);
        self.set(inbox, state);
    }

    /// How often something was told here until now.
    pub(super) fn told_so_far(&self) -> u64 {
        self.told.load(Ordering::SeqCst)
    }

    /// What the queue says that an inbox was told, asked after so much was told here: what was
    /// told since stands.
    pub(super) fn learn(&self, inbox: &SubscriberName, state: SubscriberState, told: u64) {
        if self.told_so_far() == told {
            self.set(inbox, state);
        }
    }

    fn set(&self, inbox: &SubscriberName, state: SubscriberState) {
        // It is asked for all of them again and again, and seldom another one.
        if self.inboxes().get(inbox).is_none_or(|signal| signal.state == state) {
            return;
        }
        if let Some(signal) = self.inboxes.write().expect(UNPOISONED).get_mut(inbox) {
            signal.state = state;
            signal.deliveries.notify_one();
            self.reading.notify_one();
        }
    }

    /// What an inbox was told last, as far as that is known here.
    pub(super) fn state(&self, inbox: &SubscriberName) -> SubscriberState {
        self.inboxes().get(inbox).map_or(SubscriberState::Running, |signal| signal.state)
    }

    /// What is notified when there may be something to deliver.
    pub(super) fn deliveries(&self, inbox: &SubscriberName) -> Arc<Notify> {
        let inboxes = self.inboxes();
        inboxes.get(inbox).map(|signal| Arc::clone(&signal.deliveries)).unwrap_or_default()
    }

    /// There may be something to deliver to an inbox.
    pub(super) fn wake(&self, inbox: &SubscriberName) {
        if let Some(signal) = self.inboxes().get(inbox) {
            signal.deliveries.notify_one();
        }
    }

    /// There may be something to deliver to any of them.
    pub(super) fn wake_all(&self) {
        self.inboxes().values().for_each(|signal| signal.deliveries.notify_one());
    }

    fn inboxes(&self) -> RwLockReadGuard<'_, BTreeMap<SubscriberName, Signal>> {
        self.inboxes.read().expect(UNPOISONED)
    }
}

/// Waits until it is told to stop; for ever, when whoever could tell is gone.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
