//! The guarantees S1 to S10, on PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_conformance::{Backend, Configurable, Durable};
use annals_core::{Clock, EventStore, Limits};
use annals_postgres::{Options, PostgresStore, SchemaName};
use annals_scratch::Database;
use async_trait::async_trait;
use tokio::sync::OnceCell;

/// A database that goes away with the case; each store has a schema of its own in it.
struct Schemas {
    database: OnceCell<Database>,
    opened: AtomicUsize,
}

impl Schemas {
    fn new() -> Self {
        Self { database: OnceCell::new(), opened: AtomicUsize::new(0) }
    }

    async fn open(&self, schema: &str, options: Options) -> Arc<dyn EventStore> {
        let database = self.database.get_or_init(Database::create).await;
        let schema = SchemaName::new(schema).expect("a valid name");
        let opened = options.schema(schema).connect(database.url()).await;
        Arc::new(opened.expect("the store opens"))
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

annals_conformance::suite!(Schemas::new(), durable, configurable);
