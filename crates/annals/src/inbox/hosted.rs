//! The inboxes that run here, while some come and others go.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, RwLock};

use annals_core::SubscriberName;
use tokio::sync::watch;

use super::Inbox;

/// An inbox that runs here, until it is removed or all of them are stopped. Every part that works
/// for it holds it; when the last of them is gone, nothing of it runs any more.
pub(super) struct Hosted {
    inbox: Inbox,
    stop: watch::Receiver<bool>,
}

/// All of them, by name.
#[derive(Default)]
pub(super) struct AllHosted {
    inboxes: RwLock<BTreeMap<SubscriberName, Entry>>,
}

struct Entry {
    hosted: Arc<Hosted>,
    stop: watch::Sender<bool>,
}

/// An inbox that was told to stop.
pub(super) struct Leaving(watch::Sender<bool>);

const UNPOISONED: &str = "nobody panics while holding the inboxes";

impl AllHosted {
    /// One more; `None` when there is one of its name.
    pub(super) fn add(&self, inbox: Inbox) -> Option<Arc<Hosted>> {
        let mut inboxes = self.inboxes.write().expect(UNPOISONED);
        if inboxes.contains_key(&inbox.name) {
            return None;
        }
        let (stop, stopped) = watch::channel(false);
        let hosted = Arc::new(Hosted { inbox, stop: stopped });
        let entry = Entry { hosted: Arc::clone(&hosted), stop };
        inboxes.insert(hosted.name.clone(), entry);
        Some(hosted)
    }

    /// Tells one to stop, and counts it no more; `None` when there is none of this name.
    pub(super) fn remove(&self, name: &SubscriberName) -> Option<Leaving> {
        let entry = self.inboxes.write().expect(UNPOISONED).remove(name)?;
        entry.stop.send_replace(true);
        Some(Leaving(entry.stop))
    }

    /// Tells all to stop.
    pub(super) fn stop(&self) {
        let inboxes = self.inboxes.read().expect(UNPOISONED);
        for entry in inboxes.values() {
            entry.stop.send_replace(true);
        }
    }

    pub(super) fn has(&self, name: &SubscriberName) -> bool {
        self.inboxes.read().expect(UNPOISONED).contains_key(name)
    }

    /// All that there are now.
    pub(super) fn now(&self) -> Vec<Arc<Hosted>> {
        let inboxes = self.inboxes.read().expect(UNPOISONED);
        inboxes.values().map(|entry| Arc::clone(&entry.hosted)).collect()
    }
}

impl Leaving {
    /// Waits until nothing works for it any more.
    pub(super) async fn gone(self) {
        self.0.closed().await;
    }
}

impl Hosted {
    /// Whether it was told to stop.
    pub(super) fn is_leaving(&self) -> bool {
        *self.stop.borrow()
    }

    /// What tells it to stop.
    pub(super) fn told_to_stop(&self) -> watch::Receiver<bool> {
        self.stop.clone()
    }
}

impl Deref for Hosted {
    type Target = Inbox;

    fn deref(&self) -> &Inbox {
        &self.inbox
    }
}
