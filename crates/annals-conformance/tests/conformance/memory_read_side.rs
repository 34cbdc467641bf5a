//! The read side in memory passes its suite.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use annals_conformance::read_side::{DurableReadSide, ReadSide, ReadSideBackend};
use annals_core::{Limits, MemoryReadSide};
use async_trait::async_trait;

/// Read sides that last as long as this value: as durable as memory can be.
#[derive(Default)]
struct Memory {
    places: Mutex<HashMap<String, MemoryReadSide>>,
}

#[async_trait]
impl ReadSideBackend for Memory {
    async fn open(&self, limits: Limits) -> Arc<dyn ReadSide> {
        Arc::new(MemoryReadSide::with(limits))
    }
}

#[async_trait]
impl DurableReadSide for Memory {
    async fn open_at(&self, place: &str) -> Arc<dyn ReadSide> {
        let mut places = self.places.lock().expect("no test panics while opening");
        Arc::new(places.entry(place.to_owned()).or_default().clone())
    }
}

annals_conformance::read_side_suite!(Memory::default(), durable);
