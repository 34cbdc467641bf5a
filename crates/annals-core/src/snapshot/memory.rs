//! Snapshots in memory: for tests, and for a single process that would rather use memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures_util::stream;

use super::{SelectSnapshots, Snapshot, SnapshotInfo, SnapshotInfos, SnapshotStore};
use crate::error::SnapshotError;
use crate::{Fingerprint, Limits, StreamId};

/// Snapshots in memory, of streams in any store. Clones share them; they are gone with the last.
///
/// Nothing bounds how many there are: drop some from time to time.
///
/// ```
/// use annals_core::{
///     EventId, Fingerprint, MemorySnapshots, Snapshot, SnapshotStore, StreamId, Timestamp, Version,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let snapshots = MemorySnapshots::new();
/// let (stream, fold) = (StreamId::new("account-1")?, Fingerprint::new("account.v1")?);
/// let snapshot = Snapshot {
///     stream: stream.clone(),
///     fold: fold.clone(),
///     version: Version::new(100),
///     last_event: EventId::generate(),
///     taken_at: Timestamp::EPOCH,
///     state: r#"{"balance":250}"#.into(),
/// };
/// snapshots.save_snapshot(snapshot.clone()).await?;
/// assert_eq!(snapshots.load_snapshot(&stream, &fold).await?, Some(snapshot));
///
/// let next_build = Fingerprint::new("account.v2")?;
/// assert_eq!(snapshots.load_snapshot(&stream, &next_build).await?, None);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemorySnapshots {
    kept: Arc<Mutex<Kept>>,
    limits: Limits,
}

type Key = (StreamId, Fingerprint);
type Kept = BTreeMap<Key, Snapshot>;

impl MemorySnapshots {
    /// No snapshots yet, and the default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No snapshots yet, and these limits.
    #[must_use]
    pub fn with(limits: Limits) -> Self {
        Self { kept: Arc::default(), limits }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no code panics while holding the snapshots")
    }

    /// The first snapshot selected behind this key.
    fn next(&self, which: &SelectSnapshots, behind: Option<Key>) -> Option<SnapshotInfo> {
        let from = behind.map_or(Bound::Unbounded, Bound::Excluded);
        let kept = self.kept();
        let mut infos = kept.range((from, Bound::Unbounded)).map(|(_, snapshot)| snapshot.info());
        infos.find(|info| which.selects(info))
    }
}

#[async_trait]
impl SnapshotStore for MemorySnapshots {
    async fn save_snapshot(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        self.limits.check_snapshot(&snapshot)?;
        let key = (snapshot.stream.clone(), snapshot.fold.clone());
        let mut kept = self.kept();
        if kept.get(&key).is_none_or(|there| there.version <= snapshot.version) {
            kept.insert(key, snapshot);
        }
        Ok(())
    }

    async fn load_snapshot(
        &self,
        stream: &StreamId,
        fold: &Fingerprint,
    ) -> Result<Option<Snapshot>, SnapshotError> {
        Ok(self.kept().get(&(stream.clone(), fold.clone())).cloned())
    }

    async fn drop_snapshots(&self, which: SelectSnapshots) -> Result<u64, SnapshotError> {
        let mut kept = self.kept();
        let before = kept.len();
        kept.retain(|_, snapshot| !which.selects(&snapshot.info()));
        Ok((before - kept.len()) as u64)
    }

    fn snapshots(&self, which: SelectSnapshots) -> SnapshotInfos {
        let snapshots = self.clone();
        Box::pin(stream::unfold(None, move |behind| {
            let info = snapshots.next(&which, behind);
            let next = info.map(|info| {
                let key = (info.stream.clone(), info.fold.clone());
                (Ok(info), Some(key))
            });
            std::future::ready(next)
        }))
    }
}
