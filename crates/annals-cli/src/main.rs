//! The `annals` command. What can be typed is in [`args`]; each command's work in its own file.

mod append;
mod args;
mod audit;
mod deleting;
mod deliveries;
mod demo;
mod doctor;
mod failure;
mod inboxes;
mod location;
mod migrate;
mod output;
mod partitions;
mod projections;
mod read;
mod schema;
mod serve;
mod signal;
mod snapshots;
mod stats;
mod streams;
mod tail;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command};
use crate::failure::Failure;
use crate::output::Output;

/// What the driver finds slow is for those who look for it.
const LOG_DEFAULT: &str = "warn,sqlx=error";

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && output::may_colour())
        .with_env_filter(
            EnvFilter::try_from_env("ANNALS_LOG").unwrap_or_else(|_| EnvFilter::new(LOG_DEFAULT)),
        )
        .init();
    let outcome = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::because("starting the runtime", &error))
        .and_then(|runtime| runtime.block_on(run(cli)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let output = Output::new(cli.json);
    match cli.command {
        Command::Append(args) => append::run(args, output).await,
        Command::Audit(args) => audit::run(args, output).await,
        Command::Deliveries(work) => deliveries::run(work, output).await,
        Command::Demo(args) => demo::run(args, output).await,
        Command::Doctor(args) => doctor::run(args, output).await,
        Command::Inboxes(work) => inboxes::run(work, output).await,
        Command::Migrate(args) => migrate::run(args, output).await,
        Command::Partitions(args) => partitions::run(args, output).await,
        Command::Projections(work) => projections::run(work, output).await,
        Command::Read(args) => read::run(args, output).await,
        Command::Schema(args) => schema::run(args, output).await,
        Command::Serve(args) => serve::run(args, output).await,
        Command::Snapshots(work) => snapshots::run(work, output).await,
        Command::Stats(args) => stats::run(args, output).await,
        Command::Streams(args) => streams::run(args, output).await,
        Command::Tail(args) => tail::run(args, output).await,
    }
}
