//! Annals beside its peers, in one run: `bench/peers/run`.

mod annals;
mod happenstance;
mod report;
mod sierradb;
mod umadb;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use annals_bench_contest::{ANSWER, Work, play};
use clap::{Parser, Subcommand};
use report::{Line, print, row};

/// Measures Annals beside other event stores, each at its durable setting.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    play: Option<Play>,
    /// About two minutes: one round, short measurements, a small store.
    #[arg(long)]
    quick: bool,
    /// How often each measurement is repeated, all contestants in turn; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long one measurement lasts.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How many events the stores hold that are read.
    #[arg(long, default_value_t = 500_000)]
    events: u64,
    /// Callers to try.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    callers: Vec<u64>,
    /// Events per append to try.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100])]
    batches: Vec<u64>,
    /// The peers to run beside Annals, by name; all when left out.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Where the stores lie while they are measured; a temporary directory when left out.
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// One measurement, as this program starts it in a process of its own.
#[derive(Subcommand)]
enum Play {
    #[command(hide = true)]
    Play {
        name: String,
        #[command(subcommand)]
        work: Work,
    },
}

struct Peer {
    name: &'static str,
    tags: bool,
    /// Version, settings, and what it cannot do.
    note: &'static str,
}

const PEERS: [Peer; 6] = [
    Peer {
        name: "Annals",
        tags: true,
        note: "this tree, SQLite store, WAL, synchronous=FULL, grouped commits",
    },
    Peer {
        name: "UmaDB",
        tags: true,
        note: "0.7.8, its server's defaults (fsync per group of appends), its gRPC client on one \
               loopback connection; no streams and no stream versions (a tag stands for the \
               stream); pays for gRPC, which the embedded stores do not",
    },
    Peer {
        name: "evento",
        tags: false,
        note: "2.0.0-alpha.38, SQLite, WAL, synchronous=FULL, one writing connection and four \
               that read; no tags, at most 65,535 events in a stream, no append without a version",
    },
    Peer {
        name: "happenstance",
        tags: true,
        note: "0.4.6, SQLite, WAL, synchronous=FULL (its default is NORMAL, which loses \
               acknowledged events with the power); no streams and no stream versions (a tag \
               stands for the stream)",
    },
    Peer {
        name: "SierraDB",
        tags: false,
        note: "0.3.1, embedded, 32 partitions, an fsync with each append (sync_interval 0); no \
               tags, no order across partitions, no append across them; a failed fsync is only \
               logged",
    },
    Peer {
        name: "SierraDB-grouped",
        tags: false,
        note: "the same at its default: an fsync after 4 KiB, 50 events or 5 ms, appends wait for \
               it",
    },
];

fn main() {
    let mut args = Args::parse();
    if let Some(Play::Play { name, work }) = args.play {
        return match name.as_str() {
            "Annals" => play::<annals::Annals>(work),
            "UmaDB" => play::<umadb::UmaDb>(work),
            "happenstance" => play::<happenstance::Happenstance>(work),
            "SierraDB" => play::<sierradb::SierraDb<true>>(work),
            "SierraDB-grouped" => play::<sierradb::SierraDb<false>>(work),
            other => panic!("`{other}` is no contestant of this program"),
        };
    }
    if args.quick {
        (args.rounds, args.seconds, args.events) = (1, 0.8, 50_000);
    }
    let wanted = |peer: &Peer| {
        let asked = |name: &String| name.eq_ignore_ascii_case(peer.name);
        peer.name == "Annals" || args.peers.is_empty() || args.peers.iter().any(asked)
    };
    let peers: Vec<&Peer> = PEERS.iter().filter(|peer| wanted(peer)).collect();
    let mut lines = Vec::new();
    append(&args, &peers, &mut lines);
    read(&args, &peers, &mut lines);
    print(&peers.iter().map(|peer| (peer.name, peer.note)).collect::<Vec<_>>(), &lines);
}

fn append(args: &Args, peers: &[&Peer], lines: &mut Vec<Line>) {
    for &events_per_append in &args.batches {
        for &callers in &args.callers {
            let mut line =
                Line::new(format!("append, {callers} callers × {events_per_append}"), peers.len());
            for _ in 0..args.rounds {
                for (peer, rates) in peers.iter().zip(&mut line.rates) {
                    let place = place(args);
                    let directory = place.path().to_owned();
                    let seconds = args.seconds;
                    let work = Work::Append { seconds, callers, events_per_append, directory };
                    rates.push(measure(peer, &work));
                }
            }
            eprintln!("{}", row(&line));
            lines.push(line);
        }
    }
}

fn read(args: &Args, peers: &[&Peer], lines: &mut Vec<Line>) {
    let events = args.events;
    let places: Vec<_> = peers.iter().map(|_| place(args)).collect();
    for (peer, place) in peers.iter().zip(&places) {
        measure(peer, &Work::Fill { events, directory: place.path().to_owned() });
    }
    for (what, name) in
        [("scan", "full scan"), ("stream", "stream of 10,000 events"), ("tag", "query by tag")]
    {
        let mut line = Line::new(name.into(), peers.len());
        for _ in 0..args.rounds {
            for ((peer, place), rates) in peers.iter().zip(&places).zip(&mut line.rates) {
                if what != "tag" || peer.tags {
                    let (what, seconds) = (what.to_owned(), args.seconds);
                    let directory = place.path().to_owned();
                    rates.push(measure(peer, &Work::Read { what, seconds, events, directory }));
                }
            }
        }
        eprintln!("{}", row(&line));
        lines.push(line);
    }
}

fn place(args: &Args) -> tempfile::TempDir {
    let directory = args.directory.as_deref().map(Path::to_owned);
    tempfile::tempdir_in(directory.unwrap_or_else(std::env::temp_dir)).expect("a directory")
}

fn measure(peer: &Peer, work: &Work) -> f64 {
    let own = std::env::current_exe().expect("the program knows its place");
    let mut command = if peer.name == "evento" {
        Command::new(own.with_file_name("annals-bench-evento"))
    } else {
        let mut command = Command::new(own);
        command.args(["play", peer.name]);
        command
    };
    let output = command.args(work.arguments()).stderr(Stdio::inherit()).output();
    let output = output.expect("the contestant starts; `bench/peers/run` builds all of them");
    assert!(output.status.success(), "{} fails at {:?}", peer.name, work.arguments());
    let printed = String::from_utf8_lossy(&output.stdout);
    let answer = printed.lines().find_map(|line| line.strip_prefix(ANSWER));
    answer.and_then(|rate| rate.parse().ok()).expect("a contestant prints its rate")
}
