//! An order from its beginning to its end, in each place.

use std::time::Duration;

use annals::{EventStoreExt, Metadata, Read, StreamId};
use futures_util::StreamExt;

use crate::process::fulfilment::{Fulfilment, FulfilmentEvent, PATIENCE};
use crate::process::places::{Place, count, in_each_place, is_in};

in_each_place![
    an_order_that_is_paid_is_shipped,
    an_order_that_is_not_paid_in_time_is_undone,
    a_refused_command_is_compensated_for,
    what_is_left_of_a_process_when_it_has_stopped_goes_on_later,
    two_engines_execute_each_command_once,
    a_queue_that_is_lost_repeats_nothing,
    the_history_of_a_process_is_its_own_events,
];

async fn an_order_that_is_paid_is_shipped(place: Place) {
    place.stock("apple", 10).await;
    let running = place.start().await;
    place.place("1", "apple", 3).await;
    place.until_process("1", |events| is_in(events, "StockReserved")).await;
    place.pay("1").await;
    place.until_finished("1").await;
    assert_eq!(
        place.process("1").await,
        [
            "Begun",
            "CommandIssued",
            "DeadlineSet",
            "CommandAccepted",
            "StockReserved",
            "Paid",
            "DeadlineCancelled",
            "CommandIssued",
            "CommandAccepted",
            "ProcessFinished",
        ]
    );
    place.pass(PATIENCE * 2);
    running.wait_until_idle(Duration::from_secs(20)).await.unwrap();
    assert_eq!(place.process("1").await.last().unwrap(), "ProcessFinished");
    let order = place.order("1").await;
    assert_eq!((order.shipped, order.cancelled.len(), place.left("apple").await), (1, 0, 7));
    all_belongs_together(&place).await;
    running.stop().await;
}

/// Everything is one conversation, and is done by the process manager.
async fn all_belongs_together(place: &Place) {
    let read = |stream| place.log.read_to_end(Read::stream(StreamId::from_static(stream)));
    let placed = read("order-1").await.unwrap().remove(0);
    let shipped = read("order-1").await.unwrap().remove(1);
    assert_eq!(shipped.event_type.as_str(), "Shipped");
    assert_eq!(shipped.metadata.get(Metadata::ACTOR).unwrap(), "fulfilment");
    let reserved = read("stock-apple").await.unwrap().remove(1);
    assert_eq!(
        reserved.metadata.get(Metadata::CORRELATION).unwrap(),
        placed.id.to_string().as_str()
    );
}

async fn an_order_that_is_not_paid_in_time_is_undone(place: Place) {
    place.stock("apple", 10).await;
    let running = place.start().await;
    place.place("1", "apple", 3).await;
    place.until_process("1", |events| is_in(events, "StockReserved")).await;
    assert_eq!(place.left("apple").await, 7);
    place.pass(PATIENCE / 2);
    running.wait_until_idle(Duration::from_secs(20)).await.unwrap();
    assert!(!is_in(&place.process("1").await, "DeadlineMet"), "it is too early");
    place.pass(PATIENCE);
    place.until_finished("1").await;
    assert_eq!(place.left("apple").await, 10);
    assert_eq!(place.order("1").await.cancelled, ["it was not paid in time"]);
    running.stop().await;
}

async fn a_refused_command_is_compensated_for(place: Place) {
    place.stock("apple", 2).await;
    let running = place.start().await;
    place.place("1", "apple", 3).await;
    place.until_finished("1").await;
    assert_eq!(place.order("1").await.cancelled, ["only 2 are left"]);
    assert_eq!(count(&place.process("1").await, "CommandRefused"), 1);
    place.pass(PATIENCE * 2);
    running.wait_until_idle(Duration::from_secs(20)).await.unwrap();
    assert!(!is_in(&place.process("1").await, "DeadlineMet"));
    running.stop().await;
}

async fn what_is_left_of_a_process_when_it_has_stopped_goes_on_later(place: Place) {
    place.stock("apple", 10).await;
    let running = place.start().await;
    place.place("1", "apple", 3).await;
    place.until_process("1", |events| is_in(events, "StockReserved")).await;
    running.stop().await;
    place.pass(PATIENCE * 2);
    let running = place.start().await;
    place.until_finished("1").await;
    assert_eq!(place.order("1").await.cancelled, ["it was not paid in time"]);
    running.stop().await;
}

async fn two_engines_execute_each_command_once(place: Place) {
    place.stock("apple", 1000).await;
    let (one, other) = (place.start().await, place.start().await);
    let orders: Vec<_> = (0..12).map(|n| n.to_string()).collect();
    for order in &orders {
        place.place(order, "apple", 3).await;
    }
    for paid in &orders[..6] {
        place.pay(paid).await;
    }
    for paid in &orders[..6] {
        place.until_finished(paid).await;
    }
    // What is reserved only when the time is up already, nobody would release.
    for unpaid in &orders[6..] {
        place.until_process(unpaid, |events| is_in(events, "StockReserved")).await;
    }
    place.pass(PATIENCE * 2);
    for order in &orders {
        place.until_finished(order).await;
    }
    // A process may have finished before its last but one command is executed: the two hinder each
    // other, and what has failed by that is tried again later.
    for order in &orders {
        place.until_process(order, have_been_executed).await;
    }
    for (n, order) in orders.iter().enumerate() {
        let found = place.order(order).await;
        let paid = u32::from(n < 6);
        assert_eq!((found.shipped, found.cancelled.len()), (paid, 1 - paid as usize), "{order}");
    }
    assert_eq!(place.left("apple").await, 1000 - 6 * 3);
    one.stop().await;
    other.stop().await;
}

/// Whether it is known what came of each command.
fn have_been_executed(events: &[String]) -> bool {
    let outcomes = count(events, "CommandAccepted") + count(events, "CommandRefused");
    outcomes == count(events, "CommandIssued")
}

async fn a_queue_that_is_lost_repeats_nothing(mut place: Place) {
    place.stock("apple", 4).await;
    let running = place.start().await;
    for order in ["1", "2"] {
        place.place(order, "apple", 3).await;
        place.until_process(order, |events| events.len() >= 4).await;
    }
    place.until_finished("2").await;
    place.pass(PATIENCE * 2);
    place.until_finished("1").await;
    running.wait_until_idle(Duration::from_secs(20)).await.unwrap();
    running.stop().await;
    let before = [place.process("1").await, place.process("2").await];
    assert!(is_in(&before[1], "CommandRefused"), "{before:#?}");
    // What was refused would not be any more.
    place.stock("apple", 96).await;
    place.queue = std::sync::Arc::new(annals::MemoryReadSide::new());
    let running = place.start().await;
    running.wait_until_idle(Duration::from_secs(20)).await.unwrap();
    let dead = running.dead_letters(annals::SelectDeliveries::all(), 9).await.unwrap();
    assert!(dead.is_empty(), "{dead:#?}");
    assert_eq!([place.process("1").await, place.process("2").await], before);
    assert_eq!(place.left("apple").await, 100);
    running.stop().await;
}

async fn the_history_of_a_process_is_its_own_events(place: Place) {
    place.stock("apple", 4).await;
    let running = place.start().await;
    place.place("1", "apple", 3).await;
    place.until_process("1", |events| is_in(events, "StockReserved")).await;
    let history = place.shop().history::<Fulfilment>("1");
    let history: Vec<_> = history.map(|event| event.unwrap().event).collect().await;
    let begun = FulfilmentEvent::Begun { item: "apple".into(), quantity: 3 };
    assert_eq!(history, [begun, FulfilmentEvent::StockReserved]);
    running.stop().await;
}
