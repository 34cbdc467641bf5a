//! A process is killed while it appends and projects. Whatever it had written by then, rows and
//! checkpoints fit together.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_core::{
    CheckpointStore, EventStore, EventStoreExt, OnNewVersion, Position, Projector, Read, RowStore,
    SubscriberName,
};
use annals_sqlite::{Check, Inline, SqliteReadSide, SqliteStore};
use rusqlite::Connection;

use crate::derived::bank::{Balances, Totals, deposit, sum};
use crate::derived::runner::{enrol, step};

/// Where the process that is killed works; not set in the process that kills it.
const PLACE: &str = "ANNALS_TEST_KILLED_AT";
const ROUNDS: u64 = 5;
const DEADLINE: Duration = Duration::from_secs(60);

/// Behind the log, in a file of its own, under another name than the one that runs inline.
fn behind() -> Balances {
    let (name, takes) = (SubscriberName::from_static("behind"), Duration::from_millis(1));
    Balances { name, takes, ..Balances::new() }
}

fn files(place: &Path) -> (PathBuf, PathBuf) {
    (place.join("app.db"), place.join("derived.db"))
}

fn open(app: &Path) -> SqliteStore {
    SqliteStore::options()
        .check(Check::Full)
        .inline(Inline::projection(Balances::new()))
        .inline(Inline::rows(Arc::new(Totals::new())))
        .open(app)
        .expect("the store opens")
}

/// The process that is killed: a test that does nothing unless it is asked to.
#[tokio::test(flavor = "multi_thread")]
async fn appends_and_projects_until_it_is_killed() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let (app, derived) = files(Path::new(&place));
    let store = open(&app);
    for writer in 0..3 {
        let store = store.clone();
        tokio::spawn(async move {
            loop {
                store.append(deposit(&writer.to_string(), 1)).await.expect("it is appended");
            }
        });
    }
    let projector = SqliteReadSide::open(&derived).expect("it opens").projection(behind());
    let generation = enrol(&projector, OnNewVersion::Refuse).await;
    loop {
        step(&projector, generation, &store, 10).await.expect("it is applied");
    }
}

fn start(place: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "derived::crash::appends_and_projects_until_it_is_killed", "--nocapture"])
        .env(PLACE, place)
        .stdout(Stdio::null())
        .spawn()
        .expect("the process starts")
}

/// How far the process has come, in events that it has projected behind the log.
fn projected(derived: &Path) -> i64 {
    let find = || {
        Connection::open(derived)?.query_row(
            "SELECT coalesce(max(position), 0) FROM annals_partitions",
            [],
            |row| row.get(0),
        )
    };
    find().unwrap_or(0)
}

#[tokio::test]
async fn rows_and_checkpoints_fit_together_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let (app, derived) = files(directory.path());
    for round in 0..ROUNDS {
        let before = projected(&derived);
        let mut process = start(directory.path());
        let deadline = Instant::now() + DEADLINE;
        // Somewhere in the middle of whatever it does then.
        while projected(&derived) < before + 10 + i64::try_from(round * 7).unwrap() {
            assert!(Instant::now() < deadline, "the process projects nothing");
            assert!(process.try_wait().unwrap().is_none(), "the process has died by itself");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        process.kill().unwrap();
        process.wait().unwrap();
        fits(&app, &derived).await;
    }
}

async fn fits(app: &Path, derived: &Path) {
    // Before the store is opened, which would catch up.
    let read_side = SqliteReadSide::open(app).expect("it opens");
    let inline = |name: SubscriberName| {
        let read_side = read_side.clone();
        async move {
            let info = read_side.subscriber(&name).await.expect("it answers");
            info.expect("it has enrolled").generations[0].position()
        }
    };
    let (balances, totals) = (inline(Balances::new().name).await, inline(Totals::new().name).await);
    let list = annals_core::ListRows { limit: 10, ..annals_core::ListRows::default() };
    let rows = read_side.rows(&Totals::new().name, list).await.expect("it answers");
    let of_rows: u64 = rows
        .iter()
        .map(|row| {
            std::str::from_utf8(&row.value).expect("a text").parse::<u64>().expect("a number")
        })
        .sum();
    let in_sql = sum(&Connection::open(app).expect("it opens")).unsigned_abs();

    let store = open(app);
    let head = store.head().await.expect("it has a head");
    assert_eq!((balances, totals), (head, head), "no event without its rows");
    assert_eq!((of_rows, in_sql), (head.get(), head.get()));
    let log = store.read_to_end(Read::all()).await.expect("it can be read");
    assert_eq!(log.last().map(|event| event.position), Some(head));

    let projector = SqliteReadSide::open(derived).expect("it opens").projection(behind());
    let info = projector.checkpoints().subscriber(projector.name()).await.expect("it answers");
    let checkpoint = info.expect("it has enrolled").generations[0].position();
    assert!(checkpoint > Position::START && checkpoint <= head);
    let rows = sum(&Connection::open(derived).expect("it opens")).unsigned_abs();
    assert_eq!(rows, checkpoint.get(), "as many as events up to the checkpoint");
}
