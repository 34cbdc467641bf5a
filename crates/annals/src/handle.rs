//! The handle through which an application reaches its log.

use std::sync::Arc;

use annals_core::EventStore;

use crate::RetryPolicy;

/// A log of events together with the ways of working with it. Cheap to clone and to share.
///
/// ```
/// use annals::{Annals, MemoryStore, RetryPolicy};
///
/// let bank = Annals::new(MemoryStore::new());
/// let impatient = bank.clone().with_retry(RetryPolicy::default().attempts_max(1));
/// ```
#[derive(Clone, Debug)]
pub struct Annals {
    store: Arc<dyn EventStore>,
    retry: RetryPolicy,
}

impl Annals {
    /// Works with `store`; also with an `Arc` of one that is shared.
    pub fn new(store: impl EventStore + 'static) -> Self {
        Self { store: Arc::new(store), retry: RetryPolicy::default() }
    }

    /// The same, trying again on conflict as `policy` says.
    #[must_use]
    pub fn with_retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// The store itself, for reading and appending events as they are stored.
    #[must_use]
    pub fn store(&self) -> &dyn EventStore {
        &*self.store
    }

    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.retry
    }
}
