//! A log, a queue and a clock that stands still, and a reactor that remembers what it saw.

use std::any::Any;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals::inbox::InboxRunner;
use annals::{
    Annals, Data, DeliveryId, DeliveryQueue, EventRef, EventStore, EventStoreExt, EventType,
    ExpectedVersion, Inbox, ManualClock, MemoryReadSide, MemoryStore, NewDelivery, NewEvent,
    Position, Query, QueryItem, ReactError, Reacting, Reactor, Read, RecordedEvent, RunningInboxes,
    StreamId, SubscriberName, Timestamp,
};
use async_trait::async_trait;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// As long as an engine that died keeps what it held.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// Where deliveries are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ReadSide {
    Memory,
    #[cfg(feature = "sqlite")]
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
}

/// A queue, and what must not be dropped before it.
type Kept = (Arc<dyn annals_conformance::read_side::ReadSide>, Box<dyn Any + Send + Sync>);

impl ReadSide {
    async fn open(self) -> Kept {
        match self {
            Self::Memory => (Arc::new(MemoryReadSide::new()), Box::new(())),
            #[cfg(feature = "sqlite")]
            Self::Sqlite => {
                let directory = tempfile::tempdir().expect("a directory");
                let path = directory.path().join("inboxes.db");
                (Arc::new(annals::SqliteReadSide::open(path).expect("a file")), Box::new(directory))
            }
            #[cfg(feature = "postgres")]
            Self::Postgres => {
                let database = annals_scratch::Database::create().await;
                let queue = annals::PostgresReadSide::connect(database.url()).await;
                (Arc::new(queue.expect("a database")), Box::new(database))
            }
        }
    }
}

pub(crate) struct World {
    read_side: ReadSide,
    pub(crate) log: Arc<dyn EventStore>,
    pub(crate) queue: Arc<dyn DeliveryQueue>,
    /// All of what the queue is a part of.
    pub(crate) side: Arc<dyn annals_conformance::read_side::ReadSide>,
    pub(crate) clock: Arc<ManualClock>,
    /// What must not be dropped before the queue is.
    _kept: Box<dyn Any + Send + Sync>,
}

impl World {
    pub(crate) async fn of(read_side: ReadSide) -> Self {
        let clock = Arc::new(ManualClock::at(at("2026-03-01T12:00:00Z")));
        let (side, kept) = read_side.open().await;
        let log = Arc::new(MemoryStore::new());
        Self { read_side, log, queue: side.clone(), side, clock, _kept: kept }
    }

    /// Another one in which nothing has happened.
    pub(crate) async fn again(&self) -> Self {
        Self::of(self.read_side).await
    }

    pub(crate) fn annals(&self) -> Annals {
        Annals::new(Arc::clone(&self.log)).with_clock(Arc::clone(&self.clock))
    }

    /// Runs inboxes that notice soon when the clock is moved.
    pub(crate) fn runner(&self) -> InboxRunner {
        quick(self.annals().inboxes(Arc::clone(&self.queue)))
    }

    pub(crate) async fn start(&self, inboxes: impl IntoIterator<Item = Inbox>) -> RunningInboxes {
        let runner = inboxes.into_iter().fold(self.runner(), InboxRunner::inbox);
        runner.start().await.expect("they start")
    }

    /// Appends events of these types to a stream.
    pub(crate) async fn append(&self, stream: &'static str, types: &[&'static str]) -> Position {
        let events: Vec<_> = types.iter().map(|name| event(name)).collect();
        let stream = StreamId::from_static(stream);
        let receipt = self.log.append_to(stream, ExpectedVersion::Any, events).await;
        receipt.expect("it is appended").last_position
    }

    /// A delivery to an inbox of the last event of the log, which nobody has enqueued yet.
    pub(crate) async fn delivery_of_last(&self, inbox: &'static str) -> NewDelivery {
        let last = self.log.read_to_end(Read::all().backward().limit(1)).await;
        let RecordedEvent { id, position, stream, version, event_type, .. } =
            last.expect("it is read").remove(0);
        let inbox = SubscriberName::from_static(inbox);
        NewDelivery {
            id: DeliveryId::new(&inbox, id, None),
            inbox,
            event: EventRef { id, position, stream, version, event_type },
            recipient: None,
            lane: None,
            due_at: Timestamp::MIN,
        }
    }

    pub(crate) fn pass(&self, time: Duration) {
        use annals::Clock;
        self.clock.set(self.clock.now().saturating_add(time));
    }
}

pub(crate) fn quick(runner: InboxRunner) -> InboxRunner {
    runner.poll(Duration::from_millis(10)).lease(LEASE)
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect("a moment")
}

pub(crate) fn event(name: &'static str) -> NewEvent {
    NewEvent::new(EventType::from_static(name), Data::json("{}"))
}

pub(crate) fn of(names: &[&'static str]) -> Query {
    Query::of(QueryItem::new().types(names.iter().map(|name| EventType::from_static(name))))
}

pub(crate) async fn idle(inboxes: &RunningInboxes) {
    inboxes.wait_until_idle(PATIENCE).await.expect("they come to rest");
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let so = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, so).await.is_ok(), "it never came to that: {what}");
}

/// What a reactor saw of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) recipient: Option<String>,
    /// `stream@version type`.
    pub(crate) event: String,
}

type Answer = dyn Fn(&Reacting) -> Result<(), ReactError> + Send + Sync;

/// A reactor that remembers what it saw, and answers as it is told.
#[derive(Clone)]
pub(crate) struct Witness {
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<Answer>,
    takes: Duration,
}

impl Witness {
    pub(crate) fn new() -> Self {
        Self::that(|_| Ok(()))
    }

    pub(crate) fn that(
        answer: impl Fn(&Reacting) -> Result<(), ReactError> + Send + Sync + 'static,
    ) -> Self {
        Self { seen: Arc::default(), answer: Arc::new(answer), takes: Duration::ZERO }
    }

    /// One that fails in the first so many attempts at each delivery.
    pub(crate) fn failing(times: u32) -> Self {
        Self::that(move |reacting| match reacting.attempt() <= times {
            true => Err(std::io::Error::other("the other side is away").into()),
            false => Ok(()),
        })
    }

    pub(crate) fn taking(mut self, takes: Duration) -> Self {
        self.takes = takes;
        self
    }

    /// Waits until an engine that was dropped is gone, with all of its tasks.
    pub(crate) async fn until_alone(&self) {
        until("the engine is gone", || Arc::strong_count(&self.seen) == 1).await;
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.event).collect()
    }

    /// The same in the order of their names.
    pub(crate) fn sorted(&self) -> Vec<String> {
        let mut events = self.events();
        events.sort_unstable();
        events
    }
}

#[async_trait]
impl Reactor for Witness {
    async fn react(&self, reacting: &Reacting) -> Result<(), ReactError> {
        let event = reacting.event();
        let seen = Seen {
            id: reacting.id().to_string(),
            attempt: reacting.attempt(),
            recipient: reacting.recipient().map(str::to_owned),
            event: format!("{}@{} {}", event.stream, event.version, event.event_type),
        };
        self.seen.lock().unwrap().push(seen);
        if self.takes > Duration::ZERO {
            tokio::time::sleep(self.takes).await;
        }
        (self.answer)(reacting)
    }
}
