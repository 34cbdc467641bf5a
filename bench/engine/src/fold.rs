//! Folding: an account of 50,000 events, with and without snapshots.

use std::path::Path;
use std::time::Instant;

use annals::{
    Aggregate, Annals, Apply, Command, Event, EventId, MemorySnapshots, SnapshotPolicy, SqliteStore,
};
use annals_bench_report::Line;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::floor::{self, Floor};
use crate::load::{self, Batch};

/// The account of ten years.
const LONG: u64 = 50_000;
/// An account that nobody would make a snapshot of.
const SHORT: u64 = 50;
/// Enough short accounts that none of them grows while they are measured.
const SHORT_ACCOUNTS: u64 = 400;
const LONG_ACCOUNTS: u64 = 4;
const COMMANDS: u64 = 400;

#[derive(Event)]
enum AccountEvent {
    AccountOpened { account: String, amount: u64 },
    MoneyDeposited { account: String, amount: u64, reference: String },
    MoneyWithdrawn { account: String, amount: u64, reference: String },
}

#[derive(Clone, Default, Serialize, Deserialize, Aggregate)]
#[aggregate(category = "account", event = AccountEvent, snapshot, cache)]
struct Account {
    name: String,
    movements: u64,
    balance: i64,
}

#[annals::fold]
impl Apply<AccountEvent> for Account {
    fn apply(&mut self, event: AccountEvent) {
        let signed = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        self.movements += 1;
        match event {
            AccountEvent::AccountOpened { account, amount } => {
                self.name = account;
                self.balance += signed(amount);
            }
            AccountEvent::MoneyDeposited { amount, .. } => self.balance += signed(amount),
            AccountEvent::MoneyWithdrawn { amount, .. } => self.balance -= signed(amount),
        }
    }
}

#[derive(Clone)]
struct Deposit;

impl Command<Account> for Deposit {
    type Error = std::convert::Infallible;

    fn decide(self, account: &Account) -> Result<Vec<AccountEvent>, Self::Error> {
        let (account, reference) = (account.name.clone(), "000000000000-0000".to_owned());
        Ok(vec![AccountEvent::MoneyDeposited { account, amount: 1, reference }])
    }
}

/// What the floor parses by hand: the same JSON.
#[derive(Deserialize)]
struct Opened {
    account: String,
    amount: u64,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "what is parsed is parsed whole, as Annals does")]
struct Moved {
    account: String,
    amount: u64,
    reference: String,
}

/// Loading without snapshots beside raw rows and serde, in events a second.
pub async fn whole(rounds: usize) -> Line {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("fold.db");
    prepare(&path).await;
    let store = SqliteStore::open(&path).expect("the store opens");
    let bank = Annals::new(store.clone());
    let connection = floor::connect(&path);
    let mut line = Line::new(format!("fold {LONG} events"), "events/s");
    for round in 0..rounds as u64 {
        let account = format!("long{}", round % LONG_ACCOUNTS);
        let start = Instant::now();
        let by_hand = fold(&connection, &format!("account-{account}"));
        let floor = LONG as f64 / start.elapsed().as_secs_f64();
        let start = Instant::now();
        let loaded = bank.load::<Account>(account).await.expect("it loads");
        line.add(floor, LONG as f64 / start.elapsed().as_secs_f64());
        assert_eq!(loaded.state.balance, by_hand);
        assert_eq!(loaded.state.movements, LONG);
    }
    store.close().await;
    line
}

/// Load, decide, append on long accounts beside the same on short ones, in commands a second:
/// what stands as the floor are the short ones.
pub async fn snapshots(rounds: usize) -> Vec<Line> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("snapshots.db");
    prepare(&path).await;
    let store = SqliteStore::open(&path).expect("the store opens");
    let bare = Annals::new(store.clone());
    let elsewhere = bare.clone().with_snapshots(MemorySnapshots::new(), SnapshotPolicy::every(100));
    let beside = bare.clone().with_snapshots(store.clone(), SnapshotPolicy::every(100));
    let cached = beside.clone().with_cache(1_000);
    let mut lines = Vec::new();
    for (name, bank) in [
        ("snapshots every 100 in the same file", beside),
        ("snapshots every 100 in memory", elsewhere),
        ("snapshots and the cache", cached),
    ] {
        // The first load makes the snapshot.
        for account in 0..LONG_ACCOUNTS {
            bank.load::<Account>(format!("long{account}")).await.expect("it loads");
        }
        bank.settled().await;
        let name = format!("a command to {LONG} events beside one to {SHORT}: {name}");
        let mut line = Line::new(name, "commands/s");
        for round in 0..rounds as u64 {
            let short = |n| format!("short{}-{}", round, n % SHORT_ACCOUNTS);
            line.add(
                commands(&bare, short).await,
                commands(&bank, |n| format!("long{}", n % LONG_ACCOUNTS)).await,
            );
        }
        bank.settled().await;
        lines.push(line);
    }
    store.close().await;
    lines
}

async fn commands(bank: &Annals, account: impl Fn(u64) -> String) -> f64 {
    let start = Instant::now();
    for n in 0..COMMANDS {
        bank.execute::<Account, _>(account(n), Deposit).await.expect("it is executed");
    }
    COMMANDS as f64 / start.elapsed().as_secs_f64()
}

fn fold(connection: &Connection, stream: &str) -> i64 {
    let mut statement = connection
        .prepare_cached(
            "SELECT version, type, data FROM annals_events WHERE stream = ?1 ORDER BY version",
        )
        .expect("the statement is valid");
    let mut rows = statement.query([stream]).expect("the query runs");
    let (mut balance, mut version) = (0_i64, 0_i64);
    while let Some(row) = rows.next().expect("the row is read") {
        let data = row.get_ref(2).expect("data").as_blob().expect("a blob");
        // The numbers of the three types in the floor's own table of them.
        match row.get::<_, i64>(1).expect("a type") {
            1 => {
                let opened: Opened = serde_json::from_slice(data).expect("an opening");
                assert!(!opened.account.is_empty());
                balance += opened.amount as i64;
            }
            2 => {
                balance += serde_json::from_slice::<Moved>(data).expect("a deposit").amount as i64;
            }
            _ => {
                balance -=
                    serde_json::from_slice::<Moved>(data).expect("a withdrawal").amount as i64;
            }
        }
        version += 1;
        assert_eq!(row.get::<_, i64>(0).expect("a version"), version);
    }
    balance
}

/// Long accounts, and short ones for each round.
async fn prepare(path: &Path) {
    const ROUNDS_MAX: u64 = 16;
    let floor = Floor::open(path);
    for account in 0..LONG_ACCOUNTS {
        for first in (0..LONG).step_by(2_500) {
            let events = (first..first + 2_500).map(event).collect();
            floor.append(Batch { stream: format!("account-long{account}"), events }).await;
        }
    }
    for round in 0..ROUNDS_MAX {
        for account in 0..SHORT_ACCOUNTS {
            let events = (0..SHORT).map(event).collect();
            floor.append(Batch { stream: format!("account-short{round}-{account}"), events }).await;
        }
    }
    floor.close();
}

/// 200 bytes of JSON, of each type in turn.
fn event(number: u64) -> load::Event {
    let event_type = match number {
        0 => "AccountOpened",
        n if n % 2 == 0 => "MoneyWithdrawn",
        _ => "MoneyDeposited",
    };
    let data = load::data(7, number, 0);
    load::Event { id: EventId::generate().into(), event_type, data, tag: None }
}
