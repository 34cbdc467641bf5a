//! Keeps the statements: runs their projection for as long as a command needs it.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use annals::{
    Annals, Position, ReadError, ReadSideError, Rebuild, RebuildError, RunningProjection,
    SqliteReadSide, SqliteStore, StatusError, WaitError, sqlite,
};
use bank::cents::Cents;
use bank::statement::{Movement, Statements, movements};
use serde_json::json;

use crate::arguments::{Files, Location};

/// How long the statements have to come as far as the log.
const PATIENCE: Duration = Duration::from_secs(120);
/// A process that was killed keeps its turn for so long.
const LEASE: Duration = Duration::from_secs(2);
/// How often a rebuild says how far it is.
const TOLD_EVERY: Duration = Duration::from_millis(500);

/// Why there is no statement.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unstated {
    #[error("a bank in memory keeps no statements; name a file with --store sqlite:PATH")]
    InMemory,
    #[error("cannot read the log")]
    Log(#[from] ReadError),
    #[error(transparent)]
    Open(#[from] sqlite::OpenError),
    #[error("cannot keep the statements")]
    ReadSide(#[from] ReadSideError),
    #[error("cannot begin to rebuild the statements")]
    Rebuild(#[from] RebuildError),
    #[error("cannot read the statements")]
    Sql(#[from] rusqlite::Error),
    #[error(transparent)]
    Status(#[from] StatusError),
    #[error(transparent)]
    Wait(#[from] WaitError),
    #[error("cannot write to stdout")]
    Write(#[from] io::Error),
}

/// Prints the statement of an account, which has everything that was in the log before.
pub(crate) async fn statement(
    files: &Files,
    account: &str,
    out: &mut impl Write,
) -> Result<(), Unstated> {
    let desk = Bookkeeping::open(&files.store, None)?;
    let head = desk.head().await?;
    let caught_up = desk.running.wait_for(head, PATIENCE).await;
    desk.close().await;
    caught_up?;
    for movement in movements(file_of(&files.store)?, account)? {
        if files.json {
            writeln!(out, "{}", as_json(&movement))?;
        } else {
            writeln!(out, "{}", as_line(&movement))?;
        }
    }
    Ok(())
}

/// Makes all statements anew, beside those that are read. One that was interrupted goes on where
/// it was.
pub(crate) async fn rebuild(
    files: &Files,
    pace: Option<u32>,
    out: &mut impl Write,
) -> Result<(), Unstated> {
    let desk = Bookkeeping::open(&files.store, pace)?;
    let rebuilt = rebuild_to_the_end(&desk).await;
    desk.close().await;
    rebuilt?;
    let all = "SELECT count(*) FROM statements";
    let connection = rusqlite::Connection::open(file_of(&files.store)?)?;
    let movements: i64 = connection.query_row(all, [], |row| row.get(0))?;
    if files.json {
        writeln!(out, "{}", json!({ "movements": movements }))?;
    } else {
        writeln!(out, "the statements are rebuilt: {movements} movements")?;
    }
    Ok(())
}

async fn rebuild_to_the_end(desk: &Bookkeeping) -> Result<(), Unstated> {
    let head = desk.head().await?;
    let running = &desk.running;
    if head == Position::START {
        return Ok(());
    }
    match running.wait_for(head, PATIENCE).await {
        // What has stopped is what a rebuild mends.
        Ok(()) | Err(WaitError::Failed { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    if running.status().await?.rebuild.is_none() {
        running.rebuild(Rebuild::new()).await?;
    }
    loop {
        match running.wait_for_rebuild(TOLD_EVERY).await {
            Err(WaitError::TimedOut { .. }) => tell(running).await?,
            ended => return Ok(ended?),
        }
    }
}

async fn tell(running: &RunningProjection) -> Result<(), Unstated> {
    let Some(progress) = running.status().await?.rebuild else { return Ok(()) };
    let done = progress.done * 100.0;
    let rate = progress.events_per_second;
    let left = progress
        .remaining
        .map_or(String::new(), |left| format!(", about {} s left", left.as_secs_f64().ceil()));
    writeln!(io::stderr(), "rebuilt {done:.0} %, {rate:.0} events/s{left}")?;
    Ok(())
}

/// The bank's file while its statements are kept.
struct Bookkeeping {
    store: SqliteStore,
    read_side: SqliteReadSide,
    running: RunningProjection,
}

impl Bookkeeping {
    fn open(location: &Location, pace: Option<u32>) -> Result<Self, Unstated> {
        let file = file_of(location)?;
        let store = SqliteStore::open(file)?;
        let read_side = SqliteReadSide::open(file)?;
        let statements = read_side.projection(Statements::default());
        let mut projecting =
            Annals::new(store.clone()).project(statements).lease(LEASE).rebuilding_new_versions();
        if let Some(pace) = pace {
            projecting = projecting.rebuild_pace(pace);
        }
        Ok(Self { store, read_side, running: projecting.start() })
    }

    async fn head(&self) -> Result<Position, ReadError> {
        use annals::EventStore;
        self.store.head().await
    }

    async fn close(self) {
        self.running.stop().await;
        self.read_side.close().await;
        self.store.close().await;
    }
}

fn file_of(location: &Location) -> Result<&Path, Unstated> {
    match location {
        Location::Memory => Err(Unstated::InMemory),
        Location::Sqlite(path) => Ok(path),
    }
}

fn as_line(movement: &Movement) -> String {
    let Movement { version, moment, what, amount, balance } = movement;
    let amount = match what.as_str() {
        "opened" => String::new(),
        _ => Cents(amount.unsigned_abs()).to_string(),
    };
    let balance = balance.map_or("-".to_owned(), |held| Cents(held.unsigned_abs()).to_string());
    format!("{version:>4}  {moment}  {what:<9}  {amount:>12}  {balance:>12}")
}

fn as_json(movement: &Movement) -> serde_json::Value {
    let Movement { version, moment, what, amount, balance } = movement;
    json!({
        "version": version,
        "recorded_at": moment,
        "what": what,
        "amount": amount,
        "balance": balance,
    })
}
