//! The tracker over HTTP.

mod arguments;

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;
use tracker::demo::{self, NotLoaded};
use tracker::inboxes::Secluded;
use tracker::serve::serve;
use tracker::tracker::{NotOpened, Settings, Tracker};

use crate::arguments::Arguments;

/// How long the files have to close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(15);

/// Why it does not serve.
#[derive(Debug, thiserror::Error)]
enum Unserved {
    #[error("cannot listen on {0}; choose another with --listen, port 0 takes a free one")]
    Listen(SocketAddr, #[source] io::Error),
    #[error("cannot make a directory for the tracker's files")]
    Temporary(#[source] io::Error),
    #[error("cannot make the directory {0}")]
    Directory(PathBuf, #[source] io::Error),
    #[error("the tracker does not run")]
    Open(#[from] NotOpened),
    #[error(transparent)]
    Demo(#[from] NotLoaded),
    #[error("cannot serve")]
    Serve(#[source] io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_env_filter(
            EnvFilter::try_from_env("TRACKER_LOG").unwrap_or_else(|_| EnvFilter::new("warn")),
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

async fn run(arguments: Arguments) -> Result<(), Unserved> {
    let Arguments { directory, listen, demo, smtp, chat, sync, loopback_webhooks, zone } =
        arguments;
    let unheard = |error| Unserved::Listen(listen, error);
    let listener = TcpListener::bind(listen).await.map_err(unheard)?;
    let address = listener.local_addr().map_err(unheard)?;
    // Kept until the end, when it is deleted.
    let temporary = match &directory {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(Unserved::Temporary)?),
    };
    let directory = directory.unwrap_or_else(|| {
        temporary.as_ref().map_or_else(PathBuf::new, |temporary| temporary.path().to_owned())
    });
    std::fs::create_dir_all(&directory)
        .map_err(|error| Unserved::Directory(directory.clone(), error))?;
    let mut settings = Settings::in_directory(&directory);
    settings.smtp = smtp;
    settings.chat = chat.map(Secluded);
    settings.sync = sync;
    settings.loopback_webhooks = loopback_webhooks;
    settings.zone = zone;

    let tracker = Tracker::open(settings).await?;
    let served = serve_it(&tracker, listener, address, &directory, demo).await;
    if timeout(CLOSE_PATIENCE, tracker.close()).await.is_err() {
        note("the files did not close in time");
    }
    served?;
    note("stopped; everything acknowledged is stored");
    Ok(())
}

async fn serve_it(
    tracker: &Tracker,
    listener: TcpListener,
    address: SocketAddr,
    directory: &Path,
    demo: bool,
) -> Result<(), Unserved> {
    if demo {
        demo::load(tracker).await?;
    }
    note(&format!(
        "tracker in {} at http://{address}\n\nOpen it in a browser, and say who you are. Ctrl-C \
         stops it.",
        directory.display()
    ));
    serve(listener, tracker.clone(), stop()).await.map_err(Unserved::Serve)
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
    let mut text = format!("tracker: {failure}");
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
