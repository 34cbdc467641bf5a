//! `annals demo`: a server with a busy bank in it, to look around.

mod bank;
mod feed;

use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use annals::Annals;
use annals_core::{Clock, EventStore, SystemClock};
use annals_server::{Options, Store, serve};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{interval, sleep};

use crate::args;
use crate::demo::feed::{Feed, Tally};
use crate::failure::Failure;
use crate::location::Location;
use crate::output::{Output, grouped, note, shown};
use crate::serve::{Started, listen};
use crate::signal;

/// How often the line that shows the bank at work is written anew.
const STATUS_MILLIS: u64 = 500;

pub(crate) async fn run(args: args::Demo, mut output: Output) -> Result<(), Failure> {
    let listener = listener(args.listen).await?;
    let location = location(&args);
    if args.store.is_none() {
        std::fs::create_dir_all(&args.dir)
            .map_err(|error| Failure::because(format!("making {}", args.dir.display()), &error))?;
    }
    let opened = location.open_or_create().await?;
    let started = Started::new(&listener, &location.to_string())?;
    let feed = feed(&args, opened.store());

    let (stop, mut server_stopping) = watch::channel(false);
    tokio::spawn(stop_when(signal::stop(), stop.clone()));
    let server = tokio::spawn(serve(listener, opened.store(), Options::default(), async move {
        told(&mut server_stopping).await;
    }));
    let outcome = run_bank(&args, &feed, &opened.store(), &started, &stop, &mut output).await;
    stop.send_replace(true);
    server
        .await
        .map_err(|error| Failure::because("serving", &error))?
        .map_err(|error| Failure::because("serving", &error))?;
    opened.close().await;
    outcome?;
    note(&match location {
        Location::Memory => "stopped; the log was in memory and is gone".to_owned(),
        _ => format!(
            "stopped; everything acknowledged is in {location}, and the next demo goes on there"
        ),
    });
    Ok(())
}

/// Where the bank's log is.
fn location(args: &args::Demo) -> Location {
    let in_the_folder = || Location::Sqlite(args.dir.join("annals.db"));
    args.store.clone().unwrap_or_else(in_the_folder)
}

/// Opens the bank, tells what to try, and keeps it busy until told to stop.
async fn run_bank(
    args: &args::Demo,
    feed: &Feed,
    store: &Arc<dyn Store>,
    started: &Started,
    stop: &watch::Sender<bool>,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut stopping = stop.subscribe();
    let is_new = store.stats().await?.events == 0;
    tokio::select! {
        opened = open_bank(feed, is_new) => opened?,
        () = told(&mut stopping) => return Ok(()),
    }
    announce(args, started, is_new, output)?;
    if let Some(seconds) = args.seconds {
        tokio::spawn(stop_when(sleep(Duration::from_secs(seconds)), stop.clone()));
    }
    tokio::select! {
        () = feed.run(args.rate, stopping) => Ok(()),
        failure = show_status(&feed.tally, store, !output.is_json()) => failure,
    }
}

async fn open_bank(feed: &Feed, is_new: bool) -> Result<(), Failure> {
    feed.open_accounts().await.map_err(|error| Failure::because("opening the accounts", &error))?;
    if is_new {
        feed.make_a_past().await;
    }
    Ok(())
}

fn feed(args: &args::Demo, store: Arc<dyn Store>) -> Feed {
    let by_the_clock = SystemClock.now().as_micros().unsigned_abs();
    Feed {
        bank: Annals::new(store as Arc<dyn EventStore>),
        accounts: args.accounts,
        seed: args.seed.unwrap_or(by_the_clock),
        tally: Arc::default(),
    }
}

/// The address that was asked for; else the usual one, or a free one when that is taken.
async fn listener(wanted: Option<SocketAddr>) -> Result<TcpListener, Failure> {
    if let Some(address) = wanted {
        if !address.ip().is_loopback() {
            return Err(Failure::invalid(format!(
                "the demo has no token and listens on loopback only, not on {address}; use \
                 `annals serve` for others"
            )));
        }
        return listen(address).await;
    }
    let usual: SocketAddr = args::LISTEN_DEFAULT.parse().expect("the constant is an address");
    match TcpListener::bind(usual).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            note(&format!("{usual} is taken; listening on a free port"));
            listen((Ipv4Addr::LOCALHOST, 0).into()).await
        }
        Err(error) => Err(Failure::because(format!("listening on {usual}"), &error)),
    }
}

async fn stop_when(reason: impl Future<Output = ()>, stop: watch::Sender<bool>) {
    reason.await;
    stop.send_replace(true);
}

/// Waits until the demo is told to stop.
async fn told(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

fn announce(
    args: &args::Demo,
    started: &Started,
    is_new: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    if output.is_json() {
        output.json(started)?;
        return output.flush();
    }
    let url = &started.url;
    let past = if is_new { "a new" } else { "the same" };
    output.line(&format!(
        "A bank is open at {url}/ with {past} log in {}\n\n\
         Watch it in a browser:\n\n  {url}/\n\n\
         Or paste these:\n",
        shown(&started.store)
    ))?;
    for line in things_to_try(args, started) {
        output.line(&format!("  {line}"))?;
    }
    output.line("\nCtrl-C stops it.")?;
    output.flush()
}

/// Commands that work when pasted.
fn things_to_try(args: &args::Demo, started: &Started) -> Vec<String> {
    let url = &started.url;
    let last = args.accounts;
    let mut lines = vec![
        format!("curl {url}/v1/stats"),
        format!("curl {url}/v1/streams/account-1"),
        format!("curl '{url}/v1/streams/account-{last}?direction=backward&limit=1'"),
        format!("curl '{url}/v1/events?types=TransferSent&direction=backward&limit=3'"),
        format!(
            "curl '{url}/v1/streams/account-1?expected=stream_exists' \
             -H content-type:application/json \
             -d '{{\"type\":\"MoneyDeposited\",\"data\":{{\"amount\":500}}}}'"
        ),
        format!("curl -N '{url}/v1/tail?from=head'"),
    ];
    let store = match location(args) {
        // Nobody else can look into it.
        Location::Memory => return lines,
        // A password comes from where it belongs; it must not get into the shell's history.
        Location::Postgres(address) => address.without_password(""),
        location @ Location::Sqlite(_) => location.to_string(),
    };
    let annals = std::env::args().next();
    let (annals, store) = (quoted(annals.as_deref().unwrap_or("annals")), quoted(&store));
    lines.push(format!("{annals} stats --store {store}"));
    lines.push(format!("{annals} tail account-1 --store {store}"));
    lines
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@".contains(&byte);
    if word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Keeps a line on the terminal that shows the bank at work. Without a terminal it only waits.
async fn show_status(
    tally: &Tally,
    store: &Arc<dyn Store>,
    is_wanted: bool,
) -> Result<(), Failure> {
    if !is_wanted || !io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let mut ticks = interval(Duration::from_millis(STATUS_MILLIS));
    let mut before = store.stats().await?.events;
    loop {
        ticks.tick().await;
        let events = store.stats().await?.events;
        let rate = events.saturating_sub(before) * 1_000 / STATUS_MILLIS;
        before = events;
        let count = |number: &std::sync::atomic::AtomicU64| grouped(number.load(Ordering::Relaxed));
        let mut stderr = io::stderr();
        // Nobody may be looking any more, which is no reason to stop.
        let _ = write!(
            stderr,
            "\r\u{1b}[2K{} events, {rate} a second; {} requests done, {} refused",
            grouped(events),
            count(&tally.done),
            count(&tally.refused),
        );
        let _ = stderr.flush();
    }
}
