//! What is promised of checkpoints, rows and deliveries, on PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_conformance::read_side::{DurableReadSide, ReadSide, ReadSideBackend};
use annals_core::Limits;
use annals_postgres::{PostgresReadSide, ReadSideOptions};
use annals_scratch::Database;
use async_trait::async_trait;
use tokio::sync::OnceCell;

/// A database that goes away with the case; each read side has a schema of its own in it.
#[derive(Default)]
struct Schemas {
    database: OnceCell<Database>,
    opened: AtomicUsize,
}

impl Schemas {
    async fn open(&self, schema: &str, options: ReadSideOptions) -> Arc<dyn ReadSide> {
        let database = self.database.get_or_init(Database::create).await;
        let schema = schema.parse().expect("a valid name");
        let opened = options.schema(schema).connections(4).connect(database.url()).await;
        Arc::new(opened.expect("the read side opens"))
    }
}

#[async_trait]
impl ReadSideBackend for Schemas {
    async fn open(&self, limits: Limits) -> Arc<dyn ReadSide> {
        let schema = format!("read_{}", self.opened.fetch_add(1, Ordering::Relaxed));
        Schemas::open(self, &schema, PostgresReadSide::options().limits(limits)).await
    }
}

#[async_trait]
impl DurableReadSide for Schemas {
    async fn open_at(&self, place: &str) -> Arc<dyn ReadSide> {
        let schema = place.replace(|c: char| !c.is_ascii_lowercase(), "_");
        Schemas::open(self, &schema, PostgresReadSide::options()).await
    }
}

annals_conformance::read_side_suite!(Schemas::default(), durable);
