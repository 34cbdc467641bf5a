//! Events that no upcaster can bring to their newest shape.

use std::time::Duration;

use annals::{
    Annals, Append, Data, EventStore, EventType, ExpectedVersion, NewEvent, OnPoison, Part,
    Position, ProjectionState, ReadModel, StreamId, Upcasters, WaitError,
};
use serde_json::json;

use crate::projection::bank::{Balances, MoneyDeposited, append, fill};
use crate::projection::places::{Place, SOON, in_each_place};
use crate::projection::running::all;

in_each_place![
    an_unreadable_event_stops_its_part_behind_all_that_is_before_it,
    an_unreadable_event_can_be_put_aside,
    an_unreadable_event_stops_no_part_but_its_own,
];

/// Data with which the upcaster fails, and others with which it panics.
const UNREADABLE: [(&str, &str); 2] = [("[]", "not an object but a list"), ("{}", "no amount")];

/// As deposits were stored once.
fn upcasters() -> Upcasters {
    Upcasters::new().split("Deposited", 1, &["MoneyDeposited"], |data| {
        let amount = data.get("much").expect("no amount");
        vec![Part::new("MoneyDeposited", 1, json!({ "amount": amount }))]
    })
}

fn bank(place: &Place) -> Annals {
    place.bank.clone().with_upcasters(&upcasters())
}

async fn old(store: &dyn EventStore, account: u32, data: &'static str) -> Position {
    let event = NewEvent::new(EventType::from_static("Deposited"), Data::json(data));
    let stream = StreamId::of("account", account).expect("a stream id");
    let append = Append::to(stream, ExpectedVersion::Any, [event]);
    store.append(append).await.expect("it is stored").last_position
}

async fn an_unreadable_event_stops_its_part_behind_all_that_is_before_it(place: Place) {
    let store = &*place.store;
    fill(store, 5, 19).await;
    let good = old(store, 1, r#"{"much":7}"#).await;
    let bad = old(store, 1, UNREADABLE[0].0).await;
    let behind = append(store, "2", [MoneyDeposited { amount: 1 }]).await;
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = bank(&place).project(model.clone()).lease(Duration::from_millis(300)).start();

    running.wait_for(good, SOON).await.unwrap();
    let events: u64 = all(&model).await.values().map(|row| row.events).sum();
    assert_eq!(events, 20, "everything before it is applied");
    let waited = running.wait_for(behind, SOON).await;
    let Err(WaitError::Failed { failure, .. }) = waited else { panic!("{waited:?}") };
    assert_eq!(failure.event.map(|(position, _)| position), Some(bad));
    assert!(failure.error.contains(UNREADABLE[0].1), "{}", failure.error);
    let status = running.status().await.unwrap();
    assert!(matches!(status.state(), ProjectionState::Failed(_)), "{:?}", status.state());
    assert_eq!(status.lag.events, 2, "what cannot be read waits, too");
    running.stop().await;

    // Whoever starts it with upcasters that are mended goes on.
    let mended = place.bank.clone().with_upcasters(&Upcasters::new().drop_type("Deposited"));
    let running = mended.project(model.clone()).start();
    let reached =
        async { while running.wait_for(behind, Duration::from_millis(100)).await.is_err() {} };
    tokio::time::timeout(SOON, reached).await.unwrap();
}

async fn an_unreadable_event_can_be_put_aside(place: Place) {
    let store = &*place.store;
    let mut bad = Vec::new();
    for (data, _) in UNREADABLE {
        fill(store, 5, 20).await;
        bad.push(old(store, 1, data).await);
    }
    let last = fill(store, 5, 20).await;
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = bank(&place).project(model.clone()).on_poison(OnPoison::Park).start();
    running.wait_for(last, SOON).await.unwrap();
    let events: u64 = all(&model).await.values().map(|row| row.events).sum();
    assert_eq!(events, 60, "every good event was applied once");
    let parked = place.rows.parked(running.name(), 10).await.unwrap();
    assert_eq!(parked.iter().map(|one| one.position).collect::<Vec<_>>(), bad);
    for (parked, (_, why)) in parked.iter().zip(UNREADABLE) {
        assert!(parked.error.contains(why), "{}", parked.error);
    }
}

async fn an_unreadable_event_stops_no_part_but_its_own(place: Place) {
    let store = &*place.store;
    old(store, 1, UNREADABLE[1].0).await;
    fill(store, 40, 200).await;
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = bank(&place).project(model.clone()).partitions(4).start();
    let head = store.head().await.unwrap();
    let others = async {
        loop {
            let info = place.rows.subscriber(running.name()).await.unwrap();
            let Some(info) = info else { continue };
            let parts = &info.active().unwrap().partitions;
            let failed = parts.iter().filter(|part| part.failure.is_some()).count();
            let through = parts.iter().filter(|part| part.position == head).count();
            if failed == 1 && through == 3 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, others).await.expect("three of four parts go on");
}
