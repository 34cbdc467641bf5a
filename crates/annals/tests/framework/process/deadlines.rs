//! Deadlines: set anew, cancelled in the instant they are due, and in nobody's way.

use std::time::Duration;

use crate::process::fulfilment::PATIENCE;
use crate::process::places::{Place, count, in_each_place, is_in};

in_each_place![
    a_deadline_that_is_cancelled_in_the_instant_it_is_due_is_either_met_or_cancelled,
    a_deadline_that_waits_holds_up_nothing_of_its_process,
];

async fn a_deadline_that_is_cancelled_in_the_instant_it_is_due_is_either_met_or_cancelled(
    place: Place,
) {
    place.stock("apple", 1000).await;
    let (one, other) = (place.start().await, place.start().await);
    let orders: Vec<_> = (0..8).map(|n| n.to_string()).collect();
    for order in &orders {
        place.place(order, "apple", 1).await;
    }
    for order in &orders {
        place.until_process(order, |events| is_in(events, "StockReserved")).await;
    }
    // Nobody works while both become due, so that both are taken at once.
    one.pause("fulfilment").await.unwrap();
    for order in &orders {
        place.pay(order).await;
    }
    place.pass(PATIENCE * 2);
    one.resume("fulfilment").await.unwrap();
    for order in &orders {
        place.until_finished(order).await;
    }
    for order in &orders {
        let events = place.process(order).await;
        let found = place.order(order).await;
        let met = count(&events, "DeadlineMet");
        assert_eq!(met + usize::from(is_cancelled_first(&events)), 1, "{events:#?}");
        assert!(found.shipped <= 1 && found.cancelled.len() <= 1, "{found:?}");
        if met == 0 {
            assert_eq!((found.shipped, found.cancelled.len()), (1, 0), "{events:#?}");
        }
    }
    one.stop().await;
    other.stop().await;
}

fn is_cancelled_first(events: &[String]) -> bool {
    let first = events.iter().find(|name| *name == "DeadlineMet" || *name == "DeadlineCancelled");
    first.is_some_and(|name| name == "DeadlineCancelled")
}

async fn a_deadline_that_waits_holds_up_nothing_of_its_process(place: Place) {
    place.stock("apple", 10).await;
    let running = place.start().await;
    place.place("1", "apple", 1).await;
    place.until_process("1", |events| is_in(events, "DeadlineSet")).await;
    place.pay("1").await;
    place.until_finished("1").await;
    running.wait_until_idle(Duration::from_secs(20)).await.unwrap();
    running.stop().await;
}
