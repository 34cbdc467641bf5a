//! Faults on a PostgreSQL cluster under load, and what became of every append.
//!
//! `cargo xtask ha` gets what is needed and runs it; docs/high-availability.md says what it shows.

mod account;
mod application;
mod cluster;
mod faults;
mod follow;
mod ledger;
mod load;
mod log;
mod node;
mod processes;
mod proxy;
mod rest;
mod scenario;
mod verify;
mod writers;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::cluster::Cluster;
use crate::faults::Fault;
use crate::log::Log;

/// Faults on a PostgreSQL cluster under load, and what became of every append.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// How often each fault happens.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// How long there is load before the first fault and after each one.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Which faults, in this order.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Fault::USUAL)]
    faults: Vec<Fault>,
    /// Leave the logs of all processes behind; a run that fails always does.
    #[arg(long)]
    keep: bool,
    /// The folder with PostgreSQL's programs.
    #[arg(long)]
    postgres: PathBuf,
    /// Patroni.
    #[arg(long)]
    patroni: PathBuf,
    /// etcd.
    #[arg(long)]
    etcd: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let log = Log::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    match runtime.block_on(run(&args, log)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.say(format!("FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args, log: Log) -> Result<()> {
    let mut cluster = Cluster::new(args, log)?;
    let interrupted = interrupted()?;
    let (outcome, keep) = tokio::select! {
        outcome = scenario::run(args, log, &mut cluster) => {
            let failed = !matches!(outcome, Ok(true));
            (outcome, failed || args.keep)
        }
        signal = interrupted => (Err(anyhow::anyhow!("ended by {signal}")), args.keep),
    };
    log.say("stopping everything");
    cluster.end(keep).await?;
    match outcome? {
        true => Ok(()),
        false => bail!("a promise was broken; see above"),
    }
}

/// Returns when somebody wants this to end.
fn interrupted() -> Result<impl Future<Output = &'static str>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
            _ = hangup.recv() => "SIGHUP",
        }
    })
}
