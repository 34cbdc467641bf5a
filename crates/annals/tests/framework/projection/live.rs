//! Folding when somebody asks.

use annals::{Annals, ManualClock, MemoryStore, StreamId, Timestamp};
use std::sync::Arc;

use crate::projection::bank::{
    Balance, Balances, MoneyDeposited, MoneyTransferred, Received, append,
};

#[tokio::test]
async fn a_live_projection_can_be_asked_about_the_past() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_000)));
    let store = MemoryStore::with(clock.clone(), annals::Limits::DEFAULT);
    let bank = Annals::new(store.clone());
    let first = append(&store, "1", [MoneyDeposited { amount: 5 }]).await;
    clock.set(Timestamp::from_micros(2_000));
    append(&store, "1", [MoneyDeposited { amount: 6 }]).await;

    let held = |rows: std::collections::BTreeMap<annals::RowKey, Balance>| rows[&"1".into()].held;
    assert_eq!(held(bank.live(Balances).rows().await.unwrap()), 11);
    assert_eq!(held(bank.live(Balances).up_to(first).rows().await.unwrap()), 5);
    let then = Timestamp::from_micros(1_999);
    assert_eq!(held(bank.live(Balances).as_at(then).rows().await.unwrap()), 5);
}

#[tokio::test]
async fn a_live_projection_of_some_streams_reads_only_those() {
    let store = MemoryStore::new();
    let bank = Annals::new(store.clone());
    append(&store, "1", [MoneyTransferred { to: "9".into(), amount: 5 }]).await;
    append(&store, "2", [MoneyTransferred { to: "9".into(), amount: 6 }]).await;
    append(&store, "3", [MoneyTransferred { to: "9".into(), amount: 7 }]).await;
    let stream = |id: u32| StreamId::of("account", id).unwrap();
    let two = bank.live(Received).of_stream(stream(1)).of_stream(stream(3)).rows().await.unwrap();
    assert_eq!(two[&"9".into()], 12);
    let none = bank.live(Received).of_stream(stream(4)).rows().await.unwrap();
    assert!(none.is_empty());
}
