//! Several engines on one read side, and many inboxes on one log.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use annals::{
    Append, AppendError, EventStore, EventStream, EventType, Inbox, Limits, Notice, Position,
    Query, QueryItem, Read, ReadError, Receipt, Subscribe, SubscriberName, Subscription,
};
use async_trait::async_trait;
use futures_util::StreamExt;

use crate::inbox::world::{LEASE, Witness, World, idle, until};

on_every_read_side!(
    two_engines_make_each_delivery_once,
    what_an_engine_held_that_died_is_taken_over_when_its_lease_is_up,
    an_engine_that_stops_hands_over_at_once,
    a_hundred_inboxes_read_the_log_once,
);

async fn two_engines_make_each_delivery_once(world: World) {
    let [one, other] = [(), ()].map(|()| Witness::new().taking(Duration::from_millis(3)));
    let engines = [
        world.start([Inbox::new("email", one.clone()).unordered()]).await,
        world.start([Inbox::new("email", other.clone()).unordered()]).await,
    ];
    for _ in 0..60 {
        world.append("issue-1", &["Opened"; 3]).await;
    }
    idle(&engines[0]).await;
    idle(&engines[1]).await;
    let ids: HashSet<_> =
        one.seen().into_iter().chain(other.seen()).map(|seen| seen.id).collect();
    assert_eq!((ids.len(), one.count() + other.count()), (180, 180));
    // Also the one that does not read the log makes deliveries.
    assert!(one.count() > 0 && other.count() > 0, "{} and {}", one.count(), other.count());
}

async fn what_an_engine_held_that_died_is_taken_over_when_its_lease_is_up(world: World) {
    let [first, second] = [Witness::new(), Witness::new()];
    let dies = world.start([Inbox::new("email", first.clone())]).await;
    world.append("issue-1", &["Opened"]).await;
    idle(&dies).await;
    let lives = world.start([Inbox::new("email", second.clone())]).await;
    drop(dies);
    world.append("issue-1", &["Closed"]).await;
    world.pass(LEASE - Duration::from_secs(1));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(second.count(), 0, "nobody reads for it yet");
    world.pass(Duration::from_secs(1));
    until("it takes over", || second.count() == 1).await;
    idle(&lives).await;
    assert_eq!((first.events(), second.events()), (vec!["issue-1@1 Opened".to_owned()], vec!["issue-1@2 Closed".to_owned()]));
}

async fn an_engine_that_stops_hands_over_at_once(world: World) {
    let [first, second] = [Witness::new(), Witness::new()];
    let stops = world.start([Inbox::new("email", first.clone())]).await;
    world.append("issue-1", &["Opened"]).await;
    idle(&stops).await;
    let goes_on = world.start([Inbox::new("email", second.clone())]).await;
    stops.stop().await;
    world.append("issue-1", &["Closed"]).await;
    idle(&goes_on).await;
    assert_eq!(first.count() + second.count(), 2);
}

async fn a_hundred_inboxes_read_the_log_once(mut world: World) {
    const EVENTS: usize = 200;
    let counted = Arc::new(Counted { inner: Arc::clone(&world.log), events: Arc::default() });
    world.log = counted.clone();
    let names: Vec<String> = (0..100).map(|n| format!("Happened{n}")).collect();
    let append = async || {
        for name in names.iter().chain(&names) {
            let event_type = EventType::new(name.as_str()).unwrap();
            let event = annals::NewEvent::new(event_type, annals::Data::json("{}"));
            let stream = annals::StreamId::from_static("thing-1");
            let append = Append::to(stream, annals::ExpectedVersion::Any, [event]);
            world.log.append(append).await.unwrap();
        }
    };
    append().await;
    let witness = Witness::new();
    let inboxes = names.iter().enumerate().map(|(n, name)| {
        let query = Query::of(QueryItem::new().event_type(EventType::new(name.as_str()).unwrap()));
        let name = SubscriberName::new(format!("inbox-{n}")).unwrap();
        Inbox::named(name, witness.clone()).accepts(query)
    });
    let inboxes = world.start(inboxes).await;
    idle(&inboxes).await;
    assert_eq!(witness.count(), EVENTS);
    append().await;
    idle(&inboxes).await;
    assert_eq!(witness.count(), 2 * EVENTS);
    let read = counted.events.load(Ordering::SeqCst);
    assert!(read <= 2 * EVENTS, "{read} events were read instead of {}", 2 * EVENTS);
}

/// A store that counts the events it hands out.
#[derive(Debug)]
struct Counted {
    inner: Arc<dyn EventStore>,
    events: Arc<AtomicUsize>,
}

#[async_trait]
impl EventStore for Counted {
    fn limits(&self) -> &Limits {
        self.inner.limits()
    }

    async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        self.inner.append(append).await
    }

    fn read(&self, read: Read) -> EventStream {
        let events = Arc::clone(&self.events);
        Box::pin(self.inner.read(read).inspect(move |_| {
            events.fetch_add(1, Ordering::SeqCst);
        }))
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        let events = Arc::clone(&self.events);
        Box::pin(self.inner.subscribe(subscribe).inspect(move |notice| {
            let is_event = matches!(notice, Ok(Notice::Event(_)));
            events.fetch_add(usize::from(is_event), Ordering::SeqCst);
        }))
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.inner.head().await
    }
}
