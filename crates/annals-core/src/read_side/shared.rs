//! What is shared behind an `Arc` can what it holds can.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Activation, Advance, Attempt, CheckpointStore, Claim, Deleted, Delivery, DeliveryId,
    DeliveryInfo, DeliveryQueue, Enqueue, Enrol, Failure, Generation, InboxInfo, Lease, ListRows,
    Parked, Partition, ProjectError, Projector, Renewed, Row, RowChange, RowKey, RowStore,
    SelectDeliveries, Settled, Stretch, SubscriberInfo, SubscriberState, Take,
};
use crate::error::ReadSideError;
use crate::{Query, RecordedEvent, SubscriberName, Timestamp};

type Result<T, E = ReadSideError> = std::result::Result<T, E>;

#[async_trait]
impl<S: CheckpointStore + ?Sized> CheckpointStore for Arc<S> {
    async fn enrol(&self, enrol: Enrol) -> Result<SubscriberInfo> {
        (**self).enrol(enrol).await
    }

    async fn begin_generation(&self, enrol: Enrol) -> Result<Generation> {
        (**self).begin_generation(enrol).await
    }

    async fn activate(
        &self,
        subscriber: &SubscriberName,
        generation: Generation,
        now: Timestamp,
    ) -> Result<Activation> {
        (**self).activate(subscriber, generation, now).await
    }

    async fn discard(&self, subscriber: &SubscriberName, generation: Generation) -> Result<()> {
        (**self).discard(subscriber, generation).await
    }

    async fn claim(&self, claim: Claim) -> Result<Option<Lease>> {
        (**self).claim(claim).await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Renewed> {
        (**self).renew(lease, until).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        (**self).release(lease).await
    }

    async fn advance(&self, advance: &Advance) -> Result<()> {
        (**self).advance(advance).await
    }

    async fn fail(&self, lease: &Lease, failure: Failure) -> Result<()> {
        (**self).fail(lease, failure).await
    }

    async fn set_state(&self, subscriber: &SubscriberName, state: SubscriberState) -> Result<()> {
        (**self).set_state(subscriber, state).await
    }

    async fn delete(&self, subscriber: &SubscriberName, now: Timestamp) -> Result<Deleted> {
        (**self).delete(subscriber, now).await
    }

    async fn subscribers(&self) -> Result<Vec<SubscriberInfo>> {
        (**self).subscribers().await
    }

    async fn subscriber(&self, subscriber: &SubscriberName) -> Result<Option<SubscriberInfo>> {
        (**self).subscriber(subscriber).await
    }

    async fn parked(&self, subscriber: &SubscriberName, limit: usize) -> Result<Vec<Parked>> {
        (**self).parked(subscriber, limit).await
    }
}

#[async_trait]
impl<S: RowStore + ?Sized> RowStore for Arc<S> {
    async fn rows_of(&self, lease: &Lease, keys: &[RowKey]) -> Result<Vec<Row>> {
        (**self).rows_of(lease, keys).await
    }

    async fn commit_rows(&self, changes: Vec<RowChange>, advance: &Advance) -> Result<()> {
        (**self).commit_rows(changes, advance).await
    }

    async fn row(&self, subscriber: &SubscriberName, key: &RowKey) -> Result<Option<Row>> {
        (**self).row(subscriber, key).await
    }

    async fn rows(&self, subscriber: &SubscriberName, list: ListRows) -> Result<Vec<Row>> {
        (**self).rows(subscriber, list).await
    }

    async fn sweep_rows(
        &self,
        subscriber: &SubscriberName,
        keep: &[Generation],
        limit: usize,
    ) -> Result<usize> {
        (**self).sweep_rows(subscriber, keep, limit).await
    }
}

#[async_trait]
impl<S: DeliveryQueue + ?Sized> DeliveryQueue for Arc<S> {
    async fn enqueue(&self, enqueue: Enqueue, now: Timestamp) -> Result<u64> {
        (**self).enqueue(enqueue, now).await
    }

    async fn take(&self, take: Take) -> Result<Vec<Delivery>> {
        (**self).take(take).await
    }

    async fn settle(&self, settled: Vec<Settled>, now: Timestamp) -> Result<()> {
        (**self).settle(settled, now).await
    }

    async fn keep(&self, taken: &[(DeliveryId, u64)], until: Timestamp) -> Result<()> {
        (**self).keep(taken, until).await
    }

    async fn next_due(&self, inbox: &SubscriberName) -> Result<Option<Timestamp>> {
        (**self).next_due(inbox).await
    }

    async fn deliveries(
        &self,
        which: &SelectDeliveries,
        limit: usize,
    ) -> Result<Vec<DeliveryInfo>> {
        (**self).deliveries(which, limit).await
    }

    async fn attempts(&self, id: &DeliveryId) -> Result<Vec<Attempt>> {
        (**self).attempts(id).await
    }

    async fn retry(&self, which: &SelectDeliveries, now: Timestamp) -> Result<u64> {
        (**self).retry(which, now).await
    }

    async fn skip(&self, which: &SelectDeliveries, reason: &str, now: Timestamp) -> Result<u64> {
        (**self).skip(which, reason, now).await
    }

    async fn inboxes(&self) -> Result<Vec<InboxInfo>> {
        (**self).inboxes().await
    }

    async fn forget(&self, inbox: &SubscriberName, before: Timestamp, limit: usize) -> Result<u64> {
        (**self).forget(inbox, before, limit).await
    }
}

#[async_trait]
impl<P: Projector + ?Sized> Projector for Arc<P> {
    fn name(&self) -> &SubscriberName {
        (**self).name()
    }

    fn version(&self) -> u32 {
        (**self).version()
    }

    fn query(&self) -> Query {
        (**self).query()
    }

    fn checkpoints(&self) -> Arc<dyn CheckpointStore> {
        (**self).checkpoints()
    }

    fn concerns(&self, event: &RecordedEvent, partition: Partition) -> bool {
        (**self).concerns(event, partition)
    }

    async fn prepare(&self, generation: Generation) -> Result<(), ProjectError> {
        (**self).prepare(generation).await
    }

    async fn project(&self, stretch: &Stretch) -> Result<(), ProjectError> {
        (**self).project(stretch).await
    }

    async fn activate(
        &self,
        generation: Generation,
        now: Timestamp,
    ) -> Result<Activation, ProjectError> {
        (**self).activate(generation, now).await
    }

    async fn discard(&self, generation: Generation) -> Result<(), ProjectError> {
        (**self).discard(generation).await
    }
}
