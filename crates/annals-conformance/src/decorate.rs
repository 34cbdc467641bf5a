//! Stores that do something otherwise than the store beneath them.

use std::fmt::Debug;
use std::sync::Arc;

use annals_core::error::{AppendError, ReadError, SnapshotError};
use annals_core::{
    Append, EventStore, EventStream, Fingerprint, Limits, Notice, Position, Read, Receipt,
    RecordedEvent, SelectSnapshots, Snapshot, SnapshotInfos, SnapshotStore, StreamId, Subscribe,
    Subscription,
};
use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};

/// What a store does otherwise than the one beneath it; what is left out stays as it is.
#[async_trait]
pub trait Decorator: Debug + Send + Sync + 'static {
    /// As [`EventStore::limits`].
    fn limits<'a>(&'a self, store: &'a dyn EventStore) -> &'a Limits {
        store.limits()
    }

    /// As [`EventStore::append`].
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        store.append(append).await
    }

    /// As [`EventStore::read`].
    fn read(&self, store: &Arc<dyn EventStore>, read: Read) -> EventStream {
        store.read(read)
    }

    /// As [`EventStore::subscribe`].
    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        store.subscribe(subscribe)
    }

    /// As [`EventStore::head`].
    async fn head(&self, store: &Arc<dyn EventStore>) -> Result<Position, ReadError> {
        store.head().await
    }
}

/// A store under a [`Decorator`].
#[derive(Debug)]
pub struct Decorated<D> {
    store: Arc<dyn EventStore>,
    decorator: D,
}

impl<D: Decorator> Decorated<D> {
    /// `decorator` over `store`.
    #[must_use]
    pub fn over(store: impl EventStore + 'static, decorator: D) -> Self {
        Self { store: Arc::new(store), decorator }
    }
}

#[async_trait]
impl<D: Decorator> EventStore for Decorated<D> {
    fn limits(&self) -> &Limits {
        self.decorator.limits(&*self.store)
    }

    async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        self.decorator.append(&self.store, append).await
    }

    fn read(&self, read: Read) -> EventStream {
        self.decorator.read(&self.store, read)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        self.decorator.subscribe(&self.store, subscribe)
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.decorator.head(&self.store).await
    }
}

/// What a store of snapshots does otherwise than the one beneath it.
#[async_trait]
pub trait SnapshotDecorator: Debug + Send + Sync + 'static {
    /// As [`SnapshotStore::save_snapshot`].
    async fn save(
        &self,
        store: &Arc<dyn SnapshotStore>,
        snapshot: Snapshot,
    ) -> Result<(), SnapshotError> {
        store.save_snapshot(snapshot).await
    }

    /// As [`SnapshotStore::load_snapshot`].
    async fn load(
        &self,
        store: &Arc<dyn SnapshotStore>,
        stream: &StreamId,
        fold: &Fingerprint,
    ) -> Result<Option<Snapshot>, SnapshotError> {
        store.load_snapshot(stream, fold).await
    }

    /// As [`SnapshotStore::drop_snapshots`].
    async fn drop(
        &self,
        store: &Arc<dyn SnapshotStore>,
        which: SelectSnapshots,
    ) -> Result<u64, SnapshotError> {
        store.drop_snapshots(which).await
    }

    /// As [`SnapshotStore::snapshots`].
    fn list(&self, store: &Arc<dyn SnapshotStore>, which: SelectSnapshots) -> SnapshotInfos {
        store.snapshots(which)
    }
}

/// A store of snapshots under a [`SnapshotDecorator`].
#[derive(Debug)]
pub struct DecoratedSnapshots<D> {
    store: Arc<dyn SnapshotStore>,
    decorator: D,
}

impl<D: SnapshotDecorator> DecoratedSnapshots<D> {
    /// `decorator` over `store`.
    #[must_use]
    pub fn over(store: impl SnapshotStore + 'static, decorator: D) -> Self {
        Self { store: Arc::new(store), decorator }
    }
}

#[async_trait]
impl<D: SnapshotDecorator> SnapshotStore for DecoratedSnapshots<D> {
    async fn save_snapshot(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        self.decorator.save(&self.store, snapshot).await
    }

    async fn load_snapshot(
        &self,
        stream: &StreamId,
        fold: &Fingerprint,
    ) -> Result<Option<Snapshot>, SnapshotError> {
        self.decorator.load(&self.store, stream, fold).await
    }

    async fn drop_snapshots(&self, which: SelectSnapshots) -> Result<u64, SnapshotError> {
        self.decorator.drop(&self.store, which).await
    }

    fn snapshots(&self, which: SelectSnapshots) -> SnapshotInfos {
        self.decorator.list(&self.store, which)
    }
}

/// The same events, each changed.
pub(crate) fn changed(
    events: EventStream,
    change: impl Fn(RecordedEvent) -> RecordedEvent + Send + 'static,
) -> EventStream {
    Box::pin(events.map_ok(change))
}

/// The same notices, each event changed.
pub(crate) fn changed_notices(
    notices: Subscription,
    change: impl Fn(RecordedEvent) -> RecordedEvent + Send + 'static,
) -> Subscription {
    Box::pin(notices.map_ok(move |notice| match notice {
        Notice::Event(event) => Notice::Event(change(event)),
        caught_up @ Notice::CaughtUp(_) => caught_up,
    }))
}

/// The same notices without some.
pub(crate) fn without(
    notices: Subscription,
    unwanted: impl Fn(&Notice) -> bool + Send + 'static,
) -> Subscription {
    Box::pin(notices.filter(move |notice| {
        let wanted = !matches!(notice, Ok(notice) if unwanted(notice));
        std::future::ready(wanted)
    }))
}
