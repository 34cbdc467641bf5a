//! The guarantees S1 to S10, on PostgreSQL: of a log in one table, of one in partitions, and of one
//! with a projection inside its appends; and what is promised of snapshots.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_conformance::snapshots::{DurableSnapshots, SnapshotBackend};
use annals_conformance::{Backend, Configurable, Durable};
use annals_core::{
    Clock, EventStore, Limits, PoisonEvent, Query, RecordedEvent, RowFold, RowKey, SnapshotStore,
    SubscriberName,
};
use annals_postgres::{Inline, Options, PostgresReadSide, PostgresStore, SchemaName};
use annals_scratch::Database;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OnceCell;

/// A database that goes away with the case; each store has a schema of its own in it.
struct Schemas {
    database: OnceCell<Database>,
    opened: AtomicUsize,
    /// How many groups of appends a partition has, in logs that are partitioned.
    every: Option<NonZeroU64>,
    /// Whether a projection runs inside the appends.
    inline: bool,
}

/// Few enough for the cases to cross from one partition to the next all the time.
const EVERY: NonZeroU64 = NonZeroU64::new(8).expect("it is not zero");

impl Schemas {
    fn new(every: Option<NonZeroU64>) -> Self {
        Self { database: OnceCell::new(), opened: AtomicUsize::new(0), every, inline: false }
    }

    async fn open(&self, schema: &str, options: Options) -> Arc<PostgresStore> {
        let database = self.database.get_or_init(Database::create).await;
        let name = SchemaName::new(schema).expect("a valid name");
        let options = match self.inline {
            true => options.inline(lengths(database, schema).await),
            false => options,
        };
        let opened = options.schema(name).connect(database.url()).await;
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

/// In the read side of a log, which has a schema beside it.
async fn lengths(database: &Database, log: &str) -> Inline {
    let schema = format!("read_{log}").parse().expect("a valid name");
    let read_side = PostgresReadSide::options().schema(schema).connections(2);
    let read_side = read_side.connect(database.url()).await.expect("the read side opens");
    Inline::fold(&read_side, Arc::new(Lengths(SubscriberName::from_static("lengths"))))
}

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
        let category = event.stream.category();
        Ok(vec![event.stream.as_str().into(), format!("of {category}").into()])
    }

    fn fold(
        &self,
        event: &RecordedEvent,
        rows: &mut HashMap<RowKey, Bytes>,
        _: &dyn Fn(&RowKey) -> bool,
    ) -> Result<(), PoisonEvent> {
        for key in self.keys(event)? {
            rows.insert(key, event.version.to_string().into());
        }
        Ok(())
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

mod inline {
    use super::Schemas;

    annals_conformance::suite!(
        Schemas { inline: true, ..Schemas::new(None) },
        durable,
        configurable
    );
}
