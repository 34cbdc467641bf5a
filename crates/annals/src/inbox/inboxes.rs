//! What people do with inboxes, whether they run here or elsewhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use annals_core::{
    Attempt, Clock, Deleted, DeliveryId, DeliveryInfo, DeliveryQueue, DeliveryState, Enqueue,
    Failure, InboxInfo, NewDelivery, Position, ReadSideError, SelectDeliveries, SubscriberInfo,
    SubscriberName, SubscriberState, SystemClock, Timestamp,
};

use super::signals::Signals;

/// What people do with inboxes: see how they stand, pause them, look after dead letters, and delete
/// those that nobody runs any more.
///
/// It needs nothing but the queue: the inboxes may run in other processes, which notice within
/// their [polling interval](super::InboxRunner::poll).
///
/// ```
/// use annals::{DeliveryQueue, DeliveryState, Inboxes, SelectDeliveries, SubscriberName};
/// # use std::sync::Arc;
///
/// # async fn look(queue: Arc<dyn DeliveryQueue>) -> Result<(), Box<dyn std::error::Error>> {
/// let inboxes = Inboxes::over(queue);
/// let email = SubscriberName::new("email")?;
/// for dead in inboxes.dead_letters(SelectDeliveries::inbox(email.clone()), 100).await? {
///     println!("{}: {}", dead.id, dead.last_error.unwrap_or_default());
/// }
/// inboxes.retry(SelectDeliveries::inbox(email).state(DeliveryState::Dead)).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Inboxes {
    queue: Arc<dyn DeliveryQueue>,
    clock: Arc<dyn Clock>,
    /// Those that run here, if any do.
    signals: Option<Arc<Signals>>,
}

/// How an inbox stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InboxStatus {
    /// Which one.
    pub inbox: SubscriberName,
    /// Whether it works.
    pub state: SubscriberState,
    /// Up to where the log was looked at for it: [`Position::START`] if it is
    /// [fed](super::Inbox::fed).
    pub position: Position,
    /// When that position last moved.
    pub moved_at: Timestamp,
    /// Who reads the log for it, and until when that is certain.
    pub reader: Option<(String, Timestamp)>,
    /// Why the log is not read for it any more.
    pub failure: Option<Failure>,
    /// Deliveries that wait, and were not tried yet.
    pub waiting: u64,
    /// Deliveries that wait to be tried again.
    pub retrying: u64,
    /// Deliveries that somebody makes.
    pub taken: u64,
    /// Dead letters.
    pub dead: u64,
    /// Since when the oldest delivery that is neither made nor dead waits.
    pub oldest: Option<Timestamp>,
}

impl Inboxes {
    /// The inboxes whose deliveries are in `queue`.
    #[must_use]
    pub fn over(queue: Arc<dyn DeliveryQueue>) -> Self {
        Self { queue, clock: Arc::new(SystemClock), signals: None }
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    pub(super) fn running(
        queue: Arc<dyn DeliveryQueue>,
        clock: Arc<dyn Clock>,
        signals: Arc<Signals>,
    ) -> Self {
        Self { queue, clock, signals: Some(signals) }
    }

    /// Makes no more deliveries until it is resumed, also after a restart; what is being made is
    /// finished. Events go on being enqueued.
    ///
    /// # Errors
    /// [`ReadSideError::Unknown`] when no such inbox was ever started; or when the database does
    /// not answer. So do the others.
    pub async fn pause(&self, inbox: &str) -> Result<(), ReadSideError> {
        self.set(inbox, SubscriberState::Paused).await
    }

    /// Goes on after a pause, or after a failure.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn resume(&self, inbox: &str) -> Result<(), ReadSideError> {
        self.set(inbox, SubscriberState::Running).await
    }

