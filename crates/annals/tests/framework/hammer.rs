//! Many tasks on one account: every success is in the log once, every refusal is right.

use annals::{Annals, EventStore, ExecuteError, MemoryStore, RetryPolicy};
use futures_util::TryStreamExt;
use tokio::task::JoinSet;

use crate::account::{Account, AccountEvent, Refusal, deposit, open, withdraw};

const ID: &str = "ACC_123";
const TASKS: u64 = 64;

/// 64 tasks each withdraw 3 from an account with 100, then deposit 1 when they were refused.
async fn hammer(store: impl EventStore + 'static) {
    let patient = RetryPolicy::default().attempts_max(100);
    let bank = Annals::new(store).with_retry(patient);
    bank.execute(ID, open("Ada")).await.unwrap();
    bank.execute(ID, deposit(100)).await.unwrap();

    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let bank = bank.clone();
        tasks.spawn(async move {
            match bank.execute(ID, withdraw(3)).await {
                Ok(receipt) => vec![receipt.version],
                Err(ExecuteError::Refused(Refusal::InsufficientFunds { held })) => {
                    assert!(held < 3, "refused with {held} in the account");
                    vec![bank.execute(ID, deposit(1)).await.unwrap().version]
                }
                Err(error) => panic!("{error:?}"),
            }
        });
    }
    let mut versions = tasks.join_all().await.concat();
    versions.sort_unstable();

    // The receipts name each version after the second exactly once.
    let expected: Vec<_> = (3..TASKS + 3).map(annals::Version::new).collect();
    assert_eq!(versions, expected);
    // And the log tells the same story, in which the account is never overdrawn.
    let mut history = bank.history::<Account>(ID);
    let mut balance = 0_u64;
    while let Some(past) = history.try_next().await.unwrap() {
        balance = match past.event {
            AccountEvent::MoneyDeposited { amount } => balance + amount,
            AccountEvent::MoneyWithdrawn { amount } => {
                balance.checked_sub(amount).expect("never overdrawn")
            }
            _ => balance,
        };
    }
    assert_eq!(bank.load::<Account>(ID).await.unwrap().state.balance, balance);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_memory() {
    hammer(MemoryStore::new()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    hammer(annals::SqliteStore::open(path).unwrap()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_database() {
    let database = annals_scratch::Database::create().await;
    let store = annals::PostgresStore::connect(database.url()).await.unwrap();
    hammer(store).await;
}
