//! Statements as they are used: printed, read in plain SQL, made anew, and interrupted.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use annals::{Event, EventStoreExt, ExpectedVersion, Read, SqliteStore, StreamId};
use bank::account::AccountEvent::{self, AccountOpened, MoneyDeposited, MoneyWithdrawn};
use bank::statement::{Movement, movements};
use rusqlite::{Connection, OptionalExtension};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs `bank` in a directory; a line is split at its spaces.
fn bank(directory: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bank"));
    command.args(line.split_whitespace()).current_dir(directory).env_remove("BANK_STORE");
    command
}

#[track_caller]
fn succeeds(directory: &Path, line: &str) -> Output {
    let output = bank(directory, line).output().expect("the binary was built with this test");
    assert!(output.status.success(), "{line}: {output:?}");
    output
}

#[track_caller]
fn stdout(directory: &Path, line: &str) -> String {
    String::from_utf8(succeeds(directory, line).stdout).expect("text")
}

#[test]
fn a_statement_has_what_was_written_before_it_was_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path();
    for line in ["open ACC_123 --owner Ada", "open ACC_9 --owner Bob", "deposit ACC_9 1"] {
        stdout(here, line);
    }
    for (line, last) in [
        ("deposit ACC_123 100", "deposited        100.00        100.00"),
        ("withdraw ACC_123 80.50", "withdrew          80.50         19.50"),
    ] {
        stdout(here, line);
        let statement = stdout(here, "statement ACC_123");
        assert!(statement.trim_end().ends_with(last), "{statement}");
    }
    let json = stdout(here, "statement ACC_123 --json");
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let amounts: Vec<_> = lines.iter().map(|line| (&line["what"], &line["amount"])).collect();
    let expected = [("opened", 0), ("deposited", 10_000), ("withdrew", -8_050)];
    assert_eq!(amounts.len(), expected.len());
    for (found, (what, amount)) in amounts.iter().zip(expected) {
        assert_eq!((found.0, found.1), (&what.into(), &amount.into()));
    }
    assert_eq!(stdout(here, "statement ACC_404"), "");
}

#[test]
fn any_program_reads_the_table() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path();
    for line in ["open A --owner Ada", "deposit A 5", "open B --owner Bob", "deposit B 7"] {
        stdout(here, line);
    }
    stdout(here, "rebuild");
    let connection = Connection::open(here.join("bank.db")).expect("the file");
    let came_in = "SELECT sum(amount) FROM statements WHERE what = 'deposited'";
    let came_in: i64 = connection.query_row(came_in, [], |row| row.get(0)).expect("SQL");
    assert_eq!(came_in, 1_200);
}

#[test]
fn a_rebuild_makes_good_what_was_spoilt() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path();
    for line in ["open A --owner Ada", "deposit A 5", "statement A"] {
        stdout(here, line);
    }
    let connection = Connection::open(here.join("bank.db")).expect("the file");
    connection.execute("UPDATE statements SET balance = 1", []).expect("SQL");
    assert!(stdout(here, "statement A").contains("0.01"));
    assert_eq!(stdout(here, "rebuild"), "the statements are rebuilt: 2 movements\n");
    let balances: Vec<_> =
        movements(&here.join("bank.db"), "A").expect("SQL").iter().map(|one| one.balance).collect();
    assert_eq!(balances, [Some(0), Some(500)]);
}

#[test]
fn a_bank_in_memory_keeps_no_statements() {
    let directory = tempfile::tempdir().expect("a directory");
    for line in ["statement A --store memory:", "rebuild --store memory:"] {
        let output = bank(directory.path(), line).output().expect("it runs");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("name a file with --store sqlite:PATH"), "{said}");
    }
}

/// Killed while it follows the log and while it rebuilds; afterwards every movement is there once.
#[tokio::test]
async fn killed_in_the_middle_the_statements_still_equal_the_log() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("bank.db");
    let events = fill(&file).await;

    kill_when(directory.path(), "statement ACC_0", || rows_of(&file, "statements") > 0);
    let done = rows_of(&file, "statements");
    assert!(done < events, "it had come to the end: {done} of {events}");
    stdout(directory.path(), "statement ACC_0");
    assert_equal(&file).await;

    let beside = || building(&file).map_or(0, |table| rows_of(&file, &table));
    kill_when(directory.path(), "rebuild --pace 2000", || beside() > 0);
    let done = beside();
    assert!(done > 0 && done < events, "it had come to the end: {done} of {events}");
    assert_equal(&file).await;
    let table = building(&file);

    // It goes on with what is there: the same table, and not another one.
    kill_when(directory.path(), "rebuild --pace 2000", || beside() > done);
    assert_eq!(building(&file), table);
    let output = succeeds(directory.path(), "rebuild");
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(said, format!("the statements are rebuilt: {events} movements\n"));
    assert_eq!(building(&file), None);
    assert_equal(&file).await;
}

