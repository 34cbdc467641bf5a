//! `execute`: validate, load, decide, append; and what becomes of it when others are faster or
//! the store is not well.

use std::sync::Arc;

use annals::{
    Annals, Conflict, EventStoreExt, ExecuteError, LoadError, MemoryStore, NameFault, Read,
    RetryPolicy, StreamCatalog, StreamId, Version,
};

use crate::account::{Account, AccountCommand, Refusal, deposit, open, withdraw};
use crate::stores::{Meet, Scripted};

const ID: &str = "ACC_123";

/// An account with 100 in it, at version 2, and the store it is in.
async fn opened() -> MemoryStore {
    let store = MemoryStore::new();
    let bank = Annals::new(store.clone());
    bank.execute(ID, open("Ada")).await.unwrap();
    bank.execute(ID, deposit(100)).await.unwrap();
    store
}

/// A bank whose appends to that account are met as the script says.
async fn scripted(script: &'static [Meet]) -> (Annals, Arc<Scripted>, MemoryStore) {
    let inner = opened().await;
    let store = Arc::new(Scripted::new(&inner, script));
    let policy = RetryPolicy::default().attempts_max(4);
    let bank = Annals::new(store.clone()).with_retry(policy);
    (bank, store, inner)
}

async fn versions(store: &MemoryStore) -> u64 {
    store.stats().await.unwrap().events
}

#[tokio::test]
async fn a_receipt_has_the_new_state_version_and_position() {
    let store = opened().await;
    let receipt = Annals::new(store.clone()).execute(ID, withdraw(30)).await.unwrap();
    let account = Account { owner: Some("Ada".to_owned()), balance: 70 };
    assert_eq!(receipt.state, account);
    assert_eq!(receipt.version, Version::new(3));
    let history = store.read_to_end(Read::all()).await.unwrap();
    assert_eq!(history[2].stream, StreamId::from_static("account-ACC_123"));
    assert_eq!(receipt.position, history[2].position);
    let appended = receipt.appended.unwrap();
    assert_eq!(appended.recorded_at, history[2].recorded_at);

    let loaded = Annals::new(store).load::<Account>(ID).await.unwrap();
    assert_eq!((loaded.state, loaded.version), (account, receipt.version));
    assert_eq!(loaded.position, receipt.position);
}

#[tokio::test]
async fn a_refused_command_leaves_no_trace() {
    let store = opened().await;
    let bank = Annals::new(store.clone());
    let error = bank.execute(ID, withdraw(101)).await.unwrap_err();
    let held = 100;
    assert!(
        matches!(&error, ExecuteError::Refused(refusal) if *refusal == Refusal::InsufficientFunds { held }),
        "{error:?}"
    );
    assert_eq!(error.code(), "refused");
    assert_eq!(error.to_string(), "only 100 is in the account");
    assert_eq!(versions(&store).await, 2);
}

#[tokio::test]
async fn an_invalid_command_is_refused_before_anything_is_loaded() {
    // The stream holds an event that cannot be decoded: loading it would be the error.
    let store = MemoryStore::new();
    crate::load::append_raw(&store, "Nonsense", "{}").await;
    let bank = Annals::new(store);
    let error = bank.execute(ID, deposit(0)).await.unwrap_err();
    assert!(matches!(error, ExecuteError::Invalid(_)), "{error:?}");
    let error = bank.execute(ID, deposit(1)).await.unwrap_err();
    assert!(matches!(error, ExecuteError::Load(LoadError::Decode(_))), "{error:?}");
}

#[tokio::test]
async fn an_id_that_makes_no_stream_is_invalid() {
    let bank = Annals::new(MemoryStore::new());
    let error = bank.execute("ACC\0", open("Ada")).await.unwrap_err();
    let ExecuteError::Load(LoadError::Id(name)) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(name.fault, NameFault::ControlCharacter('\0'));
    assert_eq!(error.code(), "invalid");
}

#[tokio::test]
async fn a_command_with_nothing_to_do_appends_nothing() {
    let store = opened().await;
    let bank = Annals::new(store.clone());
    let before = bank.load::<Account>(ID).await.unwrap();
    let owner = "Ada".to_owned();
    let receipt = bank.execute(ID, AccountCommand::Rename { owner }).await.unwrap();
    assert_eq!(receipt.appended, None);
    assert_eq!((receipt.state, receipt.version), (before.state, before.version));
    assert_eq!(receipt.position, before.position);
    assert_eq!(versions(&store).await, 2);
}

#[tokio::test]
async fn on_conflict_the_command_decides_again_on_the_new_state() {
    // Another deposits 1 before the first attempt arrives: what was refused at 100 is allowed
    // at 101, and what is decided again is another event with another id.
    let (bank, store, _) = scripted(&[Meet::AfterAnother, Meet::Honestly]).await;
    let receipt = bank.execute(ID, withdraw(100)).await.unwrap();
    assert_eq!((receipt.state.balance, receipt.version), (1, Version::new(4)));
    let met = store.met();
    assert_eq!(met.len(), 2);
    assert_ne!(met[0], met[1]);
}

