//! Read sides that fail, and processes that die, at every step: rows are exactly once.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use annals::{
    Fault, ListRows, Position, ProjectError, Query, ReadModel, ReadSideError, Rebuild,
    RecordedEvent, Sink, Sinking, WaitError,
};
use annals_conformance::read_side::{DecoratedReadSide, Faults, Meet};
use async_trait::async_trait;

use crate::projection::bank::{Balances, fill};
use crate::projection::places::{Place, SOON, in_each_place};
use crate::projection::running::all;

in_each_place![
    faults_between_all_steps_neither_skip_nor_repeat_an_event,
    a_place_without_transactions_gets_every_event_at_least_once_and_in_order,
    a_worker_that_is_dropped_anywhere_neither_skips_nor_repeats_an_event,
];

async fn faults_between_all_steps_neither_skip_nor_repeat_an_event(place: Place) {
    let last = fill(&*place.store, 10, 400).await;
    // That it was begun is told to whoever began it, and not tried again.
    let faults = Faults::one_in(6, 4711).sparing(&["begin_generation"]);
    let faulty = Arc::new(DecoratedReadSide::over(place.rows.clone(), faults));
    let model = ReadModel::new(Balances, Arc::clone(&faulty));
    let projecting = place.bank.project(model.clone()).partitions(2).events_max(7);
    let running = projecting.lease(Duration::from_millis(400)).start();
    running.wait_for(last, SOON).await.unwrap();
    assert_eq!(all(&model).await, place.bank.live(Balances).rows().await.unwrap());
    running.rebuild(Rebuild::new()).await.unwrap();
    running.wait_for_rebuild(SOON).await.unwrap();
    assert_eq!(all(&model).await, place.bank.live(Balances).rows().await.unwrap());
    assert!(faulty.decorator().met() > 10, "{:?}", faulty.decorator());
}

async fn a_worker_that_is_dropped_anywhere_neither_skips_nor_repeats_an_event(place: Place) {
    let last = fill(&*place.store, 10, 400).await;
    let slow = Faults::planned(|_| Meet::Delayed(Duration::from_millis(1)));
    let slow = DecoratedReadSide::over(place.rows.clone(), slow);
    let model = ReadModel::new(Balances, Arc::new(slow));
    let mut deaths = 0;
    loop {
        // A runtime that is shut down drops its tasks wherever they wait.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let projecting = place.bank.project(model.clone()).events_max(3);
        let handle = runtime.spawn(async move {
            let running = projecting.lease(Duration::from_millis(100)).start();
            running.wait_for(last, SOON).await
        });
        let done = tokio::time::timeout(Duration::from_millis(130 + deaths * 7), handle).await;
        runtime.shutdown_background();
        match done.map(Result::unwrap) {
            Ok(Ok(())) => break,
            // The pool gave out a connection that had died with an earlier runtime.
            Ok(Err(WaitError::ReadSide(ReadSideError::Unavailable(_)))) | Err(_) => deaths += 1,
            Ok(Err(error)) => panic!("{error}"),
        }
        assert!(deaths < 100, "it gets nowhere");
    }
    assert!(deaths > 3, "it died {deaths} times only");
    let deadline = Instant::now() + SOON;
    let rows = loop {
        let list = ListRows { limit: 100_000, ..ListRows::default() };
        match model.list(list).await {
            // As above: what died with a runtime is found out one connection at a time.
            Err(ReadSideError::Unavailable(_)) if Instant::now() < deadline => {}
            rows => break rows.unwrap().into_iter().collect(),
        }
    };
    assert_eq!(place.bank.live(Balances).rows().await.unwrap(), rows);
}

/// A place that sometimes answers only after it has written, and sometimes not at all.
#[derive(Clone, Default)]
struct Elsewhere {
    written: Arc<Mutex<Vec<Position>>>,
    calls: Arc<Mutex<u32>>,
}

#[async_trait]
impl Sink for Elsewhere {
    const NAME: &'static str = "elsewhere";

    fn query(&self) -> Query {
        Query::all()
    }

    async fn write(&self, events: &[RecordedEvent]) -> Result<(), ProjectError> {
        let mut calls = self.calls.lock().unwrap();
        *calls += 1;
        let unavailable = || ReadSideError::Unavailable(Fault::new("writing elsewhere"));
        if calls.is_multiple_of(3) {
            return Err(unavailable().into());
        }
        self.written.lock().unwrap().extend(events.iter().map(|event| event.position));
        if calls.is_multiple_of(4) { Err(unavailable().into()) } else { Ok(()) }
    }
}

async fn a_place_without_transactions_gets_every_event_at_least_once_and_in_order(place: Place) {
    let last = fill(&*place.store, 10, 200).await;
    let elsewhere = Elsewhere::default();
    let sinking = Sinking::new(elsewhere.clone(), place.rows.clone());
    let running = place.bank.project(sinking).events_max(11).start();
    running.wait_for(last, SOON).await.unwrap();
    let written = elsewhere.written.lock().unwrap().clone();
    assert!(written.len() > 200, "some come again: {}", written.len());
    // Who passes over what is not behind the last has seen each once, in order.
    let mut seen: Vec<Position> = Vec::new();
    for position in written {
        if seen.last().is_none_or(|last| position > *last) {
            seen.push(position);
        }
    }
    let log = annals::EventStoreExt::read_to_end(&*place.store, annals::Read::all()).await.unwrap();
    assert_eq!(seen, log.iter().map(|event| event.position).collect::<Vec<_>>());
}
