//! Annals beside the floor, in one run: `cargo run --release -p annals-bench`.

mod conditions;
mod decide;
mod disk;
mod floor;
mod fold;
mod load;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use annals_bench_report::{Line, Report};
use annals_core::{EventStore, Query, QueryItem, Read, StreamCatalog, StreamId, Tag};
use annals_sqlite::SqliteStore;
use clap::Parser;
use floor::Floor;
use futures_util::StreamExt;
use load::Load;

/// Measures Annals beside the fastest hand-written program for the same work.
#[derive(Parser)]
struct Args {
    /// Which measurements: disk, append, decide, fold, scan, stream, tag, conditions; all when left out.
    what: Vec<String>,
    /// How often each is repeated; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many appends in all callers together make, at 16 callers and more.
    #[arg(long, default_value_t = 20_000)]
    appends: u64,
    /// How many events the store holds that is read.
    #[arg(long, default_value_t = 500_000)]
    events: u64,
    /// How many events the store holds that is appended to under conditions.
    #[arg(long, default_value_t = 2_000_000)]
    condition_events: u64,
    /// Read this store instead of a temporary one; it is filled first if it does not exist.
    #[arg(long)]
    store: Option<PathBuf>,
    /// Callers to try.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    callers: Vec<u64>,
    /// Events per append to try.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100])]
    batches: Vec<u64>,
}

impl Args {
    fn wants(&self, what: &str) -> bool {
        self.what.is_empty() || self.what.iter().any(|wanted| wanted == what)
    }
}

fn main() {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("a runtime starts");
    let mut report = Report::default();
    if args.wants("disk") {
        report.note(format!("bare fdatasync of one page: {:.0}/s", disk::fdatasync_rate()));
    }
    if args.wants("append") {
        runtime.block_on(append(&args, &mut report));
    }
    if args.wants("decide") {
        for callers in [1, 64] {
            let commands = if callers == 1 { 2_000 } else { 20_000 };
            report.add(runtime.block_on(decide::measure(callers, args.rounds, commands)));
        }
    }
    if args.wants("fold") {
        report.add(runtime.block_on(fold::whole(args.rounds)));
        for line in runtime.block_on(fold::snapshots(args.rounds)) {
            report.add(line);
        }
    }
    if ["scan", "stream", "tag"].iter().any(|what| args.wants(what)) {
        runtime.block_on(read(&args, &mut report));
    }
    report.print();
    if args.wants("conditions") {
        runtime.block_on(conditions::measure(args.condition_events, 200));
    }
}

async fn append(args: &Args, report: &mut Report) {
    for &events_per_append in &args.batches {
        for &callers in &args.callers {
            let appends = (args.appends / events_per_append.min(10)).max(callers * 4);
            let appends = if callers == 1 { appends.min(3_000) } else { appends };
            let load = Load {
                callers,
                events_per_append,
                appends_per_caller: appends / callers,
                tagged: false,
            };
            let name = format!("append {callers} callers x {events_per_append}");
            let mut line = Line::new(name, "events/s");
            for _ in 0..args.rounds {
                line.add(append_floor(load).await, append_annals(load).await);
            }
            report.add(line);
        }
    }
}

async fn append_floor(load: Load) -> f64 {
    let directory = tempfile::tempdir().expect("a directory");
    let floor = Arc::new(Floor::open(&directory.path().join("floor.db")));
    let rate = {
        let floor = Arc::clone(&floor);
        drive(load, move |batch| {
            let floor = Arc::clone(&floor);
            async move {
                floor.append(batch).await;
            }
        })
        .await
    };
    Arc::into_inner(floor).expect("all callers are done").close();
    rate
}

async fn append_annals(load: Load) -> f64 {
    let directory = tempfile::tempdir().expect("a directory");
    let store = SqliteStore::open(directory.path().join("annals.db")).expect("the store opens");
    let rate = {
        let store = store.clone();
        drive(load, move |batch| {
            let store = store.clone();
            async move {
                store.append(batch.into_append()).await.expect("the append succeeds");
            }
        })
        .await
    };
    store.close().await;
    rate
}

