//! The same command twice gives the first receipt.

use std::sync::Arc;

use annals::{
    Annals, Context, Event, EventStore, ExecuteError, MemoryStore, RetryPolicy, StreamCatalog,
    Version,
};
use tokio::task::JoinSet;

use crate::account::{Account, AccountEvent, deposit, open, withdraw};
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
    let ExecuteError::CommandId { id } = &error else { panic!("{error:?}") };
    assert_eq!(id, "r-1");
    assert_eq!(error.code(), "invalid");
}

#[tokio::test]
async fn an_id_belongs_to_one_command() {
    let bank = Annals::new(MemoryStore::new());
    bank.execute(ID, open("Ada")).id("r-1").await.unwrap();
    bank.execute(ID, deposit(30)).id("r-2").await.unwrap();
    // A batch that begins as the command did is another thing all the same.
    let batch = bank.batch().execute(ID, deposit(30)).execute("2", open("Bob")).id("r-2");
    let error = batch.await.unwrap_err().error;
    assert!(matches!(error, ExecuteError::CommandId { .. }), "{error:?}");
    let record = bank.record(AccountEvent::MoneyDeposited { amount: 1 }).on("account-2").id("r-2");
    let error = record.await.unwrap_err();
    assert!(matches!(error, ExecuteError::CommandId { .. }), "{error:?}");
}

#[tokio::test]
async fn nobody_else_can_leave_what_a_repeat_is_recognised_by() {
    let bank = Annals::new(MemoryStore::new());
    let event = || AccountEvent::MoneyDeposited { amount: 1 };
    let tagged = bank.record(event()).on("account-2").tagged("annals.command:r-1");
    let error = tagged.await.unwrap_err();
    assert!(matches!(error, ExecuteError::Encode(_)), "{error:?}");
    assert!(error.to_string().contains("reserved"), "{error}");
    let closing = annals::NewEvent::new(
        annals::EventType::from_static("annals.StreamClosed"),
        annals::Data::json("{}"),
    );
    let error = bank.record(closing.clone()).on("account-2").await.unwrap_err();
    assert!(error.to_string().contains("reserved"), "{error}");
    assert!(bank.record(closing).on("account-2").append().is_err());
}

/// The repeat is under way while the first one is decided: what it would be refused for now is
/// its own doing.
#[tokio::test]
async fn a_repeat_that_comes_too_early_is_recognised_all_the_same() {
    #[derive(Clone)]
    struct OpenMeanwhile(MemoryStore);

    impl annals::Command<Account> for OpenMeanwhile {
        type Error = crate::account::Refusal;

        /// Asked after the state was loaded: the other one is faster.
        fn authorise(&self, _: &Account, _: &Context) -> Result<(), annals::Denied> {
            let bank = Annals::new(self.0.clone());
            let first = bank.execute::<Account, _>(ID, OpenNow).id("r-1").into_future();
            futures_util::FutureExt::now_or_never(first).expect("it is in memory").ok();
            Ok(())
        }

        fn decide(self, _: &Account) -> Result<Vec<AccountEvent>, Self::Error> {
            Err(crate::account::Refusal::AlreadyOpen)
        }
    }

    /// The same command by name, as the other one meets it.
    use first::OpenMeanwhile as OpenNow;
    mod first {
        use crate::account::{Account, AccountEvent, Refusal};

        #[derive(Clone)]
        pub(super) struct OpenMeanwhile;

        impl annals::Command<Account> for OpenMeanwhile {
            type Error = Refusal;

            fn decide(self, _: &Account) -> Result<Vec<AccountEvent>, Refusal> {
                Ok(vec![AccountEvent::AccountOpened { owner: "Ada".into() }])
            }
        }
    }

    let store = MemoryStore::new();
    let bank = Annals::new(store.clone());
    let late = bank.execute::<Account, _>(ID, OpenMeanwhile(store.clone())).id("r-1").await;
    let late = late.unwrap();
    assert!(late.repeated);
    assert_eq!(late.state.owner.as_deref(), Some("Ada"));
    assert_eq!(store.stats().await.unwrap().events, 1);
}

#[tokio::test]
async fn a_repeat_shows_nothing_to_whoever_may_not_give_the_command() {
    #[derive(Clone)]
    struct Look;

    impl annals::Command<Account> for Look {
        type Error = crate::account::Refusal;

        fn authorise(&self, account: &Account, context: &Context) -> Result<(), annals::Denied> {
            let owner = account.owner.as_deref();
            annals::Denied::unless(context.who() == owner, "only the owner may look")
        }

        fn decide(self, _: &Account) -> Result<Vec<AccountEvent>, Self::Error> {
            Ok(vec![AccountEvent::MoneyDeposited { amount: 1 }])
        }
    }

    let bank = Annals::new(MemoryStore::new());
    bank.execute(ID, open("ada")).await.unwrap();
    let look = |who: &str| bank.execute::<Account, _>(ID, Look).by(who).id("r-1");
    look("ada").await.unwrap();
    let error = look("mallory").await.unwrap_err();
    assert!(matches!(error, ExecuteError::Denied(_)), "{error:?}");
    assert!(look("ada").await.unwrap().repeated);
}

#[tokio::test]
async fn what_is_recorded_under_an_id_is_recorded_once() {
    let store = MemoryStore::new();
    let bank = Annals::new(store.clone());
    let record = || {
        let event = AccountEvent::MoneyDeposited { amount: 1 };
        bank.record(event).on("account-1").id("r-1")
    };
    let first = record().await.unwrap();
    assert_eq!(record().await.unwrap(), first);
    // An event made by hand has an id of its own, which does the same.
    let by_hand = AccountEvent::MoneyDeposited { amount: 2 }.encode().unwrap();
    let first = bank.record(by_hand.clone()).on("account-1").await.unwrap();
    assert_eq!(bank.record(by_hand).on("account-1").await.unwrap(), first);
    assert_eq!(store.stats().await.unwrap().events, 2);
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
    let mut openings = JoinSet::new();
    for _ in 0..16 {
        let bank = bank.clone();
        openings.spawn(async move {
            bank.execute(ID, open("Ada")).id("open").await.expect("it is the same").repeated
        });
    }
    let first = openings.join_all().await.into_iter().filter(|repeated| !repeated).count();
    assert_eq!(first, 1);
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

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_requests_at_once_are_executed_once_in_a_database() {
    let database = annals_scratch::Database::create().await;
    let store = annals::PostgresStore::connect(database.url()).await.unwrap();
    storm(store).await;
}
