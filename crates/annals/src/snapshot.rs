//! Snapshots: folds that are kept, so that a long stream need not be folded from its beginning.
//!
//! A snapshot is a cache. Whatever is wrong with it, that it is missing, damaged, of another fold
//! or of another past, only costs the time to fold without it.

mod envelope;
mod policy;
mod rebuild;

use std::any::TypeId;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use annals_core::{
    Clock, Fingerprint, SelectSnapshots, Snapshot, SnapshotStore, StreamId, Version,
};
use quick_cache::sync::Cache as QuickCache;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::execute::how::hash_of;
use crate::load::Loaded;
use crate::{Aggregate, Annals, Snapshotting};

pub use policy::{SnapshotPolicy, Tail};
pub use rebuild::{Rebuilt, SnapshotsError};

/// How many snapshots are written at the same time; what comes meanwhile is left for the next
/// load.
const WRITES_MAX: u32 = 4;

/// How many streams of which no snapshot could be written are remembered.
const FAILED_MAX: usize = 1_000;

/// Where snapshots are kept, and when they are made.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots {
    store: Arc<dyn SnapshotStore>,
    policy: SnapshotPolicy,
    writes: Arc<Semaphore>,
    /// The streams of which a snapshot is being written.
    written_now: Arc<Mutex<HashSet<StreamId>>>,
    /// The streams of which no snapshot could be written, and the version from which on it is
    /// tried again.
    failed: Arc<QuickCache<StreamId, Version>>,
    /// What tells the folds apart, which takes a moment to find out.
    folds: Arc<Mutex<HashMap<TypeId, Fingerprint>>>,
}

impl Annals {
    /// The same, keeping snapshots of the aggregates that are marked `#[aggregate(snapshot)]`, in
    /// the store of the events or in another one, as `policy` says.
    ///
    /// They are written after the append, or after the load, and nobody waits until they are;
    /// only the state is turned into JSON before. They are told apart by their fold: an aggregate
    /// that was changed ignores those of its past.
    ///
    /// ```
    /// use annals::{Aggregate, Annals, Apply, Event, MemorySnapshots, MemoryStore, SnapshotPolicy};
    /// use serde::{Deserialize, Serialize};
    /// # #[derive(Event)] enum AccountEvent { MoneyDeposited { amount: u64 } }
    ///
    /// #[derive(Default, Serialize, Deserialize, Aggregate)]
    /// #[aggregate(category = "account", event = AccountEvent, snapshot)]
    /// struct Account { balance: u64 }
    ///
    /// #[annals::fold]
    /// impl Apply<AccountEvent> for Account {
    ///     fn apply(&mut self, AccountEvent::MoneyDeposited { amount }: AccountEvent) {
    ///         self.balance += amount;
    ///     }
    /// }
    ///
    /// let bank = Annals::new(MemoryStore::new())
    ///     .with_snapshots(MemorySnapshots::new(), SnapshotPolicy::every(100));
    /// ```
    #[must_use]
    pub fn with_snapshots(
        mut self,
        store: impl SnapshotStore + 'static,
        policy: SnapshotPolicy,
    ) -> Self {
        self.snapshots = Some(Snapshots {
            store: Arc::new(store),
            policy,
            writes: Arc::new(Semaphore::new(WRITES_MAX as usize)),
            written_now: Arc::default(),
            failed: Arc::new(QuickCache::new(FAILED_MAX)),
            folds: Arc::default(),
        });
        self
    }

    /// Waits until no snapshot is being written: before a process ends, and in tests.
    pub async fn settled(&self) {
        if let Some(snapshots) = &self.snapshots {
            // Whoever has all of them knows that nobody has one.
            drop(snapshots.writes.acquire_many(WRITES_MAX).await);
        }
    }

    /// The newest fold of a stream that is kept, not yet seen to be of this log.
    pub(crate) async fn kept_snapshot<A: Aggregate>(&self, stream: &StreamId) -> Option<Loaded<A>> {
        let (snapshots, how) = self.snapshots_of::<A>()?;
        let found = snapshots.store.load_snapshot(stream, &snapshots.fold_of::<A>(how)).await;
        let snapshot = match found {
            Ok(found) => found?,
            Err(error) => {
                tracing::warn!(%stream, %error, "folding without a snapshot: it cannot be read");
                return None;
            }
        };
        match envelope::open(&snapshot.state, how.read) {
            Ok((standing, state)) => Some(Loaded::resumed(&snapshot, state, standing)),
            Err(error) => {
                tracing::warn!(%stream, %error, "folding without a snapshot: it is damaged");
                None
            }
        }
    }

