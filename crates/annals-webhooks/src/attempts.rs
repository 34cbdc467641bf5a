//! The last attempts of each webhook, for people to look at.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use annals::{EventId, Timestamp};

use crate::health::Health;
use crate::outcome::Outcome;
use crate::webhook::WebhookId;

/// One attempt to deliver an event to a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebhookAttempt {
    /// The `webhook-id` of the message.
    pub id: String,
    /// Which event.
    pub event: EventId,
    /// The number of the attempt, from 1.
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// What came of it.
    pub outcome: Outcome,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// The beginning of the answer's body.
    pub response: String,
    /// Whether there was more of it.
    pub truncated: bool,
    /// What went wrong, with all its reasons.
    pub error: Option<String>,
}

/// What this process knows of each webhook.
#[derive(Debug)]
pub(crate) struct Attempts {
    kept_max: usize,
    webhooks: Mutex<BTreeMap<WebhookId, Known>>,
}

#[derive(Debug, Default)]
struct Known {
    last: VecDeque<WebhookAttempt>,
    health: Health,
}

impl Attempts {
    pub(crate) fn new(kept_max: usize) -> Self {
        Self { kept_max, webhooks: Mutex::default() }
    }

    /// The last attempts, the newest first.
    pub(crate) fn of(&self, id: &WebhookId) -> Vec<WebhookAttempt> {
        let webhooks = self.webhooks();
        webhooks.get(id).map(|known| known.last.iter().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn keep(&self, id: &WebhookId, attempt: WebhookAttempt) {
        let mut webhooks = self.webhooks();
        let last = &mut webhooks.entry(id.clone()).or_default().last;
        last.push_front(attempt);
        last.truncate(self.kept_max);
    }

    pub(crate) fn health<T>(&self, id: &WebhookId, note: impl FnOnce(&mut Health) -> T) -> T {
        note(&mut self.webhooks().entry(id.clone()).or_default().health)
    }

    pub(crate) fn forget(&self, id: &WebhookId) {
        self.webhooks().remove(id);
    }

    fn webhooks(&self) -> std::sync::MutexGuard<'_, BTreeMap<WebhookId, Known>> {
        self.webhooks.lock().expect("no code panics while holding the attempts")
    }
}
