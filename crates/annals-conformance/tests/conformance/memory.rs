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

/// A projection inside the appends changes nothing about them.
mod inline {
    use std::collections::HashMap;
    use std::sync::Arc;

    use annals_core::{
        MemoryReadSide, MemoryStore, PoisonEvent, Query, RecordedEvent, RowFold, RowKey,
        SubscriberName,
    };

    /// The last version of each stream.
    #[derive(Debug)]
    struct Lengths(SubscriberName);

    impl RowFold for Lengths {
        fn name(&self) -> &SubscriberName {
            &self.0
        }

        fn version(&self) -> u32 {
            1
        }

        fn query(&self) -> Query {
            Query::all()
        }

        fn keys(&self, event: &RecordedEvent) -> Result<Vec<RowKey>, PoisonEvent> {
            Ok(vec![event.stream.as_str().into()])
        }

        fn fold(
            &self,
            event: &RecordedEvent,
            rows: &mut HashMap<RowKey, bytes::Bytes>,
            _: &dyn Fn(&RowKey) -> bool,
        ) -> Result<(), PoisonEvent> {
            let version = event.version.to_string().into();
            rows.insert(event.stream.as_str().into(), version);
            Ok(())
        }
    }

    async fn store() -> MemoryStore {
        let store = MemoryStore::new();
        let lengths: Arc<dyn RowFold> = Arc::new(Lengths("lengths".parse().expect("a name")));
        store.run_inline(&MemoryReadSide::new(), [lengths]).expect("it has nothing to catch up");
        store
    }

    annals_conformance::suite!(store);
}
