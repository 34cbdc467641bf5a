//! What the parts of a running engine tell each other: what was told an inbox, and that there is
//! something to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use annals_core::{SubscriberName, SubscriberState};
use tokio::sync::Notify;

/// One for each inbox that runs here.
#[derive(Debug)]
pub(super) struct Signals {
    inboxes: BTreeMap<SubscriberName, Signal>,
    /// Something was told, or somebody waits for the log to have been looked at.
    pub(super) reading: Notify,
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
        Self { inboxes, reading: Notify::new() }
    }

    pub(super) fn knows(&self, inbox: &SubscriberName) -> bool {
        self.inboxes.contains_key(inbox)
    }

    /// What an inbox was told, here or elsewhere.
    pub(super) fn told(&self, inbox: &SubscriberName, state: SubscriberState) {
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
