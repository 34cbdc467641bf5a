//! Databases and servers come, obey, and go.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use annals_scratch::{Cluster, Database, Error, Mode};
use sqlx_core::connection::Connection;
use sqlx_core::query::query;
use sqlx_core::query_scalar::query_scalar;
use sqlx_core::raw_sql::raw_sql;
use sqlx_postgres::PgConnection;

const DEADLINE: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("the server takes connections")
}

async fn count_of_databases(connection: &mut PgConnection, name: &str) -> i64 {
    let count = query_scalar("SELECT count(*) FROM pg_database WHERE datname = $1").bind(name);
    count.fetch_one(connection).await.expect("the catalogue can be read")
}

async fn add_row(connection: &mut PgConnection) {
    let statements = "CREATE TABLE IF NOT EXISTS rows (n BIGINT); INSERT INTO rows VALUES (1)";
    raw_sql(statements).execute(connection).await.expect("a row is added");
}

async fn count_of_rows(connection: &mut PgConnection) -> Result<i64, sqlx_core::Error> {
    query_scalar("SELECT count(*) FROM rows").fetch_one(connection).await
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        std::thread::park_timeout(BETWEEN_LOOKS);
    }
}

#[tokio::test]
async fn a_database_is_fresh_and_gone_afterwards() {
    let other = Database::create().await;
    let database = Database::create().await;
    assert_ne!(database.name(), other.name());

    let mut connection = connect(database.url()).await;
    let tables = query("SELECT FROM information_schema.tables WHERE table_schema = 'public'");
    assert!(tables.fetch_all(&mut connection).await.unwrap().is_empty());
    add_row(&mut connection).await;

    let mut elsewhere = connect(other.url()).await;
    assert_eq!(count_of_databases(&mut elsewhere, database.name()).await, 1);
    let name = database.name().to_owned();
    // Although somebody is still connected to it.
    drop(database);
    assert_eq!(count_of_databases(&mut elsewhere, &name).await, 0);
    assert!(count_of_rows(&mut connection).await.is_err());
}

#[tokio::test]
async fn a_cluster_starts_again_with_its_rows() {
    let cluster = Cluster::start(&[("max_connections", "17")]).await.unwrap();
    let database = cluster.database().await;
    add_row(&mut connect(database.url()).await).await;
    for (mode, rows) in [(Mode::Fast, 1), (Mode::Immediate, 2)] {
        assert!(cluster.start_again().is_err(), "it runs");
        cluster.stop(mode).unwrap();
        assert!(PgConnection::connect(database.url()).await.is_err(), "it is stopped");
        cluster.start_again().unwrap();
        let mut connection = connect(database.url()).await;
        assert_eq!(count_of_rows(&mut connection).await.unwrap(), rows, "{mode:?}");
        add_row(&mut connection).await;
    }
    let mut connection = connect(database.url()).await;
    let setting = async |name: &'static str, connection: &mut PgConnection| -> String {
        query_scalar("SELECT current_setting($1)").bind(name).fetch_one(connection).await.unwrap()
    };
    assert_eq!(setting("max_connections", &mut connection).await, "17");
    assert_eq!(setting("fsync", &mut connection).await, "on");
    // A database of a stopped server has nobody to drop it, which must not take long.
    cluster.stop(Mode::Fast).unwrap();
    let start = Instant::now();
    drop(database);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_server_that_was_killed_starts_again() {
    let cluster = Cluster::start(&[]).await.unwrap();
    add_row(&mut connect(&cluster.url("postgres")).await).await;
    let file = cluster.directory().join("data/postmaster.pid");
    let text = std::fs::read_to_string(file).unwrap();
    let server = text.lines().next().unwrap();
    assert!(Command::new("sh").args(["-c", "kill -9 $0", server]).status().unwrap().success());
    let mut outcome = Ok(());
    eventually("the server is seen to be gone", || {
        outcome = cluster.start_again();
        !matches!(outcome, Err(Error::State { .. }))
    });
    outcome.unwrap();
    let mut connection = connect(&cluster.url("postgres")).await;
    assert_eq!(count_of_rows(&mut connection).await.unwrap(), 1);
}