    /// Takes no new deliveries until it is enabled: events that are read meanwhile will never be
    /// delivered to it. What is enqueued already is made.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn disable(&self, inbox: &str) -> Result<(), ReadSideError> {
        self.set(inbox, SubscriberState::Disabled).await
    }

    /// Takes deliveries again, of what is read from now on.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn enable(&self, inbox: &str) -> Result<(), ReadSideError> {
        self.set(inbox, SubscriberState::Running).await
    }

    async fn set(&self, inbox: &str, state: SubscriberState) -> Result<(), ReadSideError> {
        // Whether it is known is found out by looking for it.
        let name = SubscriberName::from_stored(inbox);
        self.queue.set_state(&name, state).await?;
        if let Some(signals) = &self.signals {
            signals.told(&name, state);
        }
        Ok(())
    }

    /// Deletes one that nobody runs any more: up to where the log was read for it, and its
    /// deliveries, also those that are still to be made, with their attempts. Says what went.
    ///
    /// It cannot be undone, but for starting it again: it begins as a new one then. When it fails
    /// midway, delete it once more. One that is [fed](super::Inbox::fed) has nothing that shows
    /// that somebody runs it while nothing is being made: stop it first.
    ///
    /// # Errors
    /// [`ReadSideError::InUse`] while somebody runs it, which says what to do;
    /// [`ReadSideError::Unknown`] when there is none of this name; or when the database does not
    /// answer.
    pub async fn delete(&self, inbox: &str) -> Result<Deleted, ReadSideError> {
        let name = SubscriberName::from_stored(inbox);
        // One that was deleted in part, or was only fed, is not known.
        if self.queue.subscriber(&name).await?.is_some_and(|info| !info.is_inbox()) {
            return Err(ReadSideError::Unknown(name));
        }
        self.queue.delete(&name, self.clock.now()).await
    }

    /// Puts deliveries into the queue, for inboxes that are [fed](super::Inbox::fed); those that
    /// run here begin at once. One that was enqueued before, however it stands now, is passed
    /// over. Says how many were new.
    ///
    /// # Errors
    /// [`ReadSideError::Invalid`] for what [`NewDelivery::check`] refuses: then none was enqueued;
    /// or when the database does not answer.
    pub async fn enqueue(&self, deliveries: Vec<NewDelivery>) -> Result<u64, ReadSideError> {
        let inboxes: BTreeSet<_> = deliveries.iter().map(|new| new.inbox.clone()).collect();
        let enqueue = Enqueue { deliveries, advances: Vec::new() };
        let added = self.queue.enqueue(enqueue, self.clock.now()).await?;
        if let Some(signals) = &self.signals {
            inboxes.iter().for_each(|inbox| signals.wake(inbox));
        }
        Ok(added)
    }

    /// How inboxes stand, by name: all that were ever started on this queue.
    ///
    /// # Errors
    /// When the database does not answer. So do the others.
    pub async fn status(&self) -> Result<Vec<InboxStatus>, ReadSideError> {
        let subscribers = self.queue.subscribers().await?;
        let figures = self.queue.inboxes().await?;
        let status = subscribers.into_iter().filter_map(|subscriber| {
            let figures = figures.iter().find(|figures| figures.inbox == subscriber.subscriber);
            let is_inbox = subscriber.is_inbox() || figures.is_some();
            is_inbox.then(|| InboxStatus::of(subscriber, figures))
        });
        Ok(status.collect())
    }

    /// Deliveries, by position, at most so many.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub async fn deliveries(
        &self,
        which: SelectDeliveries,
        limit: usize,
    ) -> Result<Vec<DeliveryInfo>, ReadSideError> {
        self.queue.deliveries(&which, limit).await
    }

    /// The dead letters among them.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub async fn dead_letters(
        &self,
        which: SelectDeliveries,
        limit: usize,
    ) -> Result<Vec<DeliveryInfo>, ReadSideError> {
        self.deliveries(which.state(DeliveryState::Dead), limit).await
    }

    /// The attempts that are remembered of a delivery, oldest first.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub async fn attempts(&self, id: &DeliveryId) -> Result<Vec<Attempt>, ReadSideError> {
        self.queue.attempts(id).await
    }

    /// Makes dead letters, and those that wait to be tried again, due at once, and counts their
    /// attempts anew. Says how many.
    ///
    /// One that is older than its inbox's [`age_max`](super::Retries::age_max) gets one attempt.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub async fn retry(&self, which: SelectDeliveries) -> Result<u64, ReadSideError> {
        let count = self.queue.retry(&which, self.clock.now()).await?;
        self.wake_all();
        Ok(count)
    }

    /// Decides that deliveries which wait, or are dead, are not made, and remembers why. Says how
    /// many. What waited behind them goes on.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub async fn skip(&self, which: SelectDeliveries, reason: &str) -> Result<u64, ReadSideError> {
        let count = self.queue.skip(&which, reason, self.clock.now()).await?;
        self.wake_all();
        Ok(count)
    }

    fn wake_all(&self) {
        if let Some(signals) = &self.signals {
            signals.wake_all();
        }
    }
}

impl InboxStatus {
    fn of(subscriber: SubscriberInfo, figures: Option<&InboxInfo>) -> Self {
        let part = subscriber.active().and_then(|generation| generation.partitions.first());
        let figure = |figure: fn(&InboxInfo) -> u64| figures.map_or(0, figure);
        Self {
            state: subscriber.state,
            position: part.map_or(Position::START, |part| part.position),
            moved_at: part.map_or(Timestamp::EPOCH, |part| part.moved_at),
            reader: part.and_then(|part| part.owner.clone()),
            failure: part.and_then(|part| part.failure.clone()),
            waiting: figure(|figures| figures.waiting),
            retrying: figure(|figures| figures.retrying),
            taken: figure(|figures| figures.taken),
            dead: figure(|figures| figures.dead),
            oldest: figures.and_then(|figures| figures.oldest),
            inbox: subscriber.subscriber,
        }
    }
}
