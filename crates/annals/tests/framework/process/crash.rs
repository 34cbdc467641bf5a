//! The engine dies, or log or queue do not answer, at every step: each command is executed once in
//! effect, and each deadline met once.

use std::sync::Arc;
use std::time::Duration;

use annals::RunningInboxes;
use annals_conformance::read_side::{DecoratedReadSide, Faults, Meet};

use crate::process::faulty_log::FaultyLog;
use crate::process::fulfilment::{Fulfilment, PATIENCE};
use crate::process::places::{LEASE, Place, count, in_memory, is_in, quick};

/// What is struck.
#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Log,
    Queue,
}

/// An engine that meets it, and a way to see whether it came to that.
async fn doomed(
    place: &Place,
    what: What,
    meet: Meet,
    at: usize,
) -> (RunningInboxes, impl Fn() -> bool) {
    let never = usize::MAX;
    let (log_at, queue_at) = if what == What::Log { (at, never) } else { (never, at) };
    let log = FaultyLog::new(&place.log, meet, log_at);
    let faults = Faults::at(queue_at, meet).sparing(&["enrol"]);
    let queue = Arc::new(DecoratedReadSide::over(place.queue.clone(), faults));
    let shop = place.shop_on(Arc::clone(&log) as _);
    let runner = quick(shop.inboxes(Arc::clone(&queue) as _)).poll(Duration::from_millis(2));
    let running = runner.inbox(shop.process_manager::<Fulfilment>()).start().await.unwrap();
    (running, move || log.has_struck() || queue.decorator().met() > 0)
}

/// Order 1 is paid, 2 is not, and for 3 there is not enough. Says whether it came to that.
async fn struck(what: What, meet: Meet, at: usize) -> bool {
    let place = in_memory().await;
    place.stock("apple", 10).await;
    let (first, has_struck) = doomed(&place, what, meet, at).await;
    if meet.is_deadly() {
        tokio::select! {
            () = until(&has_struck) => {}
            () = all_orders(&place) => {}
        }
        drop(first);
        place.pass(LEASE);
        let second = place.start().await;
        all_orders(&place).await;
        second.stop().await;
    } else {
        all_orders(&place).await;
        first.stop().await;
    }
    check(&place, &format!("{what:?} {meet:?} at {at}")).await;
    has_struck()
}

async fn until(is_so: &impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What the world does, once, however often it is told, and then waiting for the processes.
async fn all_orders(place: &Place) {
    for (order, quantity) in [("1", 3), ("2", 4), ("3", 100)] {
        if place.shop().load::<crate::process::shop::Order>(order).await.unwrap().version.get() == 0
        {
            place.place(order, "apple", quantity).await;
        }
    }
    place.until_process("1", |events| is_in(events, "StockReserved")).await;
    let paid = annals::StreamId::from_static("payment-1");
    let paid = annals::EventStoreExt::read_to_end(&*place.log, annals::Read::stream(paid));
    if paid.await.unwrap().is_empty() {
        place.pay("1").await;
    }
    place.until_finished("1").await;
    place.until_finished("3").await;
    place.until_process("2", |events| is_in(events, "StockReserved")).await;
    if !is_in(&place.process("2").await, "DeadlineMet") {
        place.pass(PATIENCE);
    }
    place.until_finished("2").await;
}

async fn check(place: &Place, said: &str) {
    let [one, two, three] =
        [place.order("1").await, place.order("2").await, place.order("3").await];
    assert_eq!((one.shipped, one.cancelled.len()), (1, 0), "{said}");
    assert_eq!((two.shipped, two.cancelled.len()), (0, 1), "{said}");
    assert_eq!((three.shipped, three.cancelled.len()), (0, 1), "{said}");
    assert_eq!(place.left("apple").await, 7, "{said}");
    for (order, commands, refused, met) in [("1", 2, 0, 0), ("2", 3, 0, 1), ("3", 2, 1, 0)] {
        let events = place.process(order).await;
        let found = |name| count(&events, name);
        assert_eq!(found("CommandIssued"), commands, "{said}, order {order}: {events:#?}");
        assert_eq!(found("CommandRefused"), refused, "{said}, order {order}: {events:#?}");
        // A process may have finished before the outcome of its last but one command is kept.
        let accepted = found("CommandAccepted");
        assert_eq!(accepted, commands - refused, "{said}, order {order}: {events:#?}");
        assert_eq!(found("DeadlineMet"), met, "{said}, order {order}: {events:#?}");
        assert_eq!(found("ProcessFinished"), 1, "{said}, order {order}: {events:#?}");
    }
}

async fn at_every_step(what: What, meet: Meet, at_least: usize) {
    let mut at = 0;
    while struck(what, meet, at).await {
        at += 1;
    }
    assert!(at >= at_least, "only {at} steps were made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_may_die_before_any_append() {
    at_every_step(What::Log, Meet::DeadBefore, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_may_die_after_any_append() {
    at_every_step(What::Log, Meet::DeadAfter, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_may_die_before_any_step_of_the_queue() {
    at_every_step(What::Queue, Meet::DeadBefore, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_may_die_after_any_step_of_the_queue() {
    at_every_step(What::Queue, Meet::DeadAfter, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_append_may_fail_or_lose_its_answer() {
    at_every_step(What::Log, Meet::NotAtAll, 20).await;
    at_every_step(What::Log, Meet::AnswerLost, 20).await;
}
