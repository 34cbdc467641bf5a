//! The places in which a projection may run: a log, and a read side for it.

use std::sync::Arc;
use std::time::Duration;

use annals::{Annals, DeliveryQueue, EventStore, MemoryReadSide, MemoryStore, RowStore};

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A log, and a read side beside it.
pub(crate) struct Place {
    pub(crate) bank: Annals,
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) rows: Arc<dyn RowStore>,
    /// What has to live as long as they do.
    _keep: Box<dyn std::any::Any + Send + Sync>,
}

impl Place {
    fn new(
        store: impl EventStore + 'static,
        rows: impl RowStore + DeliveryQueue + 'static,
        keep: impl std::any::Any + Send + Sync,
    ) -> Self {
        let store: Arc<dyn EventStore> = Arc::new(store);
        let bank = Annals::new(Arc::clone(&store));
        Self { bank, store, rows: Arc::new(rows), _keep: Box::new(keep) }
    }
}

pub(crate) async fn in_memory() -> Place {
    Place::new(MemoryStore::new(), MemoryReadSide::new(), ())
}

/// Makes a test of each of these functions in each place.
macro_rules! in_each_place {
    ($($test:ident),* $(,)?) => {
        mod in_memory {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(crate::places::in_memory().await).await;
                }
            )*
        }
    };
}
pub(crate) use in_each_place;
