//! What every contestant goes through: the same load, the same clock, the same checks.
//!
//! Each measurement is a process of its own, so that no contestant inherits another's
//! threads, caches or memory, and so that two may link different versions of SQLite.

#[path = "../../../engine/src/load.rs"]
pub mod load;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Subcommand;
use load::{Batch, Load};

/// The one long stream, its events, and how many callers fill a store.
const LONG_STREAM: &str = "long-1";
const LONG_EVENTS: u64 = 10_000;
const FILL_CALLERS: u64 = 64;

/// An event store under test. Whatever fails panics: a contestant that errs has no figure.
pub trait Contestant: Clone + Send + Sync + 'static {
    /// Opens the store in a directory of its own.
    fn open(directory: &Path) -> impl Future<Output = Self> + Send;

    /// Returns when the events are on disk.
    fn append(&self, batch: Batch) -> impl Future<Output = ()> + Send;

    /// Reads every event that is asked for, with its data.
    fn read(&self, which: &Which) -> impl Future<Output = Tally> + Send;

    fn close(self) -> impl Future<Output = ()> + Send;
}

pub enum Which {
    All,
    Stream(String),
    Tag(String),
}

/// What a read has seen; it keeps the read from being optimised away and proves it whole.
#[derive(Default)]
pub struct Tally {
    pub events: u64,
    pub bytes: u64,
}

impl Tally {
    pub fn count(&mut self, data: &[u8]) {
        self.events += 1;
        self.bytes += std::hint::black_box(data).len() as u64;
    }
}

/// One piece of work for one contestant.
#[derive(Clone, Subcommand)]
pub enum Work {
    /// Appends to an empty store and prints the rate.
    Append { seconds: f64, callers: u64, events_per_append: u64, directory: PathBuf },
    /// Fills a store to be read.
    Fill { events: u64, directory: PathBuf },
    /// Reads what `fill` has written and prints the rate.
    Read { what: String, seconds: f64, events: u64, directory: PathBuf },
}

impl Work {
    pub fn arguments(&self) -> Vec<String> {
        let path = |directory: &Path| directory.to_str().expect("the path is text").to_owned();
        match self {
            Self::Append { seconds, callers, events_per_append, directory } => vec![
                "append".into(),
                seconds.to_string(),
                callers.to_string(),
                events_per_append.to_string(),
                path(directory),
            ],
            Self::Fill { events, directory } => {
                vec!["fill".into(), events.to_string(), path(directory)]
            }
            Self::Read { what, seconds, events, directory } => vec![
                "read".into(),
                what.clone(),
                seconds.to_string(),
                events.to_string(),
                path(directory),
            ],
        }
    }
}

/// What a measurement's process prints, found among what the store itself may print.
pub const ANSWER: &str = "annals-bench-answer ";

pub fn play<C: Contestant>(work: Work) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let rate = runtime.block_on(async {
        match work {
            Work::Append { seconds, callers, events_per_append, directory } => {
                let load =
                    Load { callers, events_per_append, appends_per_caller: 0, tagged: false };
                append::<C>(load, Duration::from_secs_f64(seconds), &directory).await
            }
            Work::Fill { events, directory } => fill::<C>(events, &directory).await,
            Work::Read { what, seconds, events, directory } => {
                read::<C>(&what, Duration::from_secs_f64(seconds), events, &directory).await
            }
        }
    });
    println!("\n{ANSWER}{rate}");
}

async fn append<C: Contestant>(load: Load, time: Duration, directory: &Path) -> f64 {
    let contestant = C::open(directory).await;
    let start = Instant::now();
    let callers: Vec<_> = (0..load.callers)
        .map(|caller| {
            let contestant = contestant.clone();
            tokio::spawn(async move {
                let mut turn = 0;
                while start.elapsed() < time {
                    contestant.append(load.batch(caller, turn)).await;
                    turn += 1;
                }
                turn
            })
        })
        .collect();
    let mut appends = 0;
    for caller in callers {
        appends += caller.await.expect("no caller fails");
    }
    let rate = (appends * load.events_per_append) as f64 / start.elapsed().as_secs_f64();
    contestant.close().await;
    rate
}

async fn fill<C: Contestant>(events: u64, directory: &Path) -> f64 {
    let contestant = C::open(directory).await;
    let load = Load {
        callers: FILL_CALLERS,
        events_per_append: 10,
        appends_per_caller: filled(events) / FILL_CALLERS / 10,
        tagged: true,
    };
    let start = Instant::now();
    let callers: Vec<_> = (0..load.callers)
        .map(|caller| {
            let contestant = contestant.clone();
            tokio::spawn(async move {
                for turn in 0..load.appends_per_caller {
                    contestant.append(load.batch(caller, turn)).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no caller fails");
    }
    let long = Load { events_per_append: 100, ..load };
    for turn in 0..LONG_EVENTS / 100 {
        let batch = Batch { stream: LONG_STREAM.into(), ..long.batch(0, turn) };
        contestant.append(batch).await;
    }
    let rate = (load.events() + LONG_EVENTS) as f64 / start.elapsed().as_secs_f64();
    contestant.close().await;
    rate
}

/// How many events a store filled with `events` really holds beside the long stream.
fn filled(events: u64) -> u64 {
    events / (FILL_CALLERS * 10) * (FILL_CALLERS * 10)
}

/// Reads again and again until the time is over; a first pass warms up and is checked.
async fn read<C: Contestant>(what: &str, time: Duration, events: u64, directory: &Path) -> f64 {
    let contestant = C::open(directory).await;
    let reads = match what {
        "scan" => vec![Which::All],
        "stream" => vec![Which::Stream(LONG_STREAM.into())],
        "tag" => asked_tags().into_iter().map(Which::Tag).collect(),
        other => panic!("`{other}` is none of scan, stream, tag"),
    };
    let expected = match what {
        "scan" => filled(events) + LONG_EVENTS,
        "stream" => LONG_EVENTS,
        _ => tagged(filled(events)),
    };
    let first = pass(&contestant, &reads).await;
    assert_eq!(first.events, expected, "every acknowledged event is read once");
    assert_eq!(first.bytes, expected * 200, "every event comes with its data");
    let start = Instant::now();
    let mut seen = 0;
    while start.elapsed() < time {
        seen += pass(&contestant, &reads).await.events;
    }
    let rate = seen as f64 / start.elapsed().as_secs_f64();
    contestant.close().await;
    rate
}

async fn pass<C: Contestant>(contestant: &C, reads: &[Which]) -> Tally {
    let mut sum = Tally::default();
    for which in reads {
        let tally = contestant.read(which).await;
        sum.events += tally.events;
        sum.bytes += tally.bytes;
    }
    sum
}

/// The tags of the load's first turns: each finds some hundred events, whatever the store's size.
fn asked_tags() -> Vec<String> {
    let mut tags: Vec<String> = (0..50).map(tag).collect();
    tags.sort();
    tags.dedup();
    tags
}

/// The tag that all callers give to all events of a turn.
fn tag(turn: u64) -> String {
    let one = Load { callers: 1, events_per_append: 1, appends_per_caller: 1, tagged: true };
    one.batch(0, turn).events.remove(0).tag.expect("the load is tagged")
}

/// Counts what the load has tagged as it is asked for, without any store.
fn tagged(filled: u64) -> u64 {
    let asked = asked_tags();
    let hits = |turns: u64| (0..turns).filter(|&turn| asked.contains(&tag(turn))).count() as u64;
    hits(filled / FILL_CALLERS / 10) * FILL_CALLERS * 10 + hits(LONG_EVENTS / 100) * 100
}
