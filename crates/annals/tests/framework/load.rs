//! `load`, `load_as_of` and `history`.

use std::sync::Arc;

use annals::{
    Annals, Append, Data, DecodeFault, EventStore, EventType, ExpectedVersion, Limits, LoadError,
    ManualClock, MemoryStore, NewEvent, Position, StreamId, Timestamp, Version,
};
use futures_util::{StreamExt, TryStreamExt};

use crate::account::{Account, AccountEvent, deposit, open, withdraw};
use crate::stores::Forgetful;

const ID: &str = "ACC_123";

pub(crate) async fn append_raw(store: &MemoryStore, event_type: &'static str, data: &'static str) {
    let event = NewEvent::new(EventType::from_static(event_type), Data::json(data));
    let stream = StreamId::of("account", ID).unwrap();
    let append = Append::to(stream, ExpectedVersion::Any, [event]);
    store.append(append).await.unwrap();
}

fn day(day: u32) -> Timestamp {
    format!("2026-03-{day:02}T12:00:00Z").parse().unwrap()
}

/// Opened on the first of March, 100 in on the second, 50 out on the third.
async fn three_days() -> Annals {
    let clock = Arc::new(ManualClock::at(day(1)));
    let bank = Annals::new(MemoryStore::with(clock.clone(), Limits::DEFAULT));
    bank.execute(ID, open("Ada")).await.unwrap();
    clock.set(day(2));
    bank.execute(ID, deposit(100)).await.unwrap();
    clock.set(day(3));
    bank.execute(ID, withdraw(50)).await.unwrap();
    bank
}

#[tokio::test]
async fn an_aggregate_without_events_is_its_default() {
    let bank = Annals::new(MemoryStore::new());
    let account = bank.load::<Account>(ID).await.unwrap();
    assert_eq!(account.state, Account::default());
    assert_eq!(account.version, Version::EMPTY);
    assert_eq!(account.position, Position::START);
}

#[tokio::test]
async fn an_aggregate_is_loaded_as_it_was_at_each_version() {
    let bank = three_days().await;
    let mut balances = Vec::new();
    for version in 0..=4 {
        let then = bank.load_as_of::<Account>(ID, Version::new(version)).await;
        let then = then.unwrap();
        balances.push((then.version.get(), then.state.owner.is_some(), then.state.balance));
    }
    let expected = [(0, false, 0), (1, true, 0), (2, true, 100), (3, true, 50), (3, true, 50)];
    assert_eq!(balances, expected);
}

#[tokio::test]
async fn an_aggregate_is_loaded_as_it_was_at_any_moment() {
    let bank = three_days().await;
    let just_before = |moment: Timestamp| Timestamp::from_micros(moment.as_micros() - 1);
    let moments = [
        (just_before(day(1)), 0, 0),
        (day(1), 1, 0),
        (just_before(day(2)), 1, 0),
        (day(2), 2, 100),
        (day(3), 3, 50),
        (Timestamp::MAX, 3, 50),
    ];
    for (moment, version, balance) in moments {
        let then = bank.load_as_of::<Account>(ID, moment).await.unwrap();
        assert_eq!((then.version.get(), then.state.balance), (version, balance), "{moment}");
    }
}

#[tokio::test]
async fn history_tells_what_happened_and_when() {
    let bank = three_days().await;
    let history: Vec<_> = bank.history::<Account>(ID).try_collect().await.unwrap();
    let events: Vec<_> = history.iter().map(|past| &past.event).collect();
    let owner = "Ada".to_owned();
    assert_eq!(
        events,
        [
            &AccountEvent::AccountOpened { owner },
            &AccountEvent::MoneyDeposited { amount: 100 },
            &AccountEvent::MoneyWithdrawn { amount: 50 },
        ]
    );
    assert_eq!(history[2].stored.recorded_at, day(3));
    assert_eq!(history[2].stored.version, Version::new(3));

    let invalid: Result<Vec<_>, _> = bank.history::<Account>("ACC\0").try_collect().await;
    assert!(matches!(invalid, Err(LoadError::Id(_))), "{invalid:?}");
}

#[tokio::test]
async fn ids_may_be_of_any_type_that_displays() {
    struct AccountId(u32);
    impl std::fmt::Display for AccountId {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "ACC_{}", self.0)
        }
    }
    let bank = three_days().await;
    let account = bank.load::<Account>(AccountId(123)).await.unwrap();
    assert_eq!(account.state.balance, 50);
    assert_eq!(account.stream.as_str(), "account-ACC_123");
}

#[tokio::test]
async fn an_unknown_event_fails_the_load_and_says_where_it_is() {
    let store = MemoryStore::new();
    let bank = Annals::new(store.clone());
    bank.execute(ID, open("Ada")).await.unwrap();
    append_raw(&store, "InterestPaid", "{}").await;
    let error = bank.load::<Account>(ID).await.unwrap_err();
    let LoadError::Decode(decode) = &error else {
        panic!("{error:?}");
    };
    assert!(matches!(decode.fault, DecodeFault::UnknownType { .. }), "{decode:?}");
    assert_eq!(
        error.to_string(),
        "InterestPaid at version 2 of stream account-ACC_123 is unknown here (AccountOpened, \
         MoneyDeposited, MoneyWithdrawn, OwnerRenamed are known); add a variant for it, or name \
         one with `#[event(name = \"..\")]`"
    );
    assert_eq!(error.code(), "undecodable");
    // What came before it can still be had, and so can what came after it.
    append_raw(&store, "MoneyDeposited", r#"{"amount":5}"#).await;
    let history: Vec<_> = bank.history::<Account>(ID).collect().await;
    let decoded: Vec<_> = history.iter().map(Result::is_ok).collect();
    assert_eq!(decoded, [true, false, true]);
    let before = bank.load_as_of::<Account>(ID, Version::FIRST).await.unwrap();
    assert_eq!(before.state.owner.as_deref(), Some("Ada"));
}

#[tokio::test]
async fn a_gap_in_a_stream_is_damage_and_not_a_state() {
    let store = MemoryStore::new();
    let honest = Annals::new(store.clone());
    for command in [open("Ada"), deposit(100), withdraw(50)] {
        honest.execute(ID, command).await.unwrap();
    }
    let error = Annals::new(Forgetful(store)).load::<Account>(ID).await.unwrap_err();
    assert_eq!(error.code(), "corrupt");
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.to_string().contains("version 2"), "{source}");
}
