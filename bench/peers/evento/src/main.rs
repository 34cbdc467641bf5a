//! evento on SQLite with WAL and `synchronous=FULL`: one writing connection, four that read.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use annals_bench_contest::load::Batch;
use annals_bench_contest::{Contestant, Tally, Which, Work, play};
use clap::Parser;
use evento::cursor::Args;
use evento::metadata::Metadata;
use evento::migrator::{Migrate, Plan};
use evento::{Event, EventFilter, Executor, Rw, Sqlite, TenantFilter, WriteError};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use ulid::Ulid;

const AGGREGATE: &str = "bench/Account";
const PAGE: u16 = 1_000;

#[derive(Parser)]
struct Contest {
    #[command(subcommand)]
    work: Work,
}

fn main() {
    play::<Evento>(Contest::parse().work);
}

#[derive(Clone)]
struct Evento {
    store: Rw<Sqlite, Sqlite>,
    /// evento wants the version with each append; a caller would know it from having loaded.
    versions: Arc<Mutex<HashMap<String, u16>>>,
}

impl Contestant for Evento {
    async fn open(directory: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(directory.join("evento.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone());
        let writer = writer.await.expect("the file opens");
        let migrator = evento::sql_migrator::new::<sqlx::Sqlite>().expect("the schema is known");
        let mut connection = writer.acquire().await.expect("the connection is free");
        migrator.run(&mut *connection, &Plan::apply_all()).await.expect("the schema applies");
        drop(connection);
        let readers = SqlitePoolOptions::new().max_connections(4).connect_with(options).await;
        let readers: Sqlite = readers.expect("the file opens").into();
        let writer: Sqlite = writer.into();
        Self { store: (readers, writer).into(), versions: Arc::default() }
    }

    async fn append(&self, batch: Batch) {
        let stream = batch.stream.clone();
        let mut events = events(batch);
        let mut last = self.versions.lock().expect("no caller panics").get(&stream).copied();
        loop {
            let mut version = last.unwrap_or(0);
            for event in &mut events {
                version += 1;
                event.version = version;
            }
            match self.store.write(events.clone()).await {
                Ok(()) => {
                    self.versions.lock().expect("no caller panics").insert(stream, version);
                    return;
                }
                // Another caller was faster on this stream.
                Err(WriteError::InvalidOriginalVersion) => {
                    let (tenant, aggregate) = (String::new(), AGGREGATE.to_owned());
                    let latest = self.store.latest_version(tenant, aggregate, stream.clone()).await;
                    last = Some(latest.expect("the version is read"));
                }
                Err(error) => panic!("the append fails: {error}"),
            }
        }
    }

    async fn read(&self, which: &Which) -> Tally {
        let filter = match which {
            Which::All => None,
            Which::Stream(name) => Some(Arc::from([EventFilter::by_id_raw(AGGREGATE, name)])),
            Which::Tag(_) => unreachable!("evento has no tags"),
        };
        let mut tally = Tally::default();
        let mut after = None;
        loop {
            let args = Args::forward(PAGE, after);
            let page = self.store.read(filter.clone(), None, TenantFilter::All, args, None).await;
            let page = page.expect("the read succeeds");
            for edge in &page.edges {
                tally.count(&edge.node.data);
            }
            if !page.page_info.has_next_page {
                return tally;
            }
            after = page.page_info.end_cursor;
        }
    }

    async fn close(self) {}
}

fn events(batch: Batch) -> Vec<Event> {
    let stream = batch.stream;
    let event = |event: annals_bench_contest::load::Event| Event {
        id: Ulid::from(u128::from_be_bytes(event.id.into_bytes())),
        aggregate_id: stream.clone(),
        aggregate_type: AGGREGATE.into(),
        name: event.event_type.into(),
        data: event.data,
        metadata: Metadata::default(),
        ..Event::default()
    };
    batch.events.into_iter().map(event).collect()
}
