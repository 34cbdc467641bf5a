//! Inboxes that are about to run.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use annals_core::error::ReadError;
use annals_core::{
    DeliveryQueue, Enrol, OnNewVersion, Position, ReadSideError, SubscriberInfo, SubscriberName,
    SubscriberState,
};

use super::definition::Begins;
use super::engine::Engine;
use super::{Dispatcher, Inbox, RunningInboxes};
use crate::Annals;

impl Annals {
    /// Runs inboxes, whose deliveries are kept in `queue`: in the same database as the log, or in
    /// another.
    ///
    /// Time that is kept, such as when a delivery is due, is this handle's
    /// [clock](Self::with_clock)'s.
    pub fn inboxes(&self, queue: Arc<dyn DeliveryQueue>) -> InboxRunner {
        InboxRunner {
            annals: self.clone(),
            queue,
            inboxes: Vec::new(),
            settings: Settings::default(),
        }
    }
}

/// Inboxes that are about to run.
#[derive(Debug)]
#[must_use = "nothing runs before it is started; call `start()`"]
pub struct InboxRunner {
    annals: Annals,
    queue: Arc<dyn DeliveryQueue>,
    inboxes: Vec<Inbox>,
    settings: Settings,
}

/// How inboxes run in this process.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) workers_max: Option<usize>,
    pub(super) lease: Duration,
    pub(super) poll: Duration,
    pub(super) grace: Duration,
    pub(super) remember: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers_max: None,
            lease: Duration::from_secs(30),
            poll: Duration::from_secs(1),
            grace: Duration::from_secs(10),
            remember: Duration::from_secs(7 * 24 * 3_600),
        }
    }
}

impl InboxRunner {
    /// The same with this inbox.
    pub fn inbox(mut self, inbox: Inbox) -> Self {
        self.inboxes.push(inbox);
        self
    }

    /// The same with the durable handlers of a dispatcher.
    pub fn dispatcher(mut self, dispatcher: Dispatcher) -> Self {
        self.inboxes.extend(dispatcher.into_inboxes());
        self
    }

    /// The same with at most so many attempts at the same time in this process, over all inboxes:
    /// those of a higher [priority](Inbox::priority) get them first. Without it, each inbox has as
    /// many as its own [concurrency](Inbox::concurrency), and none has to wait for another.
    pub fn workers_max(mut self, workers: usize) -> Self {
        self.settings.workers_max = Some(workers.max(1));
        self
    }

    /// The same with another time than 30 s after which another process takes over what this one
    /// held when it died; at least 100 ms. Clocks of processes should differ by less.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease.max(Duration::from_millis(100));
        self
    }

    /// The same, looking at least this often at what other processes did; 1 s unless said
    /// otherwise, and at least 1 ms. What happens in this process is noticed at once.
    pub fn poll(mut self, poll: Duration) -> Self {
        self.settings.poll = poll.max(Duration::from_millis(1));
        self
    }

    /// The same with another time than 10 s that running attempts have to finish when it is
    /// [stopped](RunningInboxes::stop).
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// The same, with deliveries of these inboxes that were made or skipped, and what was noted of their attempts,
    /// forgotten after another time than 7 days. Within it a delivery that is enqueued again, after
    /// a crash for example, is recognised.
    pub fn remember(mut self, time: Duration) -> Self {
        self.settings.remember = time;
        self
    }

    /// Makes the inboxes known to the queue, and runs them in tasks of their own until the handle
    /// is stopped or dropped. Others can be [added](RunningInboxes::add) and
    /// [removed](RunningInboxes::remove) while they run.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(self) -> Result<RunningInboxes, StartError> {
        let mut names = HashSet::new();
        if let Some(twice) = self.inboxes.iter().find(|inbox| !names.insert(&inbox.name)) {
            return Err(StartError::Twice(twice.name.clone()));
        }
        let engine = Engine::new(self.annals, self.queue, self.settings);
        let mut states = Vec::new();
        for inbox in &self.inboxes {
            states.push(enrol(&engine, inbox).await?);
        }
        RunningInboxes::of(engine, self.inboxes.into_iter().zip(states))
    }
}

/// Makes an inbox known to the queue, and says what it was told last. One that is fed is known as
/// well, so that it can be paused, and nobody ever moves its checkpoint.
pub(super) async fn enrol(engine: &Engine, inbox: &Inbox) -> Result<SubscriberState, StartError> {
    let enrol = Enrol {
        subscriber: inbox.name.clone(),
        version: SubscriberInfo::INBOX_VERSION,
        partitions: 1,
        after: match inbox.begins {
            Begins::AtTheBeginning | Begins::Nowhere => Position::START,
            Begins::Now => engine.annals.store().head().await?,
        },
        on_new_version: OnNewVersion::Refuse,
        now: engine.now(),
    };
    Ok(engine.queue.enrol(enrol).await?.state)
}

/// Why inboxes do not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The log does not say where it is now.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The queue refuses, or does not answer.
    #[error(transparent)]
    ReadSide(#[from] ReadSideError),
    /// Two of them have the same name.
    #[error("there are two inboxes named {0}; give each its own name")]
    Twice(SubscriberName),
}
