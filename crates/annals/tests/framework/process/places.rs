//! The places in which processes may run: a log, a queue, and a clock that is moved by hand.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use annals::inbox::InboxRunner;
use annals::{
    Annals, Clock, EventStore, EventStoreExt, Inbox, Limits, ManualClock, MemoryReadSide,
    MemoryStore, Read, RecordedEvent, RunningInboxes, StreamId, SystemClock,
};
use annals_conformance::read_side::ReadSide;

use crate::process::fulfilment::Fulfilment;
use crate::process::shop::{AddStock, Order, OrderEvent, PaymentEvent, Stock};

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// As long as an engine that died keeps what it held.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

pub(crate) struct Place {
    pub(crate) log: Arc<dyn EventStore>,
    pub(crate) queue: Arc<dyn ReadSide>,
    pub(crate) clock: Arc<ManualClock>,
    /// What has to live as long as they do.
    _keep: Box<dyn Any + Send + Sync>,
}

pub(crate) async fn in_memory() -> Place {
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let log = Arc::new(MemoryStore::with(Arc::clone(&clock) as _, Limits::DEFAULT));
    Place { log, queue: Arc::new(MemoryReadSide::new()), clock, _keep: Box::new(()) }
}

/// Log and queue in one file.
#[cfg(feature = "sqlite")]
pub(crate) async fn in_a_file() -> Place {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("shop.db");
    let log = Arc::new(annals::SqliteStore::open(&path).expect("the log opens"));
    let queue = Arc::new(annals::SqliteReadSide::open(&path).expect("the read side opens"));
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    Place { log, queue, clock, _keep: Box::new(directory) }
}

/// Log and queue in one database.
#[cfg(feature = "postgres")]
pub(crate) async fn in_a_database() -> Place {
    let database = annals_scratch::Database::create().await;
    let log = annals::PostgresStore::connect(database.url()).await.expect("the log opens");
    let queue = annals::PostgresReadSide::connect(database.url()).await;
    let queue = Arc::new(queue.expect("the read side opens"));
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    Place { log: Arc::new(log), queue, clock, _keep: Box::new(database) }
}

/// Makes a test of each of these functions in each place.
macro_rules! in_each_place {
    ($($test:ident),* $(,)?) => {
        crate::process::places::in_place!(in_memory, [], $($test)*);
        crate::process::places::in_place!(in_a_file, [feature = "sqlite"], $($test)*);
        crate::process::places::in_place!(in_a_database, [feature = "postgres"], $($test)*);
    };
}
pub(crate) use in_each_place;

macro_rules! in_place {
    ($place:ident, [$($condition:tt)*], $($test:ident)*) => {
        #[cfg(all($($condition)*))]
        mod $place {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(crate::process::places::$place().await).await;
                }
            )*
        }
    };
}
pub(crate) use in_place;

impl Place {
    pub(crate) fn shop(&self) -> Annals {
        self.shop_on(Arc::clone(&self.log))
    }

    pub(crate) fn shop_on(&self, log: Arc<dyn EventStore>) -> Annals {
        Annals::new(log).with_clock(Arc::clone(&self.clock))
    }

    pub(crate) async fn start(&self) -> RunningInboxes {
        self.start_these([self.shop().process_manager::<Fulfilment>()]).await
    }

    pub(crate) async fn start_these(
        &self,
        inboxes: impl IntoIterator<Item = Inbox>,
    ) -> RunningInboxes {
        let runner = quick(self.shop().inboxes(self.queue.clone()));
        let runner = inboxes.into_iter().fold(runner, InboxRunner::inbox);
        runner.start().await.expect("they start")
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.set(self.clock.now().saturating_add(time));
    }

    pub(crate) async fn stock(&self, item: &str, quantity: u32) {
        self.shop().execute::<Stock, _>(item, AddStock { quantity }).await.unwrap();
    }

    pub(crate) async fn place(&self, order: &str, item: &str, quantity: u32) {
        let (item, id) = (item.to_owned(), order.to_owned());
        let placed = OrderEvent::Placed { order: id, item, quantity };
        self.shop().record(placed).on(format!("order-{order}")).await.unwrap();
    }

    pub(crate) async fn pay(&self, order: &str) {
        let paid = PaymentEvent::PaymentReceived { order: order.to_owned() };
        self.shop().record(paid).on(format!("payment-{order}")).await.unwrap();
    }

    pub(crate) async fn left(&self, item: &str) -> u32 {
        self.shop().load::<Stock>(item).await.unwrap().state.left
    }

    pub(crate) async fn order(&self, order: &str) -> Order {
        self.shop().load::<Order>(order).await.unwrap().state
    }

    /// The types of the events of a process, in order, without `annals.`.
    pub(crate) async fn process(&self, order: &str) -> Vec<String> {
        let stream = StreamId::of("fulfilment", order).unwrap();
        let events: Vec<RecordedEvent> = self.log.read_to_end(Read::stream(stream)).await.unwrap();
        let name = |event: &RecordedEvent| event.event_type.as_str().replace("annals.", "");
        events.iter().map(name).collect()
    }

    /// Waits until processes have come to this, while time passes slowly, so that what has failed
    /// is tried again.
    pub(crate) async fn until_process<F>(&self, order: &str, is_so: F)
    where
        F: Fn(&[String]) -> bool,
    {
        let waiting = async {
            while !is_so(&self.process(order).await) {
                self.pass(Duration::from_millis(100));
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        };
        if tokio::time::timeout(SOON, waiting).await.is_err() {
            let dead = annals::SelectDeliveries::all();
            let deliveries = self.queue.deliveries(&dead, 99).await.unwrap();
            panic!("process {order} is at {:#?}; {deliveries:#?}", self.process(order).await);
        }
    }

    pub(crate) async fn until_finished(&self, order: &str) {
        self.until_process(order, |events| is_in(events, "ProcessFinished")).await;
    }
}

pub(crate) fn is_in(events: &[String], name: &str) -> bool {
    count(events, name) > 0
}

pub(crate) fn count(events: &[String], name: &str) -> usize {
    events.iter().filter(|event| *event == name).count()
}

pub(crate) fn quick(runner: InboxRunner) -> InboxRunner {
    runner.poll(Duration::from_millis(10)).lease(LEASE)
}
