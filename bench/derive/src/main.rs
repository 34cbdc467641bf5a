//! Projections and inboxes beside raw loops, in one run: `cargo run --release -p annals-bench-derive`.

mod bank;
mod inboxes;
mod isolation;
mod latency;
mod place;
mod postgres;
mod project;
mod sqlite;

use annals_bench_report::Report;
use clap::Parser;

use crate::place::On;

/// Measures projections and inboxes beside the least that has to be done for the same.
#[derive(Parser)]
pub struct Args {
    /// Which measurements: project, rebuild, inboxes, latency, isolation; all when left out.
    what: Vec<String>,
    /// What the log and the read side are on; both when left out.
    #[arg(long)]
    on: Option<On>,
    /// How often each is repeated; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many events the log holds that is projected.
    #[arg(long, default_value_t = 100_000)]
    events: u64,
    /// How many accounts they are about.
    #[arg(long, default_value_t = 1_000)]
    accounts: u64,
    /// How many events are applied in one transaction, by everybody.
    #[arg(long, default_value_t = 1_000)]
    batch: usize,
}

impl Args {
    fn wants(&self, what: &str) -> bool {
        self.what.is_empty() || self.what.iter().any(|wanted| wanted == what)
    }

    fn on(&self) -> Vec<On> {
        self.on.map_or_else(|| vec![On::Sqlite, On::Postgres], |on| vec![on])
    }
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let mut report = Report::default();
    if args.wants("project") || args.wants("rebuild") {
        project::measure(&args, &mut report).await;
    }
    if args.wants("inboxes") {
        inboxes::measure(&args, &mut report).await;
    }
    if args.wants("latency") {
        latency::measure(&args, &mut report).await;
    }
    if args.wants("isolation") {
        isolation::measure(&args, &mut report).await;
    }
    report.print();
}
