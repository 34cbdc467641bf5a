//! A read side that fails on purpose: before it does something, or behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use annals::{
    Activation, Advance, CheckpointStore, Claim, Enrol, Failure, Fault, Generation, Lease,
    ListRows, Parked, ReadSideError, Renewed, Row, RowChange, RowKey, RowStore, SubscriberInfo,
    SubscriberName, SubscriberState, Timestamp,
};
use async_trait::async_trait;

/// Fails about every so many calls of those that change something, half of the times when it is
/// already done; by a fixed sequence of numbers, so that a failing test fails again.
#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn RowStore>,
    one_in: u64,
    delay: Duration,
    state: AtomicU64,
    faults: AtomicU64,
}

enum Meet {
    Honestly,
    NotAtAll,
    AnswerLost,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn RowStore>, one_in: u64, seed: u64) -> Self {
        let (state, faults) = (AtomicU64::new(seed | 1), AtomicU64::new(0));
        Self { inner, one_in, delay: Duration::ZERO, state, faults }
    }

    /// One that does not fail, but takes so long before and behind each change.
    pub(crate) fn slow(inner: Arc<dyn RowStore>, delay: Duration) -> Self {
        Self { delay, ..Self::new(inner, u64::MAX, 1) }
    }

    pub(crate) fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    fn meet(&self) -> Meet {
        // xorshift
        let mut number = self.state.load(Ordering::Relaxed);
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        self.state.store(number, Ordering::Relaxed);
        if !number.is_multiple_of(self.one_in) {
            return Meet::Honestly;
        }
        self.faults.fetch_add(1, Ordering::Relaxed);
        if (number / self.one_in).is_multiple_of(2) { Meet::NotAtAll } else { Meet::AnswerLost }
    }

    async fn meeting<T>(
        &self,
        call: impl Future<Output = Result<T, ReadSideError>>,
    ) -> Result<T, ReadSideError> {
        let lost = || ReadSideError::Unavailable(Fault::new("failing on purpose"));
        match self.meet() {
            Meet::Honestly if self.delay.is_zero() => call.await,
            Meet::Honestly => {
                tokio::time::sleep(self.delay).await;
                let answer = call.await;
                tokio::time::sleep(self.delay).await;
                answer
            }
            Meet::NotAtAll => Err(lost()),
            Meet::AnswerLost => call.await.and_then(|_| Err(lost())),
        }
    }
}

#[async_trait]
impl CheckpointStore for Faulty {
    async fn enrol(&self, enrol: Enrol) -> Result<SubscriberInfo, ReadSideError> {
        self.meeting(self.inner.enrol(enrol)).await
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
        self.meeting(self.inner.activate(subscriber, generation, now)).await
    }

    async fn discard(
        &self,
        subscriber: &SubscriberName,
        generation: Generation,
    ) -> Result<(), ReadSideError> {
        self.meeting(self.inner.discard(subscriber, generation)).await
    }

    async fn claim(&self, claim: Claim) -> Result<Option<Lease>, ReadSideError> {
        self.meeting(self.inner.claim(claim)).await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed, ReadSideError> {
        self.meeting(self.inner.renew(lease, until)).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), ReadSideError> {
        self.meeting(self.inner.release(lease)).await
    }

    async fn advance(&self, advance: &Advance) -> Result<(), ReadSideError> {
        self.meeting(self.inner.advance(advance)).await
    }

    async fn fail(&self, lease: &Lease, failure: Failure) -> Result<(), ReadSideError> {
        self.meeting(self.inner.fail(lease, failure)).await
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
impl RowStore for Faulty {
    async fn rows_of(&self, lease: &Lease, keys: &[RowKey]) -> Result<Vec<Row>, ReadSideError> {
        self.meeting(self.inner.rows_of(lease, keys)).await
    }

    async fn commit_rows(
        &self,
        changes: Vec<RowChange>,
        advance: &Advance,
    ) -> Result<(), ReadSideError> {
        self.meeting(self.inner.commit_rows(changes, advance)).await
    }

    async fn row(
        &self,
        subscriber: &SubscriberName,
        key: &RowKey,
    ) -> Result<Option<Row>, ReadSideError> {
        self.inner.row(subscriber, key).await
    }

    async fn rows(
        &self,
        subscriber: &SubscriberName,
        list: ListRows,
    ) -> Result<Vec<Row>, ReadSideError> {
        self.inner.rows(subscriber, list).await
    }

    async fn sweep_rows(
        &self,
        subscriber: &SubscriberName,
        keep: &[Generation],
        limit: usize,
    ) -> Result<usize, ReadSideError> {
        self.meeting(self.inner.sweep_rows(subscriber, keep, limit)).await
    }
}
