//! The store of snapshots in memory passes their suite.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use annals_conformance::snapshots::{DurableSnapshots, SnapshotBackend};
use annals_core::{Limits, MemorySnapshots, SnapshotStore};
use async_trait::async_trait;

/// Snapshots that last as long as this value: as durable as memory can be.
#[derive(Default)]
struct Memory {
    places: Mutex<HashMap<String, MemorySnapshots>>,
}

#[async_trait]
impl SnapshotBackend for Memory {
    async fn open(&self, limits: Limits) -> Arc<dyn SnapshotStore> {
        // In two `Arc`s: such a store is one as well.
        Arc::new(Arc::new(MemorySnapshots::with(limits)))
    }
}

#[async_trait]
impl DurableSnapshots for Memory {
    async fn open_at(&self, place: &str) -> Arc<dyn SnapshotStore> {
        let mut places = self.places.lock().expect("no test panics while opening");
        Arc::new(places.entry(place.to_owned()).or_default().clone())
    }
}

annals_conformance::snapshot_suite!(Memory::default(), durable);
