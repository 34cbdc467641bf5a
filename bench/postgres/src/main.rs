//! Annals on PostgreSQL beside other ways to do the same on the same server, in one run:
//! `cargo run --release -p annals-bench-postgres`.

mod append;
mod drive;
mod fact;
mod grouped;
mod latency;
mod naive;
mod peers;
mod pgbench;
mod read;
mod rows;
mod server;

use std::time::Duration;

use annals_bench_report::Report;
use clap::Parser;
use drive::Span;
use server::Server;

/// Measures Annals on PostgreSQL beside hand-written programs and peers on the same server.
#[derive(Parser)]
struct Args {
    /// Which measurements: append, read, latency, peers; all when left out.
    what: Vec<String>,
    /// How often each is repeated; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each measurement of appends lasts.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How long each of them runs before it counts.
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
    /// Callers to try.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    callers: Vec<u64>,
    /// How many events the log holds that is read.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// How long appends are followed to their subscribers.
    #[arg(long, default_value_t = 20.0)]
    latency_seconds: f64,
    /// A further setting of the server, as in `shared_buffers=1GB`.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
}

impl Args {
    fn wants(&self, what: &str) -> bool {
        self.what.is_empty() || self.what.iter().any(|wanted| wanted == what)
    }

    fn span(&self) -> Span {
        Span {
            warm_up: Duration::from_secs_f64(self.warm_up),
            time: Duration::from_secs_f64(self.seconds),
        }
    }
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let server = Server::start(&args.settings).await;
    let mut report = Report::default();
    report.note(server.describe().await);
    if args.wants("append") {
        append::measure(&server, &args, &mut report).await;
    }
    if args.wants("read") {
        read::measure(&server, &args, &mut report).await;
    }
    report.print();
    if args.wants("latency") {
        latency::measure(&server, Duration::from_secs_f64(args.latency_seconds)).await;
    }
    if args.wants("peers") {
        peers::measure(&server, &args).await;
    }
}
