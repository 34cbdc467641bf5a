//! The guarantees S1 to S10, on PostgreSQL: of a log in one table, and of one in partitions; and
//! what is promised of snapshots.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_conformance::snapshots::{DurableSnapshots, SnapshotBackend};
use annals_conformance::{Backend, Configurable, Durable};
use annals_core::{Clock, EventStore, Limits, SnapshotStore};
use annals_postgres::{Options, PostgresStore, SchemaName};
use annals_scratch::Database;
use async_trait::async_trait;
use tokio::sync::OnceCell;

/// A database that goes away with the case; each store has a schema of its own in it.
struct Schemas {
    database: OnceCell<Database>,
    opened: AtomicUsize,
    /// How many groups of appends a partition has, in logs that are partitioned.
    every: Option<NonZeroU64>,
}

/// Few enough for the cases to cross from one partition to the next all the time.
const EVERY: NonZeroU64 = NonZeroU64::new(8).expect("it is not zero");

impl Schemas {
    fn new(every: Option<NonZeroU64>) -> Self {
        Self { database: OnceCell::new(), opened: AtomicUsize::new(0), every }
    }

    async fn open(&self, schema: &str, options: Options) -> Arc<PostgresStore> {
        let database = self.database.get_or_init(Database::create).await;
        let schema = SchemaName::new(schema).expect("a valid name");
        let opened = options.schema(schema).connect(database.url()).await;
        let opened = opened.expect("the store opens");
        if let Some(every) = self.every {
            opened.partition(every).await.expect("the log is partitioned");
        }
        Arc::new(opened)
    }

    fn unused(&self) -> String {
        format!("log_{}", self.opened.fetch_add(1, Ordering::Relaxed))
    }
}

#[async_trait]
impl Backend for Schemas {
    async fn open(&self) -> Arc<dyn EventStore> {
        Schemas::open(self, &self.unused(), PostgresStore::options()).await
    }
}

#[async_trait]
impl Durable for Schemas {
    async fn open_at(&self, place: &str) -> Arc<dyn EventStore> {
        let schema = place.replace(|c: char| !c.is_ascii_lowercase(), "_");
        Schemas::open(self, &schema, PostgresStore::options()).await
    }
}

#[async_trait]
impl Configurable for Schemas {
    async fn open_with(&self, clock: Arc<dyn Clock>, limits: Limits) -> Arc<dyn EventStore> {
        let options = PostgresStore::options().clock(clock).limits(limits);
        Schemas::open(self, &self.unused(), options).await
    }
}

#[async_trait]
impl SnapshotBackend for Schemas {
    async fn open(&self, limits: Limits) -> Arc<dyn SnapshotStore> {
        let options = PostgresStore::options().limits(limits);
        Schemas::open(self, &self.unused(), options).await
    }
}

#[async_trait]
impl DurableSnapshots for Schemas {
    async fn open_at(&self, place: &str) -> Arc<dyn SnapshotStore> {
        Schemas::open(self, place, PostgresStore::options()).await
    }
}

mod one_table {
    use super::Schemas;

    annals_conformance::suite!(Schemas::new(None), durable, configurable);
    annals_conformance::snapshot_suite!(Schemas::new(None), durable);
}

mod partitioned {
    use super::{EVERY, Schemas};

    annals_conformance::suite!(Schemas::new(Some(EVERY)), durable, configurable);
}
