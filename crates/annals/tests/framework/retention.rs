//! Retention: streams that are archived, closed, deleted or truncated, and stay in the log.

use annals::{
    Annals, Context, Denied, EventStore, EventStoreExt, ExecuteError, LoadError, MemoryStore, Read,
    Retention, RetentionRefusal, RetryPolicy, Standing, StreamId, Version,
};
use futures_util::TryStreamExt;
use tokio::task::JoinSet;

use crate::account::{Account, AccountEvent, deposit, open};

const STREAM: &str = "account-1";

async fn bank() -> (Annals, MemoryStore) {
    bank_in(MemoryStore::new()).await
}

/// A bank with an account of 3 events that hold 30, whose streams anybody with a name may close.
async fn bank_in<S: EventStore + Clone + 'static>(store: S) -> (Annals, S) {
    let named = |_: Retention, _: &StreamId, context: &Context| {
        Denied::unless(context.who().is_some(), "say who you are")
    };
    let bank = Annals::new(store.clone()).with_retention(named);
    bank.execute("1", open("Ada")).await.expect("it is opened");
    bank.execute("1", deposit(10)).await.expect("it is deposited");
    bank.execute("1", deposit(20)).await.expect("it is deposited");
    (bank, store)
}

async fn retain(bank: &Annals, retention: Retention) {
    let done = bank.retain(STREAM, retention).by("auditor").because("test").await;
    assert!(done.expect("it is permitted").is_some());
}

fn standing_of<T: std::fmt::Debug, E: std::fmt::Debug>(
    refused: Result<T, ExecuteError<E>>,
) -> Standing {
    match refused {
        Err(ExecuteError::Standing(not_open)) => not_open.standing,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nobody_may_unless_that_is_said() {
    let bank = Annals::new(MemoryStore::new());
    bank.execute("1", open("Ada")).await.unwrap();
    let error = bank.retain(STREAM, Retention::Close).by("ada").await.unwrap_err();
    assert!(error.to_string().contains("with_retention"), "{error}");
    let (bank, _) = self::bank().await;
    let error = bank.retain(STREAM, Retention::Close).await.unwrap_err();
    assert!(matches!(error, ExecuteError::Denied(_)), "{error:?}");
    assert_eq!(error.to_string(), "say who you are");
}

#[tokio::test]
async fn a_closed_stream_takes_nothing_more_from_anybody() {
    let (bank, store) = bank().await;
    retain(&bank, Retention::Close).await;
    assert_eq!(standing_of(bank.execute("1", deposit(1)).await), Standing::Closed);
    let batch = bank.batch().execute("2", open("Bob")).execute("1", deposit(1));
    let error = batch.await.unwrap_err();
    assert!(matches!(error.error, ExecuteError::Standing(_)), "{error:?}");
    let record = bank.record(AccountEvent::MoneyDeposited { amount: 1 }).on(STREAM).await;
    assert_eq!(record.unwrap_err().code(), "refused");
    let restore = bank.retain(STREAM, Retention::Restore).by("auditor").await.unwrap_err();
    assert!(matches!(restore, ExecuteError::Refused(RetentionRefusal::Standing(_))), "{restore:?}");

    // It can still be read, and the log says who closed it and why.
    let account = bank.load::<Account>("1").await.unwrap();
    assert_eq!((account.state.balance, account.standing), (30, Standing::Closed));
    let last = store.read_to_end(Read::all()).await.unwrap().pop().unwrap();
    assert_eq!(last.event_type.as_str(), "annals.StreamClosed");
    assert_eq!(last.metadata.get("actor"), Some("auditor".into()));
    // To close it again is nothing.
    let again = bank.retain(STREAM, Retention::Close).by("auditor").await.unwrap();
    assert_eq!(again, None);
}

#[tokio::test]
async fn an_archived_or_deleted_stream_comes_back_when_restored() {
    for (retention, standing) in
        [(Retention::Archive, Standing::Archived), (Retention::Delete, Standing::Deleted)]
    {
        let (bank, _) = bank().await;
        retain(&bank, retention).await;
        assert_eq!(standing_of(bank.execute("1", deposit(1)).await), standing);
        let event = || AccountEvent::MoneyDeposited { amount: 1 };
        bank.record(event()).on(STREAM).await.unwrap_err();

        retain(&bank, Retention::Restore).await;
        bank.record(event()).on(STREAM).await.unwrap();
        bank.execute("1", deposit(1)).await.unwrap();
        let account = bank.load::<Account>("1").await.unwrap();
        assert_eq!((account.state.balance, account.standing), (32, Standing::Open));
        assert_eq!(account.version, Version::new(7));
    }
}

#[tokio::test]
async fn how_a_stream_stands_is_no_conflict() {
    let (bank, _) = bank().await;
    let bank = bank.with_retry(RetryPolicy::default().attempts_max(1));
    let record = || bank.record(AccountEvent::MoneyDeposited { amount: 1 }).on(STREAM);
    retain(&bank, Retention::Archive).await;
    assert_eq!(standing_of(record().await), Standing::Archived);
    retain(&bank, Retention::Restore).await;
    record().await.unwrap();
}

#[tokio::test]
async fn a_deleted_stream_is_not_there_but_for_the_past() {
    let (bank, _) = bank().await;
    retain(&bank, Retention::Delete).await;
    let error = bank.load::<Account>("1").await.unwrap_err();
    assert!(matches!(error, LoadError::Deleted(_)), "{error:?}");
    let before = bank.load_as_of::<Account>("1", Version::new(3)).await.unwrap();
    assert_eq!((before.state.balance, before.standing), (30, Standing::Open));
    let history: Vec<_> = bank.history::<Account>("1").try_collect().await.unwrap();
    assert_eq!(history.len(), 3);
}

#[tokio::test]
async fn what_is_truncated_is_not_folded_and_not_lost() {
    let (bank, store) = bank().await;
    retain(&bank, Retention::TruncateBefore(Version::new(3))).await;
    let account = bank.load::<Account>("1").await.unwrap();
    assert_eq!((account.state.owner, account.state.balance), (None, 20));
    assert_eq!(account.version, Version::new(4));
    let before = bank.load_as_of::<Account>("1", Version::new(3)).await.unwrap();
    assert_eq!(before.state.balance, 30);
    assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), 4);
    let history: Vec<_> = bank.history::<Account>("1").try_collect().await.unwrap();
    assert_eq!(history.len(), 3);

    // It grows on, and a later truncation counts from the later version.
    bank.record(AccountEvent::MoneyDeposited { amount: 7 }).on(STREAM).await.unwrap();
    retain(&bank, Retention::TruncateBefore(Version::new(5))).await;
    let account = bank.load::<Account>("1").await.unwrap();
    assert_eq!((account.state.balance, account.version), (7, Version::new(6)));
}