/// Runs all callers to their end and returns events per second.
async fn drive<F, A>(load: Load, append: A) -> f64
where
    A: Fn(load::Batch) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let start = Instant::now();
    let callers: Vec<_> = (0..load.callers)
        .map(|caller| {
            let append = append.clone();
            tokio::spawn(async move {
                for turn in 0..load.appends_per_caller {
                    append(load.batch(caller, turn)).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no caller fails");
    }
    load.events() as f64 / start.elapsed().as_secs_f64()
}

async fn read(args: &Args, report: &mut Report) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = args.store.clone().unwrap_or_else(|| directory.path().join("annals.db"));
    let exists = path.exists();
    let store = SqliteStore::open(&path).expect("the store opens");
    if !exists {
        fill(&store, args.events).await;
    }
    let stats = store.stats().await.expect("the store is counted");
    report.note(format!("reading {} events, {}", stats.events, display_size(&path)));
    let connection = floor::connect(&path);
    let stream = StreamId::from_static("long-1");
    let tags: Vec<Tag> = (0..200)
        .map(|n| Tag::new(format!("branch:{}", n * 50)).expect("the load's tags are valid"))
        .collect();
    if args.wants("scan") {
        let mut line = Line::new("full scan", "events/s");
        for _ in 0..args.rounds {
            line.add(rate(|| floor::scan(&connection).0), consume(&store, [Read::all()]).await);
        }
        report.add(line);
    }
    if args.wants("stream") {
        let mut line = Line::new("stream read (10,000 events)", "events/s");
        for _ in 0..args.rounds {
            let read = || (0..20).map(|_| floor::read_stream(&connection, stream.as_str()).0).sum();
            let floor = rate(read);
            let reads = (0..20).map(|_| Read::stream(stream.clone()));
            line.add(floor, consume(&store, reads).await);
        }
        report.add(line);
    }
    if args.wants("tag") {
        let mut line = Line::new("query by tag", "events/s");
        for _ in 0..args.rounds {
            let read = || tags.iter().map(|tag| floor::read_tag(&connection, tag.as_str()).0).sum();
            let floor = rate(read);
            let query = |tag: &Tag| Query::of(QueryItem::new().tag(tag.clone()));
            let reads = tags.iter().map(|tag| Read::query(query(tag)));
            line.add(floor, consume(&store, reads).await);
        }
        report.add(line);
    }
    store.close().await;
}

fn display_size(path: &Path) -> String {
    let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    format!("{} MB", bytes / 1_000_000)
}

fn rate(work: impl FnOnce() -> u64) -> f64 {
    let start = Instant::now();
    let events = work();
    events as f64 / start.elapsed().as_secs_f64()
}

async fn consume(store: &SqliteStore, reads: impl IntoIterator<Item = Read>) -> f64 {
    let start = Instant::now();
    let (mut events, mut bytes) = (0_u64, 0_u64);
    for read in reads {
        let mut stream = store.read(read);
        while let Some(event) = stream.next().await {
            let event = event.expect("the read succeeds");
            events += 1;
            bytes += event.data.bytes.len() as u64;
        }
    }
    std::hint::black_box(bytes);
    events as f64 / start.elapsed().as_secs_f64()
}

/// Fills a store with the load, and one stream of 10,000 events.
async fn fill(store: &SqliteStore, events: u64) {
    let load = Load { callers: 1, events_per_append: 100, appends_per_caller: 0, tagged: true };
    for turn in 0..events / 100 {
        let mut append = annals_core::Append::default();
        for caller in 0..10 {
            let load = Load { events_per_append: 10, ..load };
            let part = load.batch(caller, turn).into_append().streams.remove(0);
            if append.streams.iter().all(|other| other.stream != part.stream) {
                append.streams.push(part);
            }
        }
        store.append(append).await.expect("the append succeeds");
    }
    for turn in 0..100 {
        let mut append = load.batch(0, turn).into_append();
        append.streams[0].stream = StreamId::from_static("long-1");
        store.append(append).await.expect("the append succeeds");
    }
}
