//! A log that dies, or does not answer, at one of the appends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals::{
    Append, AppendError, EventStore, EventStream, Fault, Limits, Position, Read, ReadError,
    Receipt, Subscribe, Subscription,
};
use annals_conformance::read_side::Meet;
use async_trait::async_trait;

/// A log around another one. After a deadly one nothing comes through any more, as from a
/// process that has died.
#[derive(Debug)]
pub(crate) struct FaultyLog {
    inner: Arc<dyn EventStore>,
    meet: Meet,
    /// At which of the appends.
    at: usize,
    appends: AtomicUsize,
}

impl FaultyLog {
    pub(crate) fn new(inner: &Arc<dyn EventStore>, meet: Meet, at: usize) -> Arc<Self> {
        Arc::new(Self { inner: Arc::clone(inner), meet, at, appends: AtomicUsize::new(0) })
    }

    /// Whether so many appends were made that it came to that.
    pub(crate) fn has_struck(&self) -> bool {
        self.appends.load(Ordering::SeqCst) > self.at
    }
}

#[async_trait]
impl EventStore for FaultyLog {
    async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        let number = self.appends.fetch_add(1, Ordering::SeqCst);
        if number > self.at && self.meet.is_deadly() {
            return std::future::pending().await;
        }
        if number != self.at {
            return self.inner.append(append).await;
        }
        let away = || Fault::new("the line is dead");
        match self.meet {
            Meet::DeadBefore => std::future::pending().await,
            Meet::DeadAfter => {
                drop(self.inner.append(append).await);
                std::future::pending().await
            }
            Meet::NotAtAll => Err(AppendError::Unavailable(away())),
            Meet::AnswerLost => {
                self.inner.append(append).await?;
                Err(AppendError::Indeterminate(away()))
            }
            _ => self.inner.append(append).await,
        }
    }

    fn read(&self, read: Read) -> EventStream {
        self.inner.read(read)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        self.inner.subscribe(subscribe)
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.inner.head().await
    }

    fn limits(&self) -> &Limits {
        self.inner.limits()
    }
}
