//! Where the suite gets its stores from, and what they can do.

use std::future::Future;
use std::sync::Arc;

use annals_core::{Clock, EventStore, Limits};
use async_trait::async_trait;

/// A kind of store.
///
/// Each case has a backend value of its own, which lives until the case is over: keep temporary
/// directories in it. An async closure that returns a store is a backend already.
#[async_trait]
pub trait Backend: Send + Sync {
    /// A new store over an empty log that no other store shares.
    async fn open(&self) -> Arc<dyn EventStore>;
}

#[async_trait]
impl<F, S, Opening> Backend for F
where
    F: Fn() -> Opening + Send + Sync,
    Opening: Future<Output = S> + Send,
    S: EventStore + 'static,
{
    async fn open(&self) -> Arc<dyn EventStore> {
        Arc::new(self().await)
    }
}

/// A backend whose logs outlive the stores that wrote them (S2).
#[async_trait]
pub trait Durable: Backend {
    /// A store over the log at `place`, which is empty the first time.
    ///
    /// Before it opens a place again the suite drops everything it had opened there. Where a
    /// store closes in the background, wait for that here.
    async fn open_at(&self, place: &str) -> Arc<dyn EventStore>;
}

/// A backend whose clock and limits can be chosen (S8, S9).
#[async_trait]
pub trait Configurable: Backend {
    /// A new store over an empty log, with this clock and these limits.
    async fn open_with(&self, clock: Arc<dyn Clock>, limits: Limits) -> Arc<dyn EventStore>;
}