    /// Keeps a fold as a snapshot, if the policy wants one. It is written beside whoever asked
    /// for the fold, who waits for nothing.
    pub(crate) fn keep_snapshot<A: Aggregate>(&self, loaded: &mut Loaded<A>) {
        let Some((snapshots, how)) = self.snapshots_of::<A>() else { return };
        let tail = loaded.tail();
        if !snapshots.policy.wants(&tail) || snapshots.failed_before(&loaded.stream, tail.version) {
            return;
        }
        let (Ok(runtime), Ok(permit)) =
            (Handle::try_current(), Arc::clone(&snapshots.writes).try_acquire_owned())
        else {
            return;
        };
        let Some(writing) = Writing::begin(snapshots, &loaded.stream) else { return };
        let Some(unsealed) = snapshots.unsealed(loaded, how, &*self.clock) else {
            return snapshots.fail(&loaded.stream, tail);
        };
        loaded.kept();
        let snapshots = snapshots.clone();
        runtime.spawn(async move {
            snapshots.write(unsealed, tail).await;
            drop((writing, permit));
        });
    }

    /// Drops the snapshot of a stream, which is of another past.
    pub(crate) async fn forget_snapshot<A: Aggregate>(&self, stream: &StreamId) {
        let Some((snapshots, how)) = self.snapshots_of::<A>() else { return };
        let this = SelectSnapshots::all().stream(stream.clone()).fold(snapshots.fold_of::<A>(how));
        if let Err(error) = snapshots.store.drop_snapshots(this).await {
            tracing::warn!(%stream, %error, "a snapshot of another past cannot be dropped");
        }
    }

    fn snapshots_of<A: Aggregate>(&self) -> Option<(&Snapshots, Snapshotting<A>)> {
        Some((self.snapshots.as_ref()?, A::SNAPSHOT?))
    }
}

impl Snapshots {
    async fn write(&self, unsealed: Snapshot, tail: Tail) {
        let stream = unsealed.stream.clone();
        if let Err(error) = self.store.save_snapshot(envelope::seal(unsealed)).await {
            tracing::warn!(%stream, %error, "a snapshot was not written");
            self.fail(&stream, tail);
        }
    }

    /// It is tried again when the stream has gained as many events once more.
    fn fail(&self, stream: &StreamId, tail: Tail) {
        let next = Version::new(tail.version.get().saturating_add(tail.events));
        self.failed.insert(stream.clone(), next);
    }

    fn failed_before(&self, stream: &StreamId, version: Version) -> bool {
        self.failed.get(stream).is_some_and(|next| version < next)
    }

    fn fold_of<A: Aggregate>(&self, how: Snapshotting<A>) -> Fingerprint {
        let mut folds = self.folds.lock().expect("no code panics while holding the folds");
        // Any text tells a fold from another; as a hash it is a fingerprint.
        let fold = || {
            let text = (how.fold)();
            let hash = || Fingerprint::new(hash_of(&text)).expect("a hash is a fingerprint");
            Fingerprint::new(&*text).unwrap_or_else(|_| hash())
        };
        folds.entry(TypeId::of::<A>()).or_insert_with(fold).clone()
    }

    /// The snapshot of a fold, not compressed yet; `None` for an empty stream, and for a state
    /// that cannot be written.
    fn unsealed<A: Aggregate>(
        &self,
        loaded: &Loaded<A>,
        how: Snapshotting<A>,
        clock: &dyn Clock,
    ) -> Option<Snapshot> {
        let last_event = loaded.last_event?;
        let written = envelope::write(loaded.standing, &loaded.state, how.write);
        let state = match written {
            Ok(state) => state,
            Err(error) => {
                let stream = &loaded.stream;
                tracing::warn!(%stream, %error, "no snapshot: the state cannot be written as JSON");
                return None;
            }
        };
        Some(Snapshot {
            stream: loaded.stream.clone(),
            fold: self.fold_of::<A>(how),
            version: loaded.version,
            last_event,
            taken_at: clock.now(),
            state,
        })
    }
}

/// A snapshot of a stream is being written, and nobody else writes one.
struct Writing {
    stream: StreamId,
    now: Arc<Mutex<HashSet<StreamId>>>,
}

impl Writing {
    fn begin(snapshots: &Snapshots, stream: &StreamId) -> Option<Self> {
        let now = Arc::clone(&snapshots.written_now);
        let first = lock(&now).insert(stream.clone());
        first.then(|| Self { stream: stream.clone(), now })
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        lock(&self.now).remove(&self.stream);
    }
}

fn lock(now: &Mutex<HashSet<StreamId>>) -> std::sync::MutexGuard<'_, HashSet<StreamId>> {
    now.lock().expect("no code panics while holding the set")
}
