//! The users over HTTP.

mod arguments;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use annals::SystemClock;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;
use users::hashing::Hasher;
use users::http::App;
use users::postgres::{self, PostgresUsers};
use users::serve::serve;
use users::sqlite::{self, SqliteUsers};
use users::users::Users;

use crate::arguments::{Arguments, Location};

/// How long the database has to close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// Why it does not serve.
#[derive(Debug, thiserror::Error)]
enum Unserved {
    #[error("cannot listen on {0}; choose another with --listen, port 0 takes a free one")]
    Listen(std::net::SocketAddr, #[source] io::Error),
    #[error("cannot open the users in PostgreSQL")]
    Postgres(#[from] postgres::Unopened),
    #[error("cannot open the users in {0}")]
    Sqlite(Location, #[source] sqlite::Unopened),
    #[error("cannot serve")]
    Serve(#[from] io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_env_filter(
            EnvFilter::try_from_env("USERS_LOG").unwrap_or_else(|_| EnvFilter::new("warn")),
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

async fn run(Arguments { store, listen }: Arguments) -> Result<(), Unserved> {
    let listener =
        TcpListener::bind(listen).await.map_err(|error| Unserved::Listen(listen, error))?;
    let users = open(&store).await?;
    note(&welcome(&store, listener.local_addr()?));
    let app = App::new(Arc::clone(&users), SystemClock, Hasher::default());
    serve(listener, app, stop()).await?;
    if timeout(CLOSE_PATIENCE, users.close()).await.is_err() {
        note("the database did not close in time");
    }
    note("stopped; everything acknowledged is stored");
    Ok(())
}

async fn open(store: &Location) -> Result<Arc<dyn Users>, Unserved> {
    Ok(match store {
        Location::Postgres(url) => Arc::new(PostgresUsers::open(url, postgres::REACTORS).await?),
        Location::Sqlite(path) => Arc::new(
            SqliteUsers::open(path, sqlite::REACTORS)
                .map_err(|error| Unserved::Sqlite(store.clone(), error))?,
        ),
    })
}

fn welcome(store: &Location, address: std::net::SocketAddr) -> String {
    let look = match store {
        Location::Postgres(_) => {
            "psql: SELECT * FROM users; SELECT * FROM annals.user_events;".to_owned()
        }
        Location::Sqlite(path) => {
            let path = path.display();
            format!("sqlite3 {path} 'SELECT * FROM users' 'SELECT * FROM user_events'")
        }
    };
    format!(
        r#"users in {store} at http://{address}

  curl http://{address}/users/create -H content-type:application/json \
    -d '{{"user":{{"name":"Ada","email":"ada@example.org","password":"correct horse"}}}}'
  curl http://{address}/users
  curl http://{address}/users/ID/events
  curl -X DELETE http://{address}/users/destroy -H content-type:application/json \
    -d '{{"user":{{"id":"ID"}}}}'

The rows and their events: {look}
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
    let mut text = format!("users: {failure}");
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
