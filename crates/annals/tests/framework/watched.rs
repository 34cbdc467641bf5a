//! A store in memory that remembers what it was asked, and lets others write in between.

use std::collections::VecDeque;
use std::sync::Mutex;

use annals::{
    Append, AppendError, EventStore, EventStoreExt, EventStream, ExpectedVersion, Limits,
    MemoryStore, NewEvent, Position, Read, ReadError, Receipt, StreamId, Subscribe, Subscription,
};
use async_trait::async_trait;

/// What somebody else writes.
pub(crate) type Write = (&'static str, NewEvent);

#[derive(Debug, Default)]
pub(crate) struct Watched {
    inner: MemoryStore,
    reads: Mutex<Vec<Read>>,
    appends: Mutex<Vec<Append>>,
    /// Before the next append, before the one after it …
    others: Mutex<VecDeque<Vec<Write>>>,
}

impl Watched {
    pub(crate) fn new(inner: &MemoryStore) -> Self {
        Self { inner: inner.clone(), ..Self::default() }
    }

    /// Before the next append that is not met by another yet, somebody writes this.
    pub(crate) fn let_others_write(self, writes: Vec<Write>) -> Self {
        self.others.lock().unwrap().push_back(writes);
        self
    }

    pub(crate) fn reads(&self) -> Vec<Read> {
        self.reads.lock().unwrap().clone()
    }

    pub(crate) fn appends(&self) -> Vec<Append> {
        self.appends.lock().unwrap().clone()
    }
}

#[async_trait]
impl EventStore for Watched {
    fn limits(&self) -> &Limits {
        self.inner.limits()
    }

    async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        self.appends.lock().unwrap().push(append.clone());
        let others = self.others.lock().unwrap().pop_front();
        for (stream, event) in others.into_iter().flatten() {
            let stream = StreamId::from_static(stream);
            self.inner.append_to(stream, ExpectedVersion::Any, [event]).await.unwrap();
        }
        self.inner.append(append).await
    }

    fn read(&self, read: Read) -> EventStream {
        self.reads.lock().unwrap().push(read.clone());
        self.inner.read(read)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        self.inner.subscribe(subscribe)
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.inner.head().await
    }
}
