//! The store contract: what every backend does, and what its users may rely on.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt;

use crate::error::{AppendError, ReadError};
use crate::{
    Append, EventStream, ExpectedVersion, Limits, NewEvent, Position, Read, Receipt, RecordedEvent,
    StreamId, Subscribe, Subscription, Version,
};

/// A log of events.
///
/// Object-safe: applications hold an `Arc<dyn EventStore>`. Comfort lives in
/// [`EventStoreExt`]; whatever a store can do beyond this is a trait of its own, such as
/// [`StreamCatalog`](crate::StreamCatalog).
///
/// The guarantees S1 to S10 named here hold for every backend and every decorator; the
/// conformance suite has a test for each.
#[async_trait]
pub trait EventStore: Send + Sync + Debug {
    /// What the store accepts (S8).
    fn limits(&self) -> &Limits;

    /// Stores an append whole, or not at all (S1).
    ///
    /// When it returns a receipt the events survive `kill -9` and power loss (S2). Each stream's
    /// versions go on without gaps or repeats (S3); the append's events stand together in the
    /// log, in the order given, at higher positions than everything any reader has seen (S4, S5).
    /// Expected versions and conditions are checked as if no other append ran at the same time
    /// (S6). An append whose event ids are stored already, all of them by one and the same
    /// append to the same streams, writes nothing and returns the first receipt, whatever the
    /// streams hold now (S7); ids are compared, not what the events say. `recorded_at` is the store's time and never decreases within a
    /// stream (S9).
    ///
    /// Dropping the future does not take the append back: it may be stored all the same. Repeat
    /// it to learn what became of it.
    ///
    /// # Errors
    /// [`AppendError`], grouped by what to do about it. Nothing is written, except perhaps
    /// after [`AppendError::Indeterminate`]. When several things are wrong, any of them may be
    /// the one that is named.
    async fn append(&self, append: Append) -> Result<Receipt, AppendError>;

    /// Reads the events that lie within the bounds, as they are when the first one is asked
    /// for: an append that is acknowledged by then is seen whole, one that starts later not at
    /// all (S1).
    ///
    /// Events arrive in log order, or in its reverse (S4), as fast as the consumer takes them,
    /// in constant memory (S8). Data and metadata are the bytes that were appended (S10). With
    /// `as_at` a moment before the last event's `recorded_at`, the answer is the same for ever
    /// (S9).
    ///
    /// Errors are items of the stream, which ends after the first.
    fn read(&self, read: Read) -> EventStream;

    /// Delivers every event that matches, exactly once per subscription, in log order, first
    /// those that are stored, then those to come (S5), with a notice each time the end of the
    /// log is reached.
    ///
    /// Errors are items of the stream, which ends after the first.
    fn subscribe(&self, subscribe: Subscribe) -> Subscription;

    /// The position that a reader starting now would read up to: every event at or before it
    /// can be read, and none will ever be added there (S5).
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn head(&self) -> Result<Position, ReadError>;
}

#[async_trait]
impl<S: EventStore + ?Sized> EventStore for Arc<S> {
    fn limits(&self) -> &Limits {
        (**self).limits()
    }

    async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        (**self).append(append).await
    }

    fn read(&self, read: Read) -> EventStream {
        (**self).read(read)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        (**self).subscribe(subscribe)
    }

    async fn head(&self) -> Result<Position, ReadError> {
        (**self).head().await
    }
}

/// Comfort over [`EventStore`], for every store.
#[async_trait]
pub trait EventStoreExt: EventStore {
    /// Appends events to one stream.
    ///
    /// ```
    /// use annals_core::{
    ///     Data, EventStoreExt, EventType, ExpectedVersion, MemoryStore, NewEvent, StreamId,
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = MemoryStore::new();
    /// let opened = NewEvent::new(EventType::new("AccountOpened")?, Data::json("{}"));
    /// let receipt =
    ///     store.append_to(StreamId::new("account-1")?, ExpectedVersion::NoStream, [opened]).await?;
    /// assert_eq!(receipt.streams[0].version.get(), 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`EventStore::append`].
    async fn append_to<I>(
        &self,
        stream: StreamId,
        expected: ExpectedVersion,
        events: I,
    ) -> Result<Receipt, AppendError>
    where
        I: IntoIterator<Item = NewEvent> + Send,
    {
        self.append(Append::to(stream, expected, events)).await
    }

    /// Reads everything a read selects into memory: for reads known to be small.
    ///
    /// # Errors
    /// The first error of the read.
    async fn read_to_end(&self, read: Read) -> Result<Vec<RecordedEvent>, ReadError> {
        self.read(read).try_collect().await
    }

    /// The version of a stream's last event; [`Version::EMPTY`] when it has none.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn version_of(&self, stream: StreamId) -> Result<Version, ReadError> {
        let last = self.read(Read::stream(stream).backward().limit(1)).try_next().await?;
        Ok(last.map_or(Version::EMPTY, |event| event.version))
    }
}

impl<S: EventStore + ?Sized> EventStoreExt for S {}
