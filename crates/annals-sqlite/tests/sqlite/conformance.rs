//! The guarantees S1 to S10, and what is promised of snapshots and of read sides, on SQLite.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_conformance::read_side::{DurableReadSide, ReadSide, ReadSideBackend};
use annals_conformance::snapshots::{DurableSnapshots, SnapshotBackend};
use annals_conformance::{Backend, Configurable, Durable};
use annals_core::{Clock, EventStore, Limits, SnapshotStore};
use annals_sqlite::{Check, SqliteReadSide, SqliteStore};
use async_trait::async_trait;
use tempfile::TempDir;

/// Files in a directory that goes away with the case.
struct Files {
    directory: TempDir,
    opened: AtomicUsize,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory for the store");
        Self { directory, opened: AtomicUsize::new(0) }
    }

    fn open(&self, place: &str, clock: Option<Arc<dyn Clock>>, limits: Limits) -> SqliteStore {
        let mut options = SqliteStore::options().limits(limits).check(Check::Full);
        if let Some(clock) = clock {
            options = options.clock(clock);
        }
        options.open(self.directory.path().join(place)).expect("the store opens")
    }

    fn unused(&self) -> String {
        format!("{}.db", self.opened.fetch_add(1, Ordering::Relaxed))
    }
}

#[async_trait]
impl Backend for Files {
    async fn open(&self) -> Arc<dyn EventStore> {
        Arc::new(Files::open(self, &self.unused(), None, Limits::DEFAULT))
    }
}

#[async_trait]
impl Durable for Files {
    async fn open_at(&self, place: &str) -> Arc<dyn EventStore> {
        Arc::new(Files::open(self, place, None, Limits::DEFAULT))
    }
}

#[async_trait]
impl Configurable for Files {
    async fn open_with(&self, clock: Arc<dyn Clock>, limits: Limits) -> Arc<dyn EventStore> {
        Arc::new(Files::open(self, &self.unused(), Some(clock), limits))
    }
}

#[async_trait]
impl SnapshotBackend for Files {
    async fn open(&self, limits: Limits) -> Arc<dyn SnapshotStore> {
        Arc::new(Files::open(self, &self.unused(), None, limits))
    }
}

#[async_trait]
impl DurableSnapshots for Files {
    async fn open_at(&self, place: &str) -> Arc<dyn SnapshotStore> {
        Arc::new(Files::open(self, place, None, Limits::DEFAULT))
    }
}

#[async_trait]
impl ReadSideBackend for Files {
    async fn open(&self, limits: Limits) -> Arc<dyn ReadSide> {
        let path = self.directory.path().join(self.unused());
        Arc::new(SqliteReadSide::options().limits(limits).open(path).expect("the read side opens"))
    }
}

#[async_trait]
impl DurableReadSide for Files {
    async fn open_at(&self, place: &str) -> Arc<dyn ReadSide> {
        let path = self.directory.path().join(place);
        Arc::new(SqliteReadSide::open(path).expect("the read side opens"))
    }
}

annals_conformance::suite!(Files::new(), durable, configurable);
annals_conformance::snapshot_suite!(Files::new(), durable);
annals_conformance::read_side_suite!(Files::new(), durable);
