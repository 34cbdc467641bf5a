//! The same command twice gives the first receipt.

use std::sync::Arc;

use annals::{Annals, EventStore, ExecuteError, MemoryStore, RetryPolicy, StreamCatalog, Version};
use tokio::task::JoinSet;

use crate::account::{Account, deposit, open, withdraw};
use crate::stores::{Meet, Scripted};

const ID: &str = "ACC_123";

#[tokio::test]
async fn a_repeat_has_the_first_receipt_whatever_happened_since() {
    let bank = Annals::new(MemoryStore::new());
    bank.execute(ID, open("Ada")).id("open").await.unwrap();
    let first = bank.execute(ID, deposit(100)).id("pay").await.unwrap();
    bank.execute(ID, withdraw(40)).await.unwrap();

    let again = bank.execute(ID, deposit(100)).id("pay").await.unwrap();
    assert_eq!((first.repeated, again.repeated), (false, true));
    assert_eq!(again.appended, first.appended);
    assert_eq!((again.state, again.version), (first.state, first.version));
    assert_eq!(again.position, first.position);
    // What would be refused now is not asked again.
    assert!(bank.execute(ID, open("Ada")).id("open").await.unwrap().repeated);
    assert_eq!(bank.load::<Account>(ID).await.unwrap().version, Version::new(3));
}

#[tokio::test]
async fn an_id_belongs_to_one_stream() {
    let bank = Annals::new(MemoryStore::new());
    bank.execute(ID, open("Ada")).id("r-1").await.unwrap();
    let error = bank.execute("other", open("Bob")).id("r-1").await.unwrap_err();
    let ExecuteError::CommandId { id, stream } = &error else { panic!("{error:?}") };
    assert_eq!((&**id, stream.as_str()), ("r-1", "account-ACC_123"));
    assert_eq!(error.code(), "invalid");
}

#[tokio::test]
async fn an_id_that_makes_no_tag_is_refused() {
    let bank = Annals::new(MemoryStore::new());
    let error = bank.execute(ID, open("Ada")).id("").await.unwrap_err();
    assert_eq!(error.code(), "invalid");
}

#[tokio::test]
async fn what_others_wrote_first_is_found_on_the_way() {
    // The answer to the first append is lost for good; the caller gives up and comes again.
    let script: &[Meet] = &[Meet::AnswerLost, Meet::RequestLost];
    let inner = MemoryStore::new();
    let once = RetryPolicy::default().attempts_max(1);
    let unlucky = Annals::new(Arc::new(Scripted::new(&inner, script))).with_retry(once);
    let error = unlucky.execute(ID, open("Ada")).id("r-1").await.unwrap_err();
    assert_eq!(error.code(), "indeterminate");
    let again = Annals::new(inner.clone()).execute(ID, open("Ada")).id("r-1").await.unwrap();
    assert!(again.repeated);
    assert_eq!(inner.stats().await.unwrap().events, 1);
}

/// Many processes answer the same request at the same time.
async fn storm(store: impl EventStore + StreamCatalog + 'static) {
    let store = Arc::new(store);
    let patient = RetryPolicy::default().attempts_max(100);
    let bank = Annals::new(Arc::clone(&store)).with_retry(patient);
    bank.execute(ID, open("Ada")).await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..64 {
        let bank = bank.clone();
        tasks.spawn(async move {
            let deposited = bank.execute(ID, deposit(1)).id(format!("r-{}", n % 8)).await.unwrap();
            (n % 8, deposited.appended.unwrap(), deposited.repeated)
        });
    }
    let mut receipts = tasks.join_all().await;
    receipts.sort_by_key(|(request, ..)| *request);
    for same in receipts.chunk_by(|a, b| a.0 == b.0) {
        assert!(same.iter().all(|(_, receipt, _)| *receipt == same[0].1), "{same:?}");
        assert_eq!(same.iter().filter(|(.., repeated)| !repeated).count(), 1, "{same:?}");
    }
    assert_eq!(store.stats().await.unwrap().events, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_requests_at_once_are_executed_once_in_memory() {
    storm(MemoryStore::new()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_requests_at_once_are_executed_once_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    storm(annals::SqliteStore::open(directory.path().join("bank.db")).unwrap()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_repeat_is_recognised_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    let first = {
        let store = annals::SqliteStore::open(&path).unwrap();
        let first = Annals::new(store.clone()).execute(ID, open("Ada")).id("r-1").await.unwrap();
        store.close().await;
        first
    };
    let bank = Annals::new(annals::SqliteStore::open(&path).unwrap());
    let again = bank.execute(ID, open("Ada")).id("r-1").await.unwrap();
    assert_eq!((again.appended, again.repeated), (first.appended, true));
}
