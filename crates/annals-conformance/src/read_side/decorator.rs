//! Read sides around other read sides.

use std::fmt::Debug;
use std::sync::Arc;

use annals_core::error::ReadSideError;
use annals_core::{
    Activation, Advance, Attempt, CheckpointStore, Claim, Deleted, Delivery, DeliveryId,
    DeliveryInfo, DeliveryQueue, Enqueue, Enrol, Failure, Generation, InboxInfo, Lease, ListRows,
    Parked, Renewed, Row, RowChange, RowKey, RowStore, SelectDeliveries, Settled, SubscriberInfo,
    SubscriberName, SubscriberState, Take, Timestamp,
};
use async_trait::async_trait;

use super::ReadSide;

/// A read side under a [`ReadSideDecorator`].
#[derive(Debug)]
pub struct DecoratedReadSide<D> {
    side: Arc<dyn ReadSide>,
    decorator: D,
}

impl<D: ReadSideDecorator> DecoratedReadSide<D> {
    /// `decorator` over `side`.
    #[must_use]
    pub fn over(side: impl ReadSide + 'static, decorator: D) -> Self {
        Self { side: Arc::new(side), decorator }
    }

    /// What it is under.
    pub fn decorator(&self) -> &D {
        &self.decorator
    }
}

macro_rules! decorated {
    ($($capability:ident {
        $($method:ident($($argument:ident: $given:ty),*) -> $answer:ty;)*
    })*) => {
        /// What a read side does otherwise than the one beneath it.
        #[async_trait]
        pub trait ReadSideDecorator: Debug + Send + Sync + 'static {
            /// Stands around every call, whose name is that of the method.
            async fn around<T, C>(&self, name: &'static str, call: C) -> Result<T, ReadSideError>
            where
                T: Send,
                C: Future<Output = Result<T, ReadSideError>> + Send,
            {
                let _ = name;
                call.await
            }

            $($(
                #[doc = concat!("As [`", stringify!($capability), "::", stringify!($method), "`].")]
                async fn $method(
                    &self,
                    side: &Arc<dyn ReadSide>,
                    $($argument: $given),*
                ) -> Result<$answer, ReadSideError> {
                    side.$method($($argument),*).await
                }
            )*)*
        }

        $(
            #[async_trait]
            impl<D: ReadSideDecorator> $capability for DecoratedReadSide<D> {
                $(
                    async fn $method(
                        &self,
                        $($argument: $given),*
                    ) -> Result<$answer, ReadSideError> {
                        let call = self.decorator.$method(&self.side, $($argument),*);
                        self.decorator.around(stringify!($method), call).await
                    }
                )*
            }
        )*
    };
}

decorated! {
    CheckpointStore {
        enrol(enrol: Enrol) -> SubscriberInfo;
        begin_generation(enrol: Enrol) -> Generation;
        activate(subscriber: &SubscriberName, generation: Generation, now: Timestamp) -> Activation;
        discard(subscriber: &SubscriberName, generation: Generation) -> ();
        claim(claim: Claim) -> Option<Lease>;
        renew(lease: &Lease, until: Timestamp) -> Renewed;
        release(lease: &Lease) -> ();
        advance(advance: &Advance) -> ();
        fail(lease: &Lease, failure: Failure) -> ();
        set_state(subscriber: &SubscriberName, state: SubscriberState) -> ();
        delete(subscriber: &SubscriberName, now: Timestamp) -> Deleted;
        subscribers() -> Vec<SubscriberInfo>;
        subscriber(subscriber: &SubscriberName) -> Option<SubscriberInfo>;
        parked(subscriber: &SubscriberName, limit: usize) -> Vec<Parked>;
    }
    RowStore {
        rows_of(lease: &Lease, keys: &[RowKey]) -> Vec<Row>;
        commit_rows(changes: Vec<RowChange>, advance: &Advance) -> ();
        row(subscriber: &SubscriberName, key: &RowKey) -> Option<Row>;
        rows(subscriber: &SubscriberName, list: ListRows) -> Vec<Row>;
        sweep_rows(subscriber: &SubscriberName, keep: &[Generation], limit: usize) -> usize;
    }
    DeliveryQueue {
        enqueue(enqueue: Enqueue, now: Timestamp) -> u64;
        take(take: Take) -> Vec<Delivery>;
        settle(settled: Vec<Settled>, now: Timestamp) -> ();
        keep(taken: &[(DeliveryId, u64)], until: Timestamp) -> ();
        next_due(inbox: &SubscriberName) -> Option<Timestamp>;
        deliveries(which: &SelectDeliveries, limit: usize) -> Vec<DeliveryInfo>;
        attempts(id: &DeliveryId) -> Vec<Attempt>;
        retry(which: &SelectDeliveries, now: Timestamp) -> u64;
        skip(which: &SelectDeliveries, reason: &str, now: Timestamp) -> u64;
        inboxes() -> Vec<InboxInfo>;
        forget(inbox: &SubscriberName, before: Timestamp, limit: usize) -> u64;
    }
}
