//! Counts what is read of a feed.

use std::sync::Arc;
use std::sync::Mutex;

use annals::Position;
use annals_feed::{Count, CountBy, Entry, EntryStore, FeedError, Filter, Quarter, Slice};
use async_trait::async_trait;

/// An entry store that remembers how many rows each question came to.
#[derive(Debug)]
pub(crate) struct Counting {
    pub(crate) inner: Arc<dyn EntryStore>,
    pub(crate) rows: Mutex<Vec<usize>>,
}

impl Counting {
    pub(crate) fn new(inner: Arc<dyn EntryStore>) -> Arc<Self> {
        Arc::new(Self { inner, rows: Mutex::default() })
    }

    fn note<T>(&self, rows: Vec<T>) -> Vec<T> {
        self.rows.lock().expect("no test panics here").push(rows.len());
        rows
    }
}

#[async_trait]
impl EntryStore for Counting {
    async fn slice(&self, filter: &Filter, slice: Slice) -> Result<Vec<Entry>, FeedError> {
        Ok(self.note(self.inner.slice(filter, slice).await?))
    }

    async fn count(&self, f: &Filter, by: CountBy, limit: usize) -> Result<Vec<Count>, FeedError> {
        Ok(self.note(self.inner.count(f, by, limit).await?))
    }

    async fn quarters(&self, filter: &Filter) -> Result<Vec<Quarter>, FeedError> {
        Ok(self.note(self.inner.quarters(filter).await?))
    }

    async fn firsts(&self, filter: &Filter, limit: usize) -> Result<Vec<Entry>, FeedError> {
        Ok(self.note(self.inner.firsts(filter, limit).await?))
    }

    async fn reached(&self) -> Result<Position, FeedError> {
        self.inner.reached().await
    }
}
