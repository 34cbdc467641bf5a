//! The shop over HTTP.

mod arguments;
mod deriving;

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use annals::sqlite::OpenError;
use annals::{Rebuilt, SnapshotsError};
use clap::Parser;
use shop::demo::{self, NotLoaded};
use shop::derived::Pace;
use shop::serve::serve;
use shop::shop::Shop;
use shop::storm::{NotStormed, storm};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;

use crate::arguments::{Action, Arguments, Location};
use crate::deriving::{Deriving, Underived};

/// How long the file has to close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// Why it did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
enum Undone {
    #[error(transparent)]
    Derived(#[from] Underived),
    #[error("cannot listen on {0}; choose another with --listen, port 0 takes a free one")]
    Listen(SocketAddr, #[source] io::Error),
    #[error("cannot open the shop in {0}")]
    Open(Location, #[source] OpenError),
    #[error(transparent)]
    Seed(#[from] NotLoaded),
    #[error("some items have no snapshot; SHOP_LOG=warn says why")]
    NotKept,
    #[error("cannot serve")]
    Serve(#[source] io::Error),
    #[error("cannot make snapshots")]
    Snapshots(#[from] SnapshotsError),
    #[error("the storm could not go on")]
    Storm(#[from] NotStormed),
    #[error("the log does not agree with what was answered")]
    Wrong,
    #[error("cannot write to stdout")]
    Write(#[source] io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_env_filter(
            EnvFilter::try_from_env("SHOP_LOG").unwrap_or_else(|_| EnvFilter::new("warn")),
        )
        .init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Undone> {
    let Arguments { action, store, elasticsearch, listen, empty } = arguments;
    let shop = match &store {
        Location::Memory => Shop::in_memory(),
        Location::Sqlite(path) => {
            Shop::in_file(path).map_err(|error| Undone::Open(store.clone(), error))?
        }
    };
    let deriving = Deriving { shop: &shop, store: &store, elasticsearch };
    let done = match action {
        None => run_server(&deriving, listen, empty).await,
        Some(Action::Balances) => Ok(deriving.list_balances().await?),
        Some(Action::Rebuild(anew)) => Ok(deriving.rebuild(anew).await?),
        Some(Action::Seed) => demo::load(&shop).await.map_err(Undone::from),
        Some(Action::Snapshots) => run_snapshots(&shop).await,
        Some(Action::Storm { tasks }) => run_storm(&shop, tasks).await,
    };
    if timeout(CLOSE_PATIENCE, shop.close()).await.is_err() {
        note("the file did not close in time");
    }
    done
}

async fn run_server(
    deriving: &Deriving<'_>,
    listen: SocketAddr,
    empty: bool,
) -> Result<(), Undone> {
    let Deriving { shop, store, .. } = deriving;
    let refused = |error| Undone::Listen(listen, error);
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    if !empty {
        demo::load(shop).await?;
    }
    let derived = deriving.start(Pace::default())?;
    note(&welcome(store, address));
    let served = serve(listener, (*shop).clone(), derived.clone(), stop()).await;
    if timeout(CLOSE_PATIENCE, derived.stop()).await.is_err() {
        note("what is derived did not stop in time; it goes on where it was");
    }
    served.map_err(Undone::Serve)?;
    note("stopped; everything acknowledged is stored");
    Ok(())
}

async fn run_snapshots(shop: &Shop) -> Result<(), Undone> {
    const TOLD_EVERY: u64 = 1_000;
    let made = shop
        .rebuild_snapshots(|items| {
            if items % TOLD_EVERY == 0 {
                note(&format!("{items} items so far"));
            }
        })
        .await?;
    let Rebuilt { streams, written, failed, .. } = made;
    let told = format!("{streams} items: {written} snapshots made, {failed} failed");
    writeln!(io::stdout(), "{told}").map_err(Undone::Write)?;
    if failed == 0 { Ok(()) } else { Err(Undone::NotKept) }
}

async fn run_storm(shop: &Shop, tasks: u32) -> Result<(), Undone> {
    let stormed = storm(shop, tasks).await?;
    writeln!(io::stdout(), "{stormed}").map_err(Undone::Write)?;
    if stormed.faults.is_empty() { Ok(()) } else { Err(Undone::Wrong) }
}

fn welcome(store: &Location, address: SocketAddr) -> String {
    format!(
        r#"shop in {store} at http://{address}

What is there:
  curl http://{address}/items/TEA
Order two of them as ada; send it twice, and it is placed once:
  curl http://{address}/orders -H content-type:application/json -H x-actor:ada -H idempotency-key:1 \
    -d '{{"user_id":"ada","items":[{{"sku":"TEA","quantity":2,"price":450}}],"total":900}}'
Everything that is wrong, at once:
  curl http://{address}/orders -H content-type:application/json -H x-actor:ada \
    -d '{{"items":[{{"sku":"","quantity":-1,"price":450}}],"total":7}}'
More than there is of one item refuses all:
  curl http://{address}/orders -H content-type:application/json -H x-actor:ada \
    -d '{{"user_id":"ada","items":[{{"sku":"TEA","quantity":1,"price":450}},{{"sku":"POT","quantity":9,"price":3500}}],"total":31950}}'
The past, and what happened since:
  curl 'http://{address}/items/TEA?as_of_version=2'
  curl http://{address}/items/TEA/history
An address that was recorded in an older shape:
  curl http://{address}/customers/ada
A product for the catalogue, and what is found in it:
  curl -X PUT http://{address}/products/CAN -H content-type:application/json \
    -d '{{"name":"Tea caddy, blue","price":1800}}'
  curl 'http://{address}/products?search=blue+tea'
Ctrl-C stops it."#
    )
}

/// Completes when the process is told to stop.
async fn stop() {
    let heard = |kind| signal(kind).expect("signal handlers can be set while the runtime runs");
    let (mut interrupt, mut terminate) =
        (heard(SignalKind::interrupt()), heard(SignalKind::terminate()));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Writes the failure and its reasons to stderr.
fn report(failure: &dyn Error) {
    let mut text = format!("shop: {failure}");
    let mut source = failure.source();
    while let Some(reason) = source {
        text.push_str(&format!("\n  because {reason}"));
        source = reason.source();
    }
    note(&text);
}

/// Writes to stderr. If even that fails there is nobody to tell.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
