//! A log in partitions: all guarantees, while they are made and afterwards.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_conformance::{Backend, Configurable, Durable};
use annals_core::{Clock, EventStore, Limits};
use annals_postgres::{Options, PostgresStore, SchemaName};
use annals_scratch::Database;
use async_trait::async_trait;
use tokio::sync::OnceCell;

/// As for the log in one table, with a partition every few groups: the cases cross from one to
/// the next all the time.
struct Partitioned {
    database: OnceCell<Database>,
    opened: AtomicUsize,
}

const EVERY: NonZeroU64 = NonZeroU64::new(8).expect("it is not zero");

impl Partitioned {
    fn new() -> Self {
        Self { database: OnceCell::new(), opened: AtomicUsize::new(0) }
    }

    async fn open(&self, schema: &str, options: Options) -> Arc<dyn EventStore> {
        let database = self.database.get_or_init(Database::create).await;
        let schema = SchemaName::new(schema).expect("a valid name");
        let opened = options.schema(schema).connect(database.url()).await;
        let opened = opened.expect("the store opens");
        opened.partition(EVERY).await.expect("the log is partitioned");
        Arc::new(opened)
    }

    fn unused(&self) -> String {
        format!("log_{}", self.opened.fetch_add(1, Ordering::Relaxed))
    }
}

#[async_trait]
impl Backend for Partitioned {
    async fn open(&self) -> Arc<dyn EventStore> {
        Partitioned::open(self, &self.unused(), PostgresStore::options()).await
    }
}

#[async_trait]
impl Durable for Partitioned {
    async fn open_at(&self, place: &str) -> Arc<dyn EventStore> {
        let schema = place.replace(|c: char| !c.is_ascii_lowercase(), "_");
        Partitioned::open(self, &schema, PostgresStore::options()).await
    }
}

#[async_trait]
impl Configurable for Partitioned {
    async fn open_with(&self, clock: Arc<dyn Clock>, limits: Limits) -> Arc<dyn EventStore> {
        let options = PostgresStore::options().clock(clock).limits(limits);
        Partitioned::open(self, &self.unused(), options).await
    }
}

annals_conformance::suite!(Partitioned::new(), durable, configurable);