#[tokio::test]
async fn a_paused_server_answers_when_it_is_resumed() {
    let cluster = Cluster::start(&[]).await.unwrap();
    let database = cluster.database().await;
    let mut connection = connect(database.url()).await;
    add_row(&mut connection).await;

    cluster.pause().unwrap();
    let mut answer = Box::pin(count_of_rows(&mut connection));
    let soon = Duration::from_millis(300);
    assert!(tokio::time::timeout(soon, &mut answer).await.is_err(), "nobody is there to answer");
    cluster.resume().unwrap();
    assert_eq!(tokio::time::timeout(DEADLINE, answer).await.unwrap().unwrap(), 1);

    // Both go away without waiting for each other.
    cluster.pause().unwrap();
    let start = Instant::now();
    drop(database);
    drop(cluster);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_replica_follows() {
    let cluster = Cluster::start(&[("max_connections", "30")]).await.unwrap();
    let mut primary = connect(&cluster.url("postgres")).await;
    add_row(&mut primary).await;
    let replica = cluster.replica().await.unwrap();
    let mut connection = connect(&replica.url("postgres")).await;
    assert_eq!(count_of_rows(&mut connection).await.unwrap(), 1);

    replica.stop(Mode::Fast).unwrap();
    add_row(&mut primary).await;
    replica.start_again().unwrap();
    let mut connection = connect(&replica.url("postgres")).await;
    let deadline = Instant::now() + DEADLINE;
    while count_of_rows(&mut connection).await.unwrap() != 2 {
        assert!(Instant::now() < deadline, "the replica does not catch up");
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    assert!(raw_sql("DELETE FROM rows").execute(&mut connection).await.is_err(), "it only follows");
}

#[tokio::test]
async fn a_cluster_takes_its_folder_with_it() {
    let cluster = Cluster::start(&[]).await.unwrap();
    let (folder, port) = (cluster.directory().to_owned(), cluster.port());
    assert!(folder.join("data").exists() && answers(port));
    drop(cluster);
    assert!(!folder.exists() && !answers(port));
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let error = Cluster::start(&[("no_such_setting", "1")]).await.unwrap_err();
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

/// In the process that is to be killed: what its server is to be doing.
const HELD: &str = "ANNALS_SCRATCH_HELD";

#[test]
fn a_server_never_outlives_its_process() {
    if let Ok(paused) = env::var(HELD) {
        return hold(paused == "paused");
    }
    for state in ["running", "paused"] {
        let mut holder = Command::new(env::current_exe().unwrap());
        holder.args(["--exact", "a_server_never_outlives_its_process", "--nocapture"]);
        holder.env(HELD, state).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = holder.spawn().unwrap();
        let (port, folder) = announced(holder.stdout.take().unwrap());
        assert!(folder.exists() && answers(port), "{state}");
        holder.kill().unwrap();
        eventually("the server is gone", || !answers(port));
        eventually("its folder is gone", || !folder.exists());
        assert!(!holder.wait().unwrap().success());
    }
}

/// Starts a server, tells of it, and keeps it for as long as somebody listens.
fn hold(paused: bool) {
    let cluster = Cluster::start_blocking(&[]).expect("PostgreSQL is there");
    if paused {
        cluster.pause().expect("the server runs");
    }
    let (port, folder) = (cluster.port(), cluster.directory());
    writeln!(io::stdout(), "\nholding {port} {}", folder.display()).expect("somebody listens");
    let _ = io::stdin().read(&mut [0]);
}

fn announced(output: impl Read) -> (u16, PathBuf) {
    let lines = BufReader::new(output).lines().map(|line| line.expect("the process talks text"));
    let mut found = lines.filter_map(|line| {
        let (port, folder) = line.strip_prefix("holding ")?.split_once(' ')?;
        Some((port.parse().ok()?, Path::new(folder).to_owned()))
    });
    found.next().expect("the process has a server")
}

/// Whether somebody listens. A server that is paused does.
fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}
