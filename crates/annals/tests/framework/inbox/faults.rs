//! A queue that dies, or does not answer, at one of the calls that change something.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals::{
    Activation, Advance, Attempt, CheckpointStore, Claim, Delivery, DeliveryId, DeliveryInfo,
    DeliveryQueue, Enqueue, Enrol, Failure, Fault, Generation, InboxInfo, Lease, Parked,
    ReadSideError, Renewed, SelectDeliveries, Settled, SubscriberInfo, SubscriberName,
    SubscriberState, Take, Timestamp,
};
use async_trait::async_trait;

/// What happens at the chosen call, and at which side of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Strike {
    /// It is never made, and whoever calls hears nothing any more.
    DeadBefore,
    /// It is made, and whoever calls hears nothing any more.
    DeadAfter,
    /// It is not made, and whoever calls is told so.
    FailsBefore,
    /// It is made, and the answer is lost.
    FailsAfter,
}

/// A queue around another one. After a deadly strike no other call comes through either, as from
/// a process that has died.
#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn DeliveryQueue>,
    strike: Strike,
    /// At which of the calls.
    at: usize,
    calls: AtomicUsize,
}

impl Faulty {
    pub(crate) fn new(inner: &Arc<dyn DeliveryQueue>, strike: Strike, at: usize) -> Arc<Self> {
        Arc::new(Self { inner: Arc::clone(inner), strike, at, calls: AtomicUsize::new(0) })
    }

    /// Whether so many calls were made that it came to that.
    pub(crate) fn has_struck(&self) -> bool {
        self.calls.load(Ordering::SeqCst) > self.at
    }

    /// Whether nothing comes through any more.
    pub(crate) fn is_dead(&self) -> bool {
        self.has_struck() && matches!(self.strike, Strike::DeadBefore | Strike::DeadAfter)
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, ReadSideError>> + Send,
    ) -> Result<T, ReadSideError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let is_deadly = matches!(self.strike, Strike::DeadBefore | Strike::DeadAfter);
        if number > self.at && is_deadly {
            return std::future::pending().await;
        }
        if number != self.at {
            return call.await;
        }
        let away = || ReadSideError::Unavailable(Fault::new("the line is dead"));
        match self.strike {
            Strike::DeadBefore => std::future::pending().await,
            Strike::DeadAfter => {
                call.await?;
                std::future::pending().await
            }
            Strike::FailsBefore => Err(away()),
            Strike::FailsAfter => {
                call.await?;
                Err(away())
            }
        }
    }
}

#[async_trait]
impl CheckpointStore for Faulty {
    async fn enrol(&self, enrol: Enrol) -> Result<SubscriberInfo, ReadSideError> {
        self.inner.enrol(enrol).await
    }

    async fn begin_generation(&self, enrol: Enrol) -> Result<Generation, ReadSideError> {
        self.inner.begin_generation(enrol).await
    }

    async fn activate(
        &self,
        subscriber: &SubscriberName,
        generation: Generation,
        now: Timestamp,
    ) -> Result<Activation, ReadSideError> {
        self.inner.activate(subscriber, generation, now).await
    }

    async fn discard(
        &self,
        subscriber: &SubscriberName,
        generation: Generation,
    ) -> Result<(), ReadSideError> {
        self.inner.discard(subscriber, generation).await
    }

    async fn claim(&self, claim: Claim) -> Result<Option<Lease>, ReadSideError> {
        self.call(self.inner.claim(claim)).await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed, ReadSideError> {
        self.call(self.inner.renew(lease, until)).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), ReadSideError> {
        self.call(self.inner.release(lease)).await
    }

    async fn advance(&self, advance: &Advance) -> Result<(), ReadSideError> {
        self.call(self.inner.advance(advance)).await
    }

    async fn fail(&self, lease: &Lease, failure: Failure) -> Result<(), ReadSideError> {
        self.call(self.inner.fail(lease, failure)).await
    }

    async fn set_state(
        &self,
        subscriber: &SubscriberName,
        state: SubscriberState,
    ) -> Result<(), ReadSideError> {
        self.inner.set_state(subscriber, state).await
    }

    async fn subscribers(&self) -> Result<Vec<SubscriberInfo>, ReadSideError> {
        self.inner.subscribers().await
    }

    async fn subscriber(
        &self,
        subscriber: &SubscriberName,
    ) -> Result<Option<SubscriberInfo>, ReadSideError> {
        self.inner.subscriber(subscriber).await
    }

    async fn parked(
        &self,
        subscriber: &SubscriberName,
        limit: usize,
    ) -> Result<Vec<Parked>, ReadSideError> {
        self.inner.parked(subscriber, limit).await
    }
}

#[async_trait]
impl DeliveryQueue for Faulty {
    async fn enqueue(&self, enqueue: Enqueue, now: Timestamp) -> Result<u64, ReadSideError> {
        self.call(self.inner.enqueue(enqueue, now)).await
    }

    async fn take(&self, take: Take) -> Result<Vec<Delivery>, ReadSideError> {
        self.call(self.inner.take(take)).await
    }

    async fn settle(&self, settled: Vec<Settled>, now: Timestamp) -> Result<(), ReadSideError> {
        self.call(self.inner.settle(settled, now)).await
    }

    async fn keep(
        &self,
        taken: &[(DeliveryId, u64)],
        until: Timestamp,
    ) -> Result<(), ReadSideError> {
        self.call(self.inner.keep(taken, until)).await
    }

    async fn next_due(&self, inbox: &SubscriberName) -> Result<Option<Timestamp>, ReadSideError> {
        self.inner.next_due(inbox).await
    }

    async fn deliveries(
        &self,
        which: &SelectDeliveries,
        limit: usize,
    ) -> Result<Vec<DeliveryInfo>, ReadSideError> {
        self.inner.deliveries(which, limit).await
    }

    async fn attempts(&self, id: &DeliveryId) -> Result<Vec<Attempt>, ReadSideError> {
        self.inner.attempts(id).await
    }

    async fn retry(&self, which: &SelectDeliveries, now: Timestamp) -> Result<u64, ReadSideError> {
        self.inner.retry(which, now).await
    }

    async fn skip(
        &self,
        which: &SelectDeliveries,
        reason: &str,
        now: Timestamp,
    ) -> Result<u64, ReadSideError> {
        self.inner.skip(which, reason, now).await
    }

    async fn inboxes(&self) -> Result<Vec<InboxInfo>, ReadSideError> {
        self.inner.inboxes().await
    }

    async fn forget(
        &self,
        inbox: &SubscriberName,
        before: Timestamp,
        limit: usize,
    ) -> Result<u64, ReadSideError> {
        self.inner.forget(inbox, before, limit).await
    }
}