#[tokio::test]
async fn a_rebuild_says_how_far_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    fill(&directory.path().join("bank.db")).await;
    let output = succeeds(directory.path(), "rebuild --pace 10000");
    let said = String::from_utf8(output.stderr).expect("text");
    let first = said.lines().next().expect("a line");
    assert!(first.starts_with("rebuilt ") && first.contains(" events/s"), "{said}");
}

const ACCOUNTS: u64 = 20;
const EVENTS_EACH: u64 = 1_000;

/// Accounts with a long past; how many events they have.
async fn fill(file: &Path) -> u64 {
    let store = SqliteStore::open(file).expect("the file opens");
    for account in 0..ACCOUNTS {
        let stream = StreamId::of("account", format!("ACC_{account}")).expect("a name");
        let past = (0..EVENTS_EACH).map(|number| match number {
            0 => AccountOpened { owner: "Ada".to_owned() },
            _ if number % 3 == 0 => MoneyWithdrawn { amount: number },
            _ => MoneyDeposited { amount: 10 * number },
        });
        let past: Vec<_> = past.map(|event| event.encode().expect("it is JSON")).collect();
        for part in past.chunks(500) {
            let append = store.append_to(stream.clone(), ExpectedVersion::Any, part.to_vec());
            append.await.expect("it is appended");
        }
    }
    store.close().await;
    ACCOUNTS * EVENTS_EACH
}

/// Begins a command, and kills it as soon as this holds.
#[track_caller]
fn kill_when(directory: &Path, line: &str, holds: impl Fn() -> bool) {
    let mut command = bank(directory, line);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = Killed(child.expect("it runs"));
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "{line}: it does not come so far");
        assert_eq!(child.0.try_wait().expect("it is a child"), None, "{line}: it ended");
        thread::yield_now();
    }
    child.0.kill().expect("it runs");
}

/// A process that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many rows a table has; none, when it is not there.
fn rows_of(file: &Path, table: &str) -> u64 {
    let connection = Connection::open(file).expect("the file");
    connection.busy_timeout(DEADLINE).expect("SQLite takes it");
    let count = format!("SELECT count(*) FROM {table}");
    let count = connection.query_row(&count, [], |row| row.get::<_, i64>(0));
    count.map_or(0, i64::cast_unsigned)
}

/// The table that is made beside the one that is read.
fn building(file: &Path) -> Option<String> {
    let connection = Connection::open(file).expect("the file");
    connection.busy_timeout(DEADLINE).expect("SQLite takes it");
    let find = r"SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'statements\_\_%' ESCAPE '\'";
    connection.query_row(find, [], |row| row.get(0)).optional().expect("SQL")
}

/// Compares the table with the log, event by event.
async fn assert_equal(file: &Path) {
    let store = SqliteStore::open(file).expect("the file opens");
    for account in 0..ACCOUNTS {
        let id = format!("ACC_{account}");
        let stream = StreamId::of("account", &id).expect("a name");
        let log = store.read_to_end(Read::stream(stream)).await.expect("the log");
        let mut balance = 0;
        let expected: Vec<Movement> = log
            .iter()
            .map(|recorded| {
                let event = AccountEvent::decode_current(recorded).expect("an account's");
                let (what, amount) = match event {
                    AccountOpened { .. } => ("opened", 0),
                    MoneyDeposited { amount } => ("deposited", amount.cast_signed()),
                    MoneyWithdrawn { amount } => ("withdrew", -amount.cast_signed()),
                };
                balance += amount;
                Movement {
                    version: recorded.version.get().cast_signed(),
                    moment: recorded.recorded_at.to_string(),
                    what: what.to_owned(),
                    amount,
                    balance: Some(balance),
                }
            })
            .collect();
        let found = movements(file, &id).expect("the table");
        assert_eq!(found.len(), expected.len(), "{id}");
        assert_eq!(found, expected, "{id}");
    }
    store.close().await;
}
