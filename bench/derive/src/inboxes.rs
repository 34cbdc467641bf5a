//! A hundred inboxes on one log beside one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use annals::inbox::InboxRunner;
use annals::{
    Append, Data, EventStore, EventType, ExpectedVersion, Inbox, NewEvent, Position, Query,
    QueryItem, ReactError, Reacting, Reactor, StreamAppend, StreamId, SubscriberName,
};
use annals_bench_report::{Line, Report, median};
use async_trait::async_trait;

use crate::Args;
use crate::place::{Place, Places};

const LONG: Duration = Duration::from_secs(600);

/// Counts, and does nothing else.
#[derive(Clone, Default)]
pub struct Count(pub Arc<AtomicU64>);

#[async_trait]
impl Reactor for Count {
    async fn react(&self, _: &Reacting) -> Result<(), ReactError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// What one inbox is given, and what a hundred are.
struct Load {
    what: &'static str,
    unit: &'static str,
    one: (Wants, u64),
    hundred: (Wants, u64),
}

/// As much to deliver for the one as for the hundred together, and as much for each.
const LOADS: [Load; 2] = [
    Load {
        what: "100 inboxes that each want 1 % beside 1 that wants all",
        unit: "events/s",
        one: (Wants::All, 50_000),
        hundred: (Wants::Own, 50_000),
    },
    Load {
        what: "100 inboxes that all want all beside 1",
        unit: "deliveries/s",
        one: (Wants::All, 20_000),
        hundred: (Wants::All, 1_000),
    },
];

pub async fn measure(args: &Args, report: &mut Report) {
    let places = Places::start(args).await;
    for on in args.on() {
        for load in LOADS {
            let mut line = Line::new(format!("{on}: {}", load.what), load.unit);
            for _ in 0..args.rounds {
                let one = delivered(&places.on(on).await, 1, load.one).await;
                line.add(one, delivered(&places.on(on).await, 100, load.hundred).await);
            }
            report.add(line);
        }
        let (mut one, mut hundred) = (Vec::new(), Vec::new());
        for _ in 0..args.rounds {
            one.push(begun(&places.on(on).await, 1).await);
            hundred.push(begun(&places.on(on).await, 100).await);
        }
        let (one, hundred) = (median(&one) * 1e3, median(&hundred) * 1e3);
        report.note(format!("{on}: 1 inbox has dealt with its first event after {one:.0} ms, 100 with theirs after {hundred:.0} ms"));
    }
}

#[derive(Clone, Copy)]
enum Wants {
    All,
    Own,
}

fn query(wants: Wants, number: u64) -> Query {
    match wants {
        Wants::All => Query::all(),
        Wants::Own => Query::of(QueryItem::new().event_type(event_type(number))),
    }
}

fn event_type(number: u64) -> EventType {
    EventType::new(format!("Happened{}", number % 100)).expect("a type")
}

/// How many seconds it takes until each of them has dealt with its first event.
async fn begun(place: &Place, inboxes: u64) -> f64 {
    let last = fill(&*place.store, 1).await;
    let begun = Instant::now();
    let running = runner(place, inboxes, Wants::All, &Count::default()).start().await;
    let running = running.expect("they start");
    running.wait_for(last, LONG).await.expect("everything is delivered");
    let took = begun.elapsed().as_secs_f64();
    running.stop().await;
    took
}

fn runner(place: &Place, inboxes: u64, wants: Wants, count: &Count) -> InboxRunner {
    let inbox = |number| {
        let name = SubscriberName::new(format!("inbox-{number}")).expect("a name");
        let inbox = Inbox::named(name, count.clone()).accepts(query(wants, number));
        inbox.unordered().concurrency(2)
    };
    (0..inboxes).map(inbox).fold(place.annals.inboxes(place.queue.clone()), InboxRunner::inbox)
}

/// How much is dealt with per second, until everything is: events of the log, or deliveries where
/// everybody wants all.
async fn delivered(place: &Place, inboxes: u64, (wants, events): (Wants, u64)) -> f64 {
    let last = fill(&*place.store, events).await;
    let count = Count::default();
    let begun = Instant::now();
    let running = runner(place, inboxes, wants, &count).start().await.expect("they start");
    running.wait_for(last, LONG).await.expect("everything is delivered");
    let took = begun.elapsed().as_secs_f64();
    let (dealt_with, expected) = match wants {
        Wants::All => (events * inboxes, events * inboxes),
        Wants::Own => (events, events),
    };
    assert_eq!(count.0.load(Ordering::Relaxed), expected);
    running.stop().await;
    dealt_with as f64 / took
}

async fn fill(store: &dyn EventStore, events: u64) -> Position {
    let mut last = Position::START;
    for first in (0..events).step_by(500) {
        let streams = (first..(first + 500).min(events)).map(|number| StreamAppend {
            stream: StreamId::of("thing", number % 1_000).expect("a stream id"),
            expected: ExpectedVersion::Any,
            events: vec![NewEvent::new(event_type(number), Data::json(r#"{"what":"something"}"#))],
        });
        let mut append = Append::default();
        append.streams.extend(streams);
        last = store.append(append).await.expect("it is stored").last_position;
    }
    last
}