#[tokio::test]
async fn exhausted_attempts_say_how_often_and_against_what() {
    let (bank, store, inner) = scripted(&[Meet::AfterAnother]).await;
    let error = bank.execute(ID, withdraw(50)).await.unwrap_err();
    let ExecuteError::Conflict { attempts, conflict } = &error else {
        panic!("{error:?}");
    };
    assert_eq!((*attempts, store.met().len()), (4, 4));
    let Conflict::Version { found, .. } = &**conflict else {
        panic!("{conflict:?}");
    };
    assert_eq!(*found, Version::new(6));
    assert_eq!(error.code(), "conflict");
    assert!(error.to_string().contains("4 attempts"), "{error}");
    assert_eq!(versions(&inner).await, 6, "only the others have written");
}

#[tokio::test]
async fn an_unknown_outcome_is_repeated_with_the_same_ids_and_written_once() {
    let lost: [&'static [Meet]; 4] = [
        &[Meet::AnswerLost, Meet::Honestly],
        &[Meet::RequestLost, Meet::Honestly],
        &[Meet::RequestLost, Meet::AnswerLost, Meet::RequestLost, Meet::Honestly],
        &[Meet::AnswerLost, Meet::Unavailable, Meet::Honestly],
    ];
    for script in lost {
        let (bank, store, inner) = scripted(script).await;
        let receipt = bank.execute(ID, withdraw(50)).await.unwrap();
        assert_eq!((receipt.state.balance, receipt.version), (50, Version::new(3)));
        assert_eq!(versions(&inner).await, 3, "{script:?}");
        let met = store.met();
        assert_eq!(met.len(), script.len(), "{script:?}");
        assert!(met.iter().all(|ids| *ids == met[0]), "{script:?}: {met:?}");
    }
}

#[tokio::test]
async fn an_unknown_outcome_that_a_conflict_explains_is_decided_again() {
    let (bank, store, inner) =
        scripted(&[Meet::RequestLost, Meet::AfterAnother, Meet::Honestly]).await;
    let receipt = bank.execute(ID, withdraw(100)).await.unwrap();
    assert_eq!((receipt.state.balance, receipt.version), (1, Version::new(4)));
    assert_eq!(versions(&inner).await, 4);
    let met = store.met();
    assert_eq!(met[0], met[1]);
    assert_ne!(met[1], met[2]);
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_reported_as_unknown() {
    // Once a request was lost, a store that is away afterwards says nothing about it.
    let scripts: [&'static [Meet]; 2] =
        [&[Meet::RequestLost], &[Meet::RequestLost, Meet::Unavailable]];
    for script in scripts {
        let (bank, store, _) = scripted(script).await;
        let error = bank.execute(ID, withdraw(50)).await.unwrap_err();
        assert!(matches!(error, ExecuteError::Indeterminate(_)), "{script:?}: {error:?}");
        assert_eq!(store.met().len(), 4);
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_reported_at_once() {
    let (bank, store, _) = scripted(&[Meet::Unavailable]).await;
    let error = bank.execute(ID, withdraw(50)).await.unwrap_err();
    assert_eq!(error.code(), "unavailable");
    assert_eq!(store.met().len(), 1);
}

/// What is written and what is read of it can differ, and an event that is recorded cannot be
/// mended any more.
#[tokio::test]
async fn what_could_not_be_read_again_is_not_recorded_and_what_is_folded_is_what_is_read() {
    #[derive(Clone, Debug, annals::Event)]
    enum Measured {
        Measured {
            celsius: f64,
            #[serde(skip)]
            by_eye: bool,
        },
    }

    #[derive(Clone, Debug, Default, PartialEq, annals::Aggregate)]
    #[aggregate(category = "oven", event = Measured)]
    struct Oven {
        celsius: Option<f64>,
        by_eye: bool,
    }

    impl annals::Apply<Measured> for Oven {
        fn apply(&mut self, Measured::Measured { celsius, by_eye }: Measured) {
            (self.celsius, self.by_eye) = (Some(celsius), by_eye);
        }
    }

    #[derive(Clone)]
    struct Measure(f64);

    impl annals::Command<Oven> for Measure {
        type Error = std::convert::Infallible;

        fn decide(self, _: &Oven) -> Result<Vec<Measured>, Self::Error> {
            Ok(vec![Measured::Measured { celsius: self.0, by_eye: true }])
        }
    }

    let store = MemoryStore::new();
    let kitchen = Annals::new(store.clone());
    let error = kitchen.execute("1", Measure(f64::NAN)).await.unwrap_err();
    assert!(matches!(error, ExecuteError::Encode(_)), "{error:?}");
    assert_eq!(versions(&store).await, 0);
    for celsius in [0.1 + 0.2, 1e-300, 123_456_789.123_456_79] {
        let executed = kitchen.execute("1", Measure(celsius)).await.unwrap();
        assert_eq!(executed.state, Oven { celsius: Some(celsius), by_eye: false });
        assert_eq!(kitchen.load::<Oven>("1").await.unwrap().state, executed.state);
    }
    let batch = kitchen.batch().execute("2", Measure(1.0)).execute("2", Measure(f64::INFINITY));
    assert!(matches!(batch.await.unwrap_err().error, ExecuteError::Encode(_)));
}

#[tokio::test]
async fn an_id_must_have_a_character() {
    let bank = Annals::new(MemoryStore::new());
    let error = bank.execute("", open("Ada")).await.unwrap_err();
    assert_eq!(error.to_string(), "id is empty; give it at least one character");
}
