//! What the parts of a running engine tell each other: what was told an inbox, and that there is
//! something to do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use annals_core::{SubscriberName, SubscriberState};
use tokio::sync::{Notify, watch};

/// One for each inbox that runs here.
#[derive(Debug)]
pub(super) struct Signals {
    inboxes: BTreeMap<SubscriberName, Signal>,
    /// Something was told, or somebody waits for the log to have been looked at.
    pub(super) reading: Notify,
    /// How often something was told here.
    told: AtomicU64,
}

#[derive(Debug)]
struct Signal {
    state: Mutex<SubscriberState>,
    /// There may be something to deliver.
    deliveries: Arc<Notify>,
}

impl Signals {
    pub(super) fn of(inboxes: impl IntoIterator<Item = (SubscriberName, SubscriberState)>) -> Self {
        let signal = |state| Signal { state: Mutex::new(state), deliveries: Arc::default() };
        let inboxes = inboxes.into_iter().map(|(name, state)| (name, signal(state))).collect();
        Self { inboxes, reading: Notify::new(), told: AtomicU64::new(0) }
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
        let Some(signal) = self.inboxes.get(inbox) else { return };
        let mut known = signal.state.lock().expect("nobody panics while holding a state");
        if *known != state {
            *known = state;
            signal.deliveries.notify_one();
            self.reading.notify_one();
        }
    }

    /// What an inbox was told last, as far as that is known here.
    pub(super) fn state(&self, inbox: &SubscriberName) -> SubscriberState {
        let signal = self.inboxes.get(inbox);
        let state =
            signal.map(|signal| *signal.state.lock().expect("nobody panics while holding a state"));
        state.unwrap_or(SubscriberState::Running)
    }

    /// What is notified when there may be something to deliver.
    pub(super) fn deliveries(&self, inbox: &SubscriberName) -> Arc<Notify> {
        self.inboxes.get(inbox).map(|signal| Arc::clone(&signal.deliveries)).unwrap_or_default()
    }

    /// There may be something to deliver to an inbox.
    pub(super) fn wake(&self, inbox: &SubscriberName) {
        if let Some(signal) = self.inboxes.get(inbox) {
            signal.deliveries.notify_one();
        }
    }

    /// There may be something to deliver to any of them.
    pub(super) fn wake_all(&self) {
        self.inboxes.values().for_each(|signal| signal.deliveries.notify_one());
    }
}

/// Waits until it is told to stop; for ever, when whoever could tell is gone.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
