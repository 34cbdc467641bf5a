//! The handle through which an application reaches its log.

use std::fmt;
use std::sync::Arc;

use annals_core::{Clock, EventStore, Ids, RandomIds, SystemClock};

use crate::cache::Cache;
use crate::retention::{RetentionPolicy, nobody};
use crate::snapshot::Snapshots;
use crate::{RetryPolicy, Upcasters};

/// A log of events together with the ways of working with it. Cheap to clone and to share.
///
/// ```
/// use annals::{Annals, MemoryStore, RetryPolicy};
///
/// let bank = Annals::new(MemoryStore::new());
/// let impatient = bank.clone().with_retry(RetryPolicy::default().attempts_max(1));
/// ```
#[derive(Clone)]
pub struct Annals {
    store: Arc<dyn EventStore>,
    pub(crate) retry: RetryPolicy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) records_refusals: bool,
    pub(crate) snapshots: Option<Snapshots>,
    pub(crate) cache: Option<Cache>,
    pub(crate) retention: Arc<dyn RetentionPolicy>,
    pub(crate) upcasters: Arc<Upcasters>,
}

impl Annals {
    /// Works with `store`; also with an `Arc` of one that is shared.
    pub fn new(store: impl EventStore + 'static) -> Self {
        Self {
            store: Arc::new(store),
            retry: RetryPolicy::default(),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            records_refusals: false,
            snapshots: None,
            cache: None,
            retention: Arc::new(nobody),
            upcasters: Arc::default(),
        }
    }

    /// The same, trying again on conflict as `policy` says.
    #[must_use]
    pub fn with_retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// The same with another clock, for what depends on the present moment here, such as
    /// throttling. What is recorded has the store's time.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The same with event ids from elsewhere; in tests, those that can be foretold.
    #[must_use]
    pub fn with_ids(mut self, ids: impl Ids + 'static) -> Self {
        self.ids = Arc::new(ids);
        self
    }

    /// The same, and every command that is refused leaves an event `CommandRefused`, in a stream
    /// of its own: `refusal-account-1` for a command to `account-1`, and `refusal-Subscribe` for
    /// the decision `Subscribe`.
    ///
    /// Without it a refused command leaves no trace.
    #[must_use]
    pub fn recording_refusals(mut self) -> Self {
        self.records_refusals = true;
        self
    }

    /// The store itself, for reading and appending events as they are stored.
    #[must_use]
    pub fn store(&self) -> &dyn EventStore {
        &*self.store
    }
}

impl fmt::Debug for Annals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Annals")
            .field("store", &self.store)
            .field("retry", &self.retry)
            .field("snapshots", &self.snapshots)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}
