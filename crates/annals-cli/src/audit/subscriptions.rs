//! S5 put to the proof: follow the log while it is written, then read it, and compare.

use std::sync::Arc;

use annals_core::{EventStore, Position};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::follower::Followers;
use super::judge::judge;
use super::load::{Load, Pen};
use super::naive::NaivePoller;
use super::progress::Progress;
use super::report::{LoadReport, Report};
use super::seen::Seen;
use crate::args;
use crate::failure::Failure;
use crate::location::{Location, Opened};
use crate::output::{Output, note};
use crate::signal;

/// How many stores the load goes through, where a log can have several: as many processes would.
const LOADING_STORES_MAX: usize = 4;

pub(super) async fn run(args: args::Subscriptions, mut output: Output) -> Result<(), Failure> {
    let location = &args.store.location;
    if *location == Location::Memory {
        let message = "nobody else can write to a log in memory; name another --store";
        return Err(Failure::invalid(message));
    }
    let opened = location.open_existing().await?;
    let loading = loading_stores(&args).await?;
    let outcome = audit(&args, &opened, &loading).await;
    for store in loading {
        store.close().await;
    }
    opened.close().await;
    let report = outcome?;
    report.tell(&mut output)?;
    output.flush()?;
    if report.judged.events == 0 {
        note("nothing was written meanwhile: --load writes, --from 0 takes what is there");
    }
    if report.is_clean() {
        Ok(())
    } else {
        Err(Failure::new(format!("{location} does not keep what it promises; stop, and tell us")))
    }
}

/// Stores for writers; none where they can use the one that is followed.
async fn loading_stores(args: &args::Subscriptions) -> Result<Vec<Opened>, Failure> {
    let mut stores = Vec::new();
    if let Location::Postgres(_) = args.store.location {
        for _ in 0..(args.load as usize).min(LOADING_STORES_MAX) {
            stores.push(args.store.location.open_existing().await?);
        }
    }
    Ok(stores)
}

/// One pen for each writer. Where applications can have transactions of their own, every second
/// writer does.
fn pens(writers: u32, opened: &Opened, loading: &[Opened]) -> Vec<Pen> {
    let pen = |number: usize| {
        let opened = match loading {
            [] => opened,
            stores => &stores[number / 2 % stores.len()],
        };
        match opened.postgres() {
            Some(store) if number % 2 == 1 => Pen::Transactions(store.clone()),
            _ => Pen::Store(opened.store()),
        }
    };
    (0..writers as usize).map(pen).collect()
}

async fn audit(
    args: &args::Subscriptions,
    opened: &Opened,
    loading: &[Opened],
) -> Result<Report, Failure> {
    let store: Arc<dyn EventStore> = opened.store();
    let start = match args.from {
        Some(position) => Position::new(position),
        None => store.head().await?,
    };
    let started = Instant::now();
    let (tell_over, over) = watch::channel(false);
    let (tell_poller, poller_over) = watch::channel(false);
    let naive = naive_poller(&args.store.location, start, poller_over).await;
    let followers = Followers::start(&store, start, args.subscriptions, &args.categories);
    let load = (args.load > 0).then(|| Load::start(pens(args.load, opened, loading), &over));

    let progress = Progress {
        length: args.length,
        delivered: followers.delivered(),
        written: load.as_ref().map(Load::written),
    };
    tokio::select! {
        () = sleep(args.length) => {}
        () = signal::stop() => {}
        () = progress.show() => {}
    }
    progress.clear();
    tell_over.send_replace(true);
    let load = match load {
        Some(load) => Some((load.streams(), load.end().await?)),
        None => None,
    };
    tell_poller.send_replace(true);
    let naive = match naive {
        Some(naive) => naive.await.ok().flatten(),
        None => None,
    };
    let seconds = started.elapsed().as_secs_f64();
    let end = store.head().await?.max(start);
    let followed = followers.end(end).await?;

    let streams_of_load = load.as_ref().map(|(streams, _)| &**streams);
    let judged = judge(&store, start, end, followed, naive, streams_of_load).await?;
    let load = load.map(|(_, acknowledged)| LoadReport {
        writers: args.load,
        acknowledged,
        lost: acknowledged.saturating_sub(judged.of_load),
    });
    let store = args.store.location.to_string();
    Ok(Report { store, from: start.get(), to: end.get(), seconds, load, judged })
}

/// The control, where there is plain SQL to poll with; it is no part of the proof.
async fn naive_poller(
    location: &Location,
    start: Position,
    over: watch::Receiver<bool>,
) -> Option<JoinHandle<Option<Seen>>> {
    let Location::Postgres(address) = location else { return None };
    let poller = NaivePoller::new(address, start.get()).await.ok()?;
    Some(tokio::spawn(poller.run(over)))
}
