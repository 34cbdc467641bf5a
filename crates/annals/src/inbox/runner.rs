//! What runs inboxes, and what is in one's hand while they run.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use annals_core::error::ReadError;
use annals_core::{DeliveryQueue, Position, ReadSideError, SubscriberName};

use super::{Dispatcher, Inbox, Inboxes};
use crate::Annals;

impl Annals {
    /// Runs inboxes, whose deliveries are kept in `queue`: in the same database as the log, or in
    /// another.
    ///
    /// Time that is kept, such as when a delivery is due, is this handle's
    /// [clock](Self::with_clock)'s.
    #[must_use]
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
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers_max: None,
            lease: Duration::from_secs(30),
            poll: Duration::from_secs(1),
            grace: Duration::from_secs(10),
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
    /// held when it died. Clocks of processes should differ by less.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// The same, looking at least this often at what other processes did; 1 s unless said
    /// otherwise. What happens in this process is noticed at once.
    pub fn poll(mut self, poll: Duration) -> Self {
        self.settings.poll = poll;
        self
    }

    /// The same with another time than 10 s that running attempts have to finish when it is
    /// [stopped](RunningInboxes::stop).
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Makes the inboxes known to the queue, and runs them in tasks of their own until the handle
    /// is stopped or dropped.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(self) -> Result<RunningInboxes, StartError> {
        let mut names = HashSet::new();
        if let Some(twice) = self.inboxes.iter().find(|inbox| !names.insert(&inbox.name)) {
            return Err(StartError::Twice(twice.name.clone()));
        }
        todo!()
    }
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

/// Why what was waited for did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The log does not say where it is now.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The queue does not answer.
    #[error(transparent)]
    ReadSide(#[from] ReadSideError),
    /// The time is up.
    #[error(
        "after {waited:?} there is still something to do for {behind:?}; wait longer, or look at their status"
    )]
    TimedOut {
        /// How long was waited.
        waited: Duration,
        /// Which inboxes have not looked at the log that far, or have deliveries that are due.
        behind: Vec<SubscriberName>,
    },
}

/// Inboxes that run, and everything that people do with [`Inboxes`].
///
/// When it is dropped they stop at once, as if the process had died: what was being made is made
/// again elsewhere. [`stop`](Self::stop) is the better way.
#[derive(Debug)]
#[must_use = "inboxes stop when their handle is dropped"]
pub struct RunningInboxes {
    inboxes: Inboxes,
}

impl RunningInboxes {
    /// Takes nothing new, waits for what is being made, gives back what is not, and hands the
    /// inboxes over to other processes.
    pub async fn stop(self) {
        todo!()
    }

    /// Waits until every inbox has looked at the log as it is now, and has nothing due. One that
    /// is paused counts for its reading only.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    pub async fn wait_until_idle(&self, timeout: Duration) -> Result<(), WaitError> {
        self.wait_for(Position::START, timeout).await
    }

    /// Waits until every inbox has looked at the log up to `position`, and has nothing due: what
    /// an append whose receipt has this position led to is done, unless it failed.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], or when log or queue do not answer.
    pub async fn wait_for(&self, position: Position, timeout: Duration) -> Result<(), WaitError> {
        let _ = (position, timeout);
        todo!()
    }
}

impl Deref for RunningInboxes {
    type Target = Inboxes;

    fn deref(&self) -> &Inboxes {
        &self.inboxes
    }
}
