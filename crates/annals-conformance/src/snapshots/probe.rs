//! A store of snapshots under test, and snapshots for it.

use std::sync::Arc;

use annals_core::error::Chain;
use annals_core::{
    EventId, Fingerprint, Limits, SelectSnapshots, Snapshot, SnapshotInfo, SnapshotStore,
    Timestamp, Version,
};
use futures_util::TryStreamExt;

use super::{DurableSnapshots, SnapshotBackend};
use crate::probe::within;
use crate::storm::together;
use crate::words;

/// A handle on the store under test; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) store: Arc<dyn SnapshotStore>,
}

impl Probe {
    pub(super) async fn open(backend: &dyn SnapshotBackend) -> Self {
        Self { store: backend.open(Limits::DEFAULT).await }
    }

    pub(super) async fn open_at(backend: &dyn DurableSnapshots, place: &str) -> Self {
        Self { store: backend.open_at(place).await }
    }

    pub(super) async fn save(&self, snapshot: &Snapshot) {
        if let Err(error) = within("a save", self.store.save_snapshot(snapshot.clone())).await {
            panic!("{snapshot:?} must be saved, but: {}", Chain(&error));
        }
    }

    /// Saves all of them, several at a time.
    pub(super) async fn save_all(&self, snapshots: &[Snapshot]) {
        const TASKS: usize = 16;
        together(TASKS, |task| {
            let share = snapshots.iter().skip(task).step_by(TASKS).cloned();
            let (store, share) = (self.clone(), share.collect::<Vec<_>>());
            async move {
                for snapshot in share {
                    store.save(&snapshot).await;
                }
            }
        })
        .await;
    }

    pub(super) async fn load(&self, stream_name: &str, fold_name: &str) -> Option<Snapshot> {
        let (stream, fold) = (words::stream(stream_name), fold(fold_name));
        let loaded = within("a load", self.store.load_snapshot(&stream, &fold)).await;
        loaded.unwrap_or_else(|error| panic!("a load must succeed, but: {}", Chain(&error)))
    }

    /// What is loaded of the snapshot's stream and fold must be this snapshot, in every part.
    pub(super) async fn holds(&self, snapshot: &Snapshot) {
        let found = self.load(snapshot.stream.as_str(), snapshot.fold.as_str()).await;
        let same = found.as_ref() == Some(snapshot);
        assert!(same, "must hold {snapshot:?}, but holds {found:?} (or another state)");
    }

    pub(super) async fn drop(&self, which: SelectSnapshots) -> u64 {
        let dropped = within("a drop", self.store.drop_snapshots(which.clone())).await;
        dropped.unwrap_or_else(|error| panic!("{which:?} must be dropped, but: {}", Chain(&error)))
    }

    pub(super) async fn list(&self, which: SelectSnapshots) -> Vec<SnapshotInfo> {
        let listed = within("a list", self.store.snapshots(which.clone()).try_collect()).await;
        listed.unwrap_or_else(|error| panic!("{which:?} must be listed, but: {}", Chain(&error)))
    }

    /// Those selected, as `stream fold` each.
    pub(super) async fn names(&self, which: SelectSnapshots) -> Vec<String> {
        let infos = self.list(which).await;
        infos.iter().map(|info| format!("{} {}", info.stream, info.fold)).collect()
    }
}

pub(super) fn fold(name: &str) -> Fingerprint {
    Fingerprint::new(name).expect("the suite's own names are valid")
}

/// A snapshot whose every part follows from its version, and differs from those of the others.
pub(super) fn snapshot(stream_name: &str, fold_name: &str, version: u64) -> Snapshot {
    let number = version.to_be_bytes();
    let mut id = [0x5a; 16];
    id[..8].copy_from_slice(&number);
    Snapshot {
        stream: words::stream(stream_name),
        fold: fold(fold_name),
        version: Version::new(version),
        last_event: EventId::from_bytes(id),
        taken_at: taken(version),
        state: format!("{stream_name} {fold_name} {version}").into(),
    }
}

/// The moment of the snapshots of a version.
pub(super) fn taken(version: u64) -> Timestamp {
    Timestamp::EPOCH.saturating_add(std::time::Duration::from_secs(version))
}
