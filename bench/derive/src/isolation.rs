//! A poison event and a dead endpoint under load: what the other inboxes lose by it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use annals::inbox::Retries;
use annals::{
    Data, EventStore, EventStoreExt, EventType, ExpectedVersion, Inbox, NewEvent, Position,
    ReactError, Reacting, Reactor, StreamId, SubscriberName,
};
use annals_bench_report::{Line, Report};
use async_trait::async_trait;

use crate::Args;
use crate::inboxes::Count;
use crate::place::{Place, Places};

const EVENTS: u64 = 5_000;
const HEALTHY: u64 = 8;
const LONG: Duration = Duration::from_secs(600);

/// Cannot stand one event in ten.
struct Poisoned;

#[async_trait]
impl Reactor for Poisoned {
    async fn react(&self, reacting: &Reacting) -> Result<(), ReactError> {
        if reacting.event().version.get().is_multiple_of(10) {
            return Err(ReactError::permanent(std::io::Error::other("poison")));
        }
        Ok(())
    }
}

/// Never answers.
struct Dead;

#[async_trait]
impl Reactor for Dead {
    async fn react(&self, _: &Reacting) -> Result<(), ReactError> {
        std::future::pending().await
    }
}

/// Is there, and does what it should, in the places of those two.
struct Well;

#[async_trait]
impl Reactor for Well {
    async fn react(&self, _: &Reacting) -> Result<(), ReactError> {
        Ok(())
    }
}

pub async fn measure(args: &Args, report: &mut Report) {
    let places = Places::start(args).await;
    for on in args.on() {
        let what = "inboxes beside a poisoned and a dead one, beside two well ones";
        let mut line = Line::new(format!("{on}: {HEALTHY} {what}"), "deliveries/s");
        for _ in 0..args.rounds {
            let undisturbed = healthy(&places.on(on).await, false).await;
            line.add(undisturbed, healthy(&places.on(on).await, true).await);
        }
        report.add(line);
    }
}

/// Deliveries a second of the healthy inboxes while events are appended.
async fn healthy(place: &Place, troubled: bool) -> f64 {
    let count = Count::default();
    let mut runner = place.annals.inboxes(place.queue.clone());
    for number in 0..HEALTHY {
        let name = SubscriberName::new(format!("healthy-{number}")).expect("a name");
        runner = runner.inbox(Inbox::named(name, count.clone()).concurrency(2));
    }
    let retries = || Retries::default().attempts_max(5);
    let second = Duration::from_secs(1);
    runner = match troubled {
        true => runner
            .inbox(Inbox::new("poisoned", Poisoned).retry(retries()))
            .inbox(Inbox::new("dead", Dead).retry(retries()).timeout(second).concurrency(4)),
        false => runner
            .inbox(Inbox::new("poisoned", Well).retry(retries()))
            .inbox(Inbox::new("dead", Well).retry(retries()).timeout(second).concurrency(4)),
    };
    let running = runner.start().await.expect("they start");
    let begun = Instant::now();
    append(&*place.store).await;
    while count.0.load(Ordering::Relaxed) < EVENTS * HEALTHY {
        assert!(begun.elapsed() < LONG, "the healthy ones do not come to an end");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let rate = (EVENTS * HEALTHY) as f64 / begun.elapsed().as_secs_f64();
    drop(running);
    rate
}

async fn append(store: &dyn EventStore) -> Position {
    let mut last = Position::START;
    for number in 0..EVENTS / 10 {
        let events = (0..10)
            .map(|_| NewEvent::new(EventType::from_static("Happened"), Data::json("{}")))
            .collect::<Vec<_>>();
        let stream = StreamId::of("thing", number % 200).expect("a stream id");
        let receipt = store.append_to(stream, ExpectedVersion::Any, events).await;
        last = receipt.expect("it is stored").last_position;
    }
    last
}
