//! Events that cannot be applied.

use std::time::Duration;

use annals::{
    Append, Data, EventStore, EventType, ExpectedVersion, ListRows, NewEvent, OnPoison, Position,
    Projection, ProjectionState, ReadModel, RecordedEvent, RowKey, StreamId, WaitError,
};

use crate::projection::bank::{AccountEvent, Balances, MoneyDeposited, append, fill};
use crate::projection::places::{Place, SOON, in_each_place};
use crate::projection::running::all;

in_each_place![
    a_part_stops_at_a_poison_event_and_says_so,
    the_other_parts_go_on,
    a_poison_event_can_be_put_aside,
    a_row_that_is_too_large_is_found_among_many,
];

/// An event that is no deposit, though it says so.
async fn poison(store: &dyn EventStore, account: u32) -> Position {
    let event_type = EventType::from_static("MoneyDeposited");
    let event = NewEvent::new(event_type, Data::json(r#"{"amount":"much"}"#));
    let stream = StreamId::of("account", account).expect("a stream id");
    let append = Append::to(stream, ExpectedVersion::Any, [event]);
    store.append(append).await.expect("it is stored").last_position
}

async fn a_part_stops_at_a_poison_event_and_says_so(place: Place) {
    let good = fill(&*place.store, 5, 20).await;
    let bad = poison(&*place.store, 1).await;
    let behind = append(&*place.store, "2", [MoneyDeposited { amount: 1 }]).await;
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = place.bank.project(model.clone()).lease(Duration::from_millis(300)).start();

    let waited = running.wait_for(behind, SOON).await;
    let Err(WaitError::Failed { failure, .. }) = waited else { panic!("{waited:?}") };
    assert_eq!(failure.event.map(|(position, _)| position), Some(bad));
    assert!(failure.error.contains("much"), "the error says what is wrong: {}", failure.error);
    running.wait_for(good, SOON).await.unwrap();
    let status = running.status().await.unwrap();
    assert!(matches!(status.state(), ProjectionState::Failed(_)), "{:?}", status.state());

    // Resumed without anything being mended, it stops there again, and has applied nothing twice.
    let before = all(&model).await;
    running.resume().await.unwrap();
    let failed_again = async {
        loop {
            let info = place.rows.subscriber(running.name()).await.unwrap().unwrap();
            if info.active().unwrap().partitions[0].failure.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, failed_again).await.unwrap();
    assert_eq!(all(&model).await, before);
    running.stop().await;

    // Another process, or this one after it was mended, tries by itself.
    let running = place.bank.project(model.clone()).on_poison(OnPoison::Park).start();
    let reached =
        async { while running.wait_for(behind, Duration::from_millis(100)).await.is_err() {} };
    tokio::time::timeout(SOON, reached).await.unwrap();
    assert!(matches!(running.status().await.unwrap().state(), ProjectionState::Running));
}

async fn the_other_parts_go_on(place: Place) {
    poison(&*place.store, 1).await;
    fill(&*place.store, 40, 200).await;
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = place.bank.project(model.clone()).partitions(4).start();
    let others = async {
        loop {
            let info = place.rows.subscriber(running.name()).await.unwrap();
            let Some(info) = info else { continue };
            let parts = &info.active().unwrap().partitions;
            let failed = parts.iter().filter(|part| part.failure.is_some()).count();
            let events: u64 = parts.iter().map(|part| part.events).sum();
            if failed == 1 && events > 100 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, others).await.expect("three of four parts go on");
    let rows = model.list(ListRows { limit: 1_000, ..ListRows::default() }).await.unwrap();
    assert!(rows.len() > 20 && rows.len() < 40, "{} accounts", rows.len());
}

async fn a_poison_event_can_be_put_aside(place: Place) {
    fill(&*place.store, 5, 20).await;
    let first = poison(&*place.store, 1).await;
    fill(&*place.store, 5, 20).await;
    let second = poison(&*place.store, 2).await;
    let third = poison(&*place.store, 2).await;
    let last = fill(&*place.store, 5, 20).await;
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = place.bank.project(model.clone()).on_poison(OnPoison::Park).start();
    running.wait_for(last, SOON).await.unwrap();
    let events: u64 = all(&model).await.values().map(|row| row.events).sum();
    assert_eq!(events, 60, "every good event was applied once");
    let parked = place.rows.parked(running.name(), 10).await.unwrap();
    let positions: Vec<_> = parked.iter().map(|parked| parked.position).collect();
    assert_eq!(positions, [first, second, third]);
    assert!(parked[0].error.contains("much"), "{}", parked[0].error);
}

/// Grows its row beyond what can be kept when it meets one amount.
struct Growing;

impl Projection for Growing {
    type Event = AccountEvent;
    type Row = String;
    const NAME: &'static str = "growing";

    fn apply(
        &self,
        _: &RowKey,
        row: Option<String>,
        event: &AccountEvent,
        _: &RecordedEvent,
    ) -> Option<String> {
        match event {
            MoneyDeposited { amount: 666 } => Some("x".repeat(17 * 1024 * 1024)),
            _ => row.or_else(|| Some(String::new())),
        }
    }
}

async fn a_row_that_is_too_large_is_found_among_many(place: Place) {
    fill(&*place.store, 5, 33).await;
    let bad = append(&*place.store, "3", [MoneyDeposited { amount: 666 }]).await;
    let last = fill(&*place.store, 5, 33).await;
    let model = ReadModel::new(Growing, place.rows.clone());
    let running = place.bank.project(model.clone()).on_poison(OnPoison::Park).start();
    running.wait_for(last, SOON).await.unwrap();
    let parked = place.rows.parked(running.name(), 10).await.unwrap();
    assert_eq!(parked.iter().map(|one| one.position).collect::<Vec<_>>(), [bad]);
    assert!(parked[0].error.contains("snapshot_bytes_max"), "{}", parked[0].error);
    assert_eq!(all(&model).await.len(), 5);
}
