//! Load, decide, append: a deposit on an account with ten events.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use annals::{Aggregate, Annals, Apply, Command, Event, EventId, SqliteStore};
use annals_bench_report::Line;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::floor::{self, Floor};
use crate::load::{self, Batch};

const ACCOUNTS: u64 = 2_000;
const EVENTS_BEFORE: usize = 10;

#[derive(Event)]
enum AccountEvent {
    MoneyDeposited { amount: u64 },
}

#[derive(Default, Aggregate)]
#[aggregate(category = "account", event = AccountEvent)]
struct Account {
    balance: u64,
}

impl Apply<AccountEvent> for Account {
    fn apply(&mut self, AccountEvent::MoneyDeposited { amount }: AccountEvent) {
        self.balance += amount;
    }
}

#[derive(Clone)]
struct Deposit {
    amount: u64,
}

impl Command<Account> for Deposit {
    type Error = std::convert::Infallible;

    fn decide(self, _account: &Account) -> Result<Vec<AccountEvent>, Self::Error> {
        Ok(vec![AccountEvent::MoneyDeposited { amount: self.amount }])
    }
}

/// What the floor parses and writes: the same JSON.
#[derive(Serialize, Deserialize)]
struct MoneyDeposited {
    amount: u64,
}

pub async fn measure(callers: u64, rounds: usize, commands: u64) -> Line {
    let mut line = Line::new(format!("load, decide, append: {callers} callers"), "commands/s");
    for _ in 0..rounds {
        line.add(floor_rate(callers, commands).await, annals_rate(callers, commands).await);
    }
    line
}

async fn annals_rate(callers: u64, commands: u64) -> f64 {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("annals.db");
    prepare(&path).await;
    let store = SqliteStore::open(&path).expect("the store opens");
    let bank = Annals::new(store.clone());
    let rate = drive(callers, commands, move |number| {
        let bank = bank.clone();
        async move {
            let deposited = bank.execute(number % ACCOUNTS, Deposit { amount: 1 }).await;
            let executed = deposited.expect("the deposit succeeds");
            assert!(executed.state.balance > 0);
        }
    })
    .await;
    store.close().await;
    rate
}

/// One connection a caller reads with, the floor's writer behind them. Nothing guards against
/// two callers on one account; there never are two.
async fn floor_rate(callers: u64, commands: u64) -> f64 {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("floor.db");
    prepare(&path).await;
    let floor = Arc::new(Floor::reopen(&path));
    let readers: Vec<_> = (0..2).map(|_| std::sync::Mutex::new(floor::connect(&path))).collect();
    let shared = Arc::new((readers, floor));
    let rate = {
        let shared = Arc::clone(&shared);
        drive(callers, commands, move |number| {
            let shared = Arc::clone(&shared);
            async move {
                let stream = format!("account-{}", number % ACCOUNTS);
                let balance = {
                    let reader = &shared.0[number as usize % shared.0.len()];
                    fold(&reader.lock().expect("no reader panics"), &stream)
                };
                assert!(balance > 0);
                let data = serde_json::to_vec(&MoneyDeposited { amount: 1 }).expect("JSON");
                shared.1.append(Batch { stream, events: vec![event(data)] }).await;
            }
        })
        .await
    };
    let (_, floor) = Arc::into_inner(shared).expect("all callers are done");
    Arc::into_inner(floor).expect("all callers are done").close();
    rate
}

fn fold(connection: &Connection, stream: &str) -> u64 {
    let mut statement = connection
        .prepare_cached("SELECT data FROM annals_events WHERE stream = ?1 ORDER BY version")
        .expect("the statement is valid");
    let mut rows = statement.query([stream]).expect("the query runs");
    let mut balance = 0;
    while let Some(row) = rows.next().expect("the row is read") {
        let data = row.get_ref(0).expect("data").as_blob().expect("a blob");
        balance += serde_json::from_slice::<MoneyDeposited>(data).expect("a deposit").amount;
    }
    balance
}

fn event(data: Vec<u8>) -> load::Event {
    load::Event { id: EventId::generate().into(), event_type: "MoneyDeposited", data, tag: None }
}

/// Accounts with some events each.
async fn prepare(path: &Path) {
    let floor = Floor::open(path);
    for account in 0..ACCOUNTS {
        let data = || serde_json::to_vec(&MoneyDeposited { amount: 1 }).expect("JSON");
        let events = (0..EVENTS_BEFORE).map(|_| event(data())).collect();
        floor.append(Batch { stream: format!("account-{account}"), events }).await;
    }
    floor.close();
}

async fn drive<F, A>(callers: u64, commands: u64, command: A) -> f64
where
    A: Fn(u64) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let (next, command) = (Arc::clone(&next), command.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= commands {
                        return;
                    }
                    command(number).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no caller fails");
    }
    commands as f64 / start.elapsed().as_secs_f64()
}
