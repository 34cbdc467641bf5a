//! What runs inside the appends changes nothing about the guarantees S1 to S10.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_conformance::{Backend, Durable};
use annals_core::{EventStore, PoisonEvent, Query, RecordedEvent, RowFold, RowKey, SubscriberName};
use annals_sqlite::{
    Check, Inline, ProjectionTable, SqliteProjection, SqliteReactor, SqliteRows, SqliteStore,
    TableName,
};
use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::derived::bank::BoxError;

/// The last version of each stream, in every way there is.
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
        rows: &mut HashMap<RowKey, Bytes>,
        _: &dyn Fn(&RowKey) -> bool,
    ) -> Result<(), PoisonEvent> {
        rows.insert(event.stream.as_str().into(), event.version.to_string().into());
        Ok(())
    }
}

impl SqliteProjection for Lengths {
    fn name(&self) -> &SubscriberName {
        &self.0
    }

    fn version(&self) -> u32 {
        1
    }

    fn query(&self) -> Query {
        Query::all()
    }

    fn tables(&self) -> Vec<ProjectionTable> {
        let create = "CREATE TABLE {lengths} (stream TEXT PRIMARY KEY, length INTEGER NOT NULL)";
        vec![ProjectionTable::new(TableName::from_static("lengths"), create)]
    }

    fn apply(&self, rows: &SqliteRows<'_>, event: &RecordedEvent) -> Result<(), BoxError> {
        let changed = rows.execute(
            "INSERT INTO {lengths} VALUES (?1, 1)
             ON CONFLICT DO UPDATE SET length = length + 1 WHERE length = ?2 - 1",
            (event.stream.as_str(), event.version.get().cast_signed()),
        )?;
        if changed == 1 { Ok(()) } else { Err("events come in their order, each once".into()) }
    }
}

impl SqliteReactor for Lengths {
    fn name(&self) -> &SubscriberName {
        &self.0
    }

    fn query(&self) -> Query {
        Query::all()
    }

    fn react(&self, transaction: &Connection, event: &RecordedEvent) -> Result<(), BoxError> {
        let is_there = "SELECT 1 FROM annals_events WHERE id = ?1";
        let is_there = transaction.prepare_cached(is_there)?.exists([event.id.as_bytes()])?;
        if is_there { Ok(()) } else { Err("the event is in the log".into()) }
    }
}

struct Files {
    directory: TempDir,
    opened: AtomicUsize,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory for the store");
        Self { directory, opened: AtomicUsize::new(0) }
    }
}

#[async_trait]
impl Backend for Files {
    async fn open(&self) -> Arc<dyn EventStore> {
        self.open_at(&format!("{}.db", self.opened.fetch_add(1, Ordering::Relaxed))).await
    }
}

#[async_trait]
impl Durable for Files {
    async fn open_at(&self, place: &str) -> Arc<dyn EventStore> {
        let lengths = |name| Lengths(SubscriberName::from_static(name));
        let store = SqliteStore::options()
            .check(Check::Full)
            .inline(Inline::projection(lengths("in-sql")))
            .inline(Inline::rows(Arc::new(lengths("in-rows"))))
            .inline(Inline::reactor(lengths("reactor")))
            .open(self.directory.path().join(place));
        Arc::new(store.expect("the store opens"))
    }
}

annals_conformance::suite!(Files::new(), durable);
