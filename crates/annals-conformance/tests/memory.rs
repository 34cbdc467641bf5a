//! The store in memory passes the suite.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use annals_conformance::{Backend, Configurable, Durable};
use annals_core::{Clock, EventStore, Limits, MemoryStore};
use async_trait::async_trait;

/// Logs that last as long as this value: as durable as memory can be.
#[derive(Default)]
struct Memory {
    places: Mutex<HashMap<String, MemoryStore>>,
}

#[async_trait]
impl Backend for Memory {
    async fn open(&self) -> Arc<dyn EventStore> {
        Arc::new(MemoryStore::new())
    }
}

#[async_trait]
impl Durable for Memory {
    async fn open_at(&self, place: &str) -> Arc<dyn EventStore> {
        let mut places = self.places.lock().expect("no test panics while opening");
        Arc::new(places.entry(place.to_owned()).or_default().clone())
    }
}

#[async_trait]
impl Configurable for Memory {
    async fn open_with(&self, clock: Arc<dyn Clock>, limits: Limits) -> Arc<dyn EventStore> {
        Arc::new(MemoryStore::with(clock, limits))
    }
}

annals_conformance::suite!(Memory::default(), durable, configurable);
