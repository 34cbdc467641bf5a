//! A hundred inboxes on one log beside one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use annals::{
    Append, Category, Inbox, Position, Query, QueryItem, ReactError, Reacting, Reactor, StreamId,
    SubscriberName,
};
use annals::{Data, EventStore, EventType, ExpectedVersion, NewEvent, StreamAppend};
use async_trait::async_trait;

use crate::Args;
use crate::place::{Place, Places};
use crate::report::{Line, Report};

const EVENTS: u64 = 5_000;
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

pub async fn measure(args: &Args, report: &mut Report) {
    let places = Places::start().await;
    for kind in ["file", "database"] {
        let mut lines: Vec<Line> = Vec::new();
        for round in 0..args.rounds {
            // The same number of deliveries in all, none, and a hundred times as many.
            for (index, (what, one, hundred)) in [
                ("100 inboxes that each want 1 % beside 1 that wants all", Wants::All, Wants::Own),
                ("100 inboxes that want nothing here beside 1", Wants::Nothing, Wants::Nothing),
                ("100 inboxes that all want all beside 1", Wants::All, Wants::All),
            ]
            .into_iter()
            .enumerate()
            {
                let place = match kind {
                    "file" => places.file().await,
                    _ => places.database().await,
                };
                let last = fill(&*place.store, EVENTS).await;
                if round == 0 {
                    lines.push(Line::new(format!("{}: {what}", place.name), "events/s"));
                }
                lines[index].floor.push(delivered(&place, 1, one, last).await);
                lines[index].annals.push(delivered(&place, 100, hundred, last).await);
            }
        }
        lines.into_iter().for_each(|line| report.add(line));
    }
}

#[derive(Clone, Copy)]
enum Wants {
    All,
    Own,
    Nothing,
}

fn query(wants: Wants, number: u64) -> Query {
    match wants {
        Wants::All => Query::all(),
        Wants::Own => Query::of(QueryItem::new().event_type(event_type(number))),
        Wants::Nothing => Query::of(QueryItem::new().category(Category::from_static("nothing"))),
    }
}

fn event_type(number: u64) -> EventType {
    EventType::new(format!("Happened{}", number % 100)).expect("a type")
}

/// How many events of the log are dealt with per second, everything delivered.
async fn delivered(place: &Place, inboxes: u64, wants: Wants, last: Position) -> f64 {
    let count = Count::default();
    let mut runner = place.annals.inboxes(place.queue.clone());
    for number in 0..inboxes {
        let name = SubscriberName::new(format!("of{inboxes}-{number}")).expect("a name");
        let inbox = Inbox::named(name, count.clone()).accepts(query(wants, number)).unordered();
        runner = runner.inbox(inbox.concurrency(2));
    }
    let begun = Instant::now();
    let running = runner.start().await.expect("they start");
    running.wait_for(last, LONG).await.expect("everything is delivered");
    let rate = EVENTS as f64 / begun.elapsed().as_secs_f64();
    let expected = match wants {
        Wants::All => EVENTS * inboxes,
        Wants::Own => EVENTS,
        Wants::Nothing => 0,
    };
    assert_eq!(count.0.load(Ordering::Relaxed), expected);
    running.stop().await;
    rate
}

async fn fill(store: &dyn EventStore, events: u64) -> Position {
    let mut last = Position::START;
    for first in (0..events).step_by(500) {
        let streams = (first..first + 500).map(|number| StreamAppend {
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