#[tokio::test]
async fn what_was_truncated_never_comes_back() {
    let (bank, store) = bank().await;
    retain(&bank, Retention::TruncateBefore(Version::new(3))).await;
    for before in [2, 3] {
        let earlier = Retention::TruncateBefore(Version::new(before));
        assert_eq!(bank.retain(STREAM, earlier).by("auditor").await.unwrap(), None);
    }
    assert_eq!(bank.load::<Account>("1").await.unwrap().state.balance, 20);
    // Not even when somebody else says so.
    let again = annals::NewEvent::new(
        annals::EventType::from_static("annals.StreamTruncated"),
        annals::Data::json(r#"{"before":2}"#),
    );
    let any = annals::ExpectedVersion::Any;
    store.append_to(StreamId::from_static(STREAM), any, [again]).await.unwrap();
    assert_eq!(bank.load::<Account>("1").await.unwrap().state.balance, 20);
}

#[tokio::test]
async fn what_was_truncated_need_not_be_known_any_more() {
    let (bank, store) = bank().await;
    let unknown = annals::NewEvent::new(
        annals::EventType::from_static("SomethingForgotten"),
        annals::Data::json("{}"),
    );
    let any = annals::ExpectedVersion::Any;
    store.append_to(StreamId::from_static(STREAM), any, [unknown]).await.unwrap();
    bank.record(AccountEvent::MoneyDeposited { amount: 7 }).on(STREAM).await.unwrap();
    let error = bank.load::<Account>("1").await.unwrap_err();
    assert_eq!(error.code(), "undecodable");
    retain(&bank, Retention::TruncateBefore(Version::new(4))).await;
    let error = bank.load::<Account>("1").await.unwrap_err();
    assert_eq!(error.code(), "undecodable");
    retain(&bank, Retention::TruncateBefore(Version::new(5))).await;
    assert_eq!(bank.load::<Account>("1").await.unwrap().state.balance, 7);
}

#[tokio::test]
async fn only_what_is_there_can_be_kept_or_dropped() {
    let (bank, _) = bank().await;
    for before in [0, 1, 4] {
        let truncate = Retention::TruncateBefore(Version::new(before));
        let error = bank.retain(STREAM, truncate).by("auditor").await.unwrap_err();
        assert!(
            matches!(error, ExecuteError::Refused(RetentionRefusal::NoSuchVersion { .. })),
            "{error:?}"
        );
    }
    let error = bank.retain("account-9", Retention::Archive).by("auditor").await.unwrap_err();
    assert!(matches!(error, ExecuteError::Refused(RetentionRefusal::NoStream(_))), "{error:?}");
    let error = bank.retain("", Retention::Archive).by("auditor").await.unwrap_err();
    assert!(matches!(error, ExecuteError::Name(_)), "{error:?}");
}

/// Many record while one closes: what is recorded stands before the closing.
async fn close_in_a_storm(store: impl EventStore + Clone + 'static) {
    let (bank, store) = bank_in(store).await;
    let bank = bank.with_retry(RetryPolicy::default().attempts_max(100));
    let mut tasks = JoinSet::new();
    for n in 0..64 {
        let bank = bank.clone();
        tasks.spawn(async move {
            if n == 20 {
                retain(&bank, Retention::Close).await;
            } else if n % 2 == 0 {
                let event = AccountEvent::MoneyDeposited { amount: 1 };
                let _ = bank.record(event).on(STREAM).await;
            } else {
                let _ = bank.execute("1", deposit(1)).await;
            }
        });
    }
    tasks.join_all().await;
    let last = store.read_to_end(Read::all()).await.expect("it reads").pop().expect("events");
    assert_eq!(last.event_type.as_str(), "annals.StreamClosed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_stands_behind_the_closing_in_memory() {
    close_in_a_storm(MemoryStore::new()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_stands_behind_the_closing_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bank.db");
    close_in_a_storm(annals::SqliteStore::open(path).unwrap()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_stands_behind_the_closing_in_a_database() {
    let database = annals_scratch::Database::create().await;
    let store = annals::PostgresStore::connect(database.url()).await.unwrap();
    close_in_a_storm(store).await;
}
