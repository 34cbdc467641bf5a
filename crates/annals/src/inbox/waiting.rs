//! Waiting for inboxes to have done what there was to do.

use std::time::Duration;

use annals_core::error::ReadError;
use annals_core::{InboxInfo, Position, ReadSideError, SubscriberName, SubscriberState};
use tokio::time::Instant;

use super::RunningInboxes;

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
        "after {waited:?} there is still something to do for {behind:?}; wait longer, or look at \
         their status"
    )]
    TimedOut {
        /// How long was waited.
        waited: Duration,
        /// Which inboxes have not looked at the log that far, or have deliveries that are due.
        behind: Vec<SubscriberName>,
    },
}

impl RunningInboxes {
    /// Waits until every inbox has looked at the log as it is now, and has nothing due. One that
    /// is paused counts for its reading only, and one that is [fed](super::Inbox::fed) for its
    /// deliveries only.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    pub async fn wait_until_idle(&self, timeout: Duration) -> Result<(), WaitError> {
        let head = self.engine.annals.store().head().await?;
        self.wait_for(head, timeout).await
    }

    /// Waits until every inbox has looked at the log up to `position`, and has nothing due: what
    /// an append whose receipt has this position led to is done, unless it failed.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], or when log or queue do not answer.
    pub async fn wait_for(&self, position: Position, timeout: Duration) -> Result<(), WaitError> {
        const LOOK_FIRST: Duration = Duration::from_millis(2);
        const LOOK_MAX: Duration = Duration::from_millis(50);
        let begun = Instant::now();
        let mut look = LOOK_FIRST;
        loop {
            let behind = self.behind(position).await?;
            if behind.is_empty() {
                return Ok(());
            }
            let waited = begun.elapsed();
            if waited >= timeout {
                return Err(WaitError::TimedOut { waited, behind });
            }
            // Checkpoints may be behind what was looked at.
            self.engine.signals.reading.notify_one();
            tokio::time::sleep(look.min(timeout.saturating_sub(waited))).await;
            look = (look * 2).min(LOOK_MAX);
        }
    }

    /// The inboxes that have not looked that far, or have something due.
    async fn behind(&self, position: Position) -> Result<Vec<SubscriberName>, ReadSideError> {
        let queue = &self.engine.queue;
        let subscribers = queue.subscribers().await?;
        // What is being made now is neither waiting nor made: nothing may have changed while it
        // was asked what is due.
        let before = queue.inboxes().await?;
        let mut due = Vec::new();
        let inboxes = self.engine.inboxes.now();
        for inbox in &inboxes {
            if figures(&before, &inbox.name).is_none() {
                continue;
            }
            let next = queue.next_due(&inbox.name).await?;
            if next.is_some_and(|next| next <= self.engine.now()) {
                due.push(&inbox.name);
            }
        }
        let after = queue.inboxes().await?;
        let behind = inboxes.iter().filter(|inbox| {
            let name = &inbox.name;
            let subscriber = subscribers.iter().find(|one| one.subscriber == *name);
            let active = subscriber.and_then(|subscriber| subscriber.active());
            let has_read = active.is_some_and(|active| active.position() >= position);
            if inbox.reads_the_log() && !has_read {
                return true;
            }
            let paused = subscriber.is_some_and(|one| one.state == SubscriberState::Paused);
            let before = figures(&before, name);
            let taken = before.is_some_and(|figures| figures.taken > 0);
            let works = taken || before != figures(&after, name) || due.contains(&name);
            !paused && works
        });
        Ok(behind.map(|inbox| inbox.name.clone()).collect())
    }
}

fn figures<'a>(all: &'a [InboxInfo], inbox: &SubscriberName) -> Option<&'a InboxInfo> {
    all.iter().find(|figures| figures.inbox == *inbox)
}
