//! Tests of an inbox: given events, then deliveries, with time under control.

use std::sync::Arc;
use std::time::Duration;

use annals_core::{
    Attempt, Clock, DeliveryId, DeliveryInfo, DeliveryQueue, DeliveryState, EventStore, Limits,
    ManualClock, MemoryReadSide, MemoryStore, SelectDeliveries, SequentialIds, StreamId,
};
use tokio::runtime::Runtime;

use crate::testing::failure::chain;
use crate::testing::world::now;
use crate::{Annals, Event, EventStoreExt, ExpectedVersion, Inbox};

/// What must come comes within this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// An inbox, its log and its queue; say [`given`](Self::given), let time pass, then say what has
/// become of the deliveries.
#[derive(Debug)]
pub struct Delivered {
    runtime: Runtime,
    store: MemoryStore,
    queue: MemoryReadSide,
    clock: Arc<ManualClock>,
    annals: Annals,
    inbox: Inbox,
}

/// An inbox to be tested: run as it will be, on a log and a queue in memory, by a clock that only
/// the test moves.
///
/// ```
/// # use annals::{Event, Inbox, ReactError, Reacting, types};
/// # #[derive(Debug, Event)] enum IssueEvent { IssueAssigned { to: String }, IssueClosed }
/// # use IssueEvent::*;
/// use std::time::Duration;
/// use annals::inbox::Retries;
/// use annals::testing::deliver;
///
/// let failing = Inbox::on("email", types!(IssueEvent::{IssueAssigned}), |_: IssueEvent, _: Reacting| async {
///     Err(ReactError::transient(std::io::Error::other("the server is down")))
/// });
/// deliver(failing.retry(Retries::default().attempts_max(2)))
///     .given("issue-1", [IssueAssigned { to: "ada".into() }, IssueClosed])
///     .then_waiting(1)
///     .after(Duration::from_secs(3600))
///     .then_dead(1)
///     .then_attempts("issue-1", 2);
/// ```
///
/// It needs no runtime around it, and makes none that outlives it.
///
/// # Panics
/// Inside of a tokio runtime.
pub fn deliver(inbox: Inbox) -> Delivered {
    let clock = Arc::new(ManualClock::at(now()));
    let store = MemoryStore::with(clock.clone(), Limits::DEFAULT);
    let annals =
        Annals::new(store.clone()).with_clock(clock.clone()).with_ids(SequentialIds::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the machine lets a test have a runtime");
    Delivered { runtime, store, queue: MemoryReadSide::new(), clock, annals, inbox }
}

impl Delivered {
    /// Events that happen now in a stream; all that is due because of them is delivered.
    ///
    /// # Panics
    /// When the stream's name is not valid, or an event cannot be stored.
    #[track_caller]
    pub fn given<E: Event>(self, stream: &str, events: impl IntoIterator<Item = E>) -> Self {
        let stream = match StreamId::new(stream) {
            Ok(stream) => stream,
            Err(error) => panic!("events cannot be given in {stream:?}: {error}"),
        };
        let encoded = events.into_iter().map(|event| match event.encode() {
            Ok(event) => event,
            Err(error) => panic!("a given event cannot be stored: {}", chain(&error)),
        });
        let append =
            self.store.append_to(stream, ExpectedVersion::Any, encoded.collect::<Vec<_>>());
        if let Err(error) = self.runtime.block_on(append) {
            panic!("the given events cannot be stored: {}", chain(&error));
        }
        self.run()
    }

    /// So much time passes, all at once; what has become due is delivered.
    #[track_caller]
    pub fn after(self, time: Duration) -> Self {
        self.clock.set(self.clock.now().saturating_add(time));
        self.run()
    }

    /// Somebody retries all dead letters by hand, and what is due is delivered.
    #[track_caller]
    pub fn retry_dead(self) -> Self {
        let dead = SelectDeliveries::all().state(DeliveryState::Dead);
        let retried = self.runtime.block_on(self.queue.retry(&dead, self.clock.now()));
        retried.expect("a queue in memory answers");
        self.run()
    }

    /// So many deliveries were made.
    ///
    /// # Panics
    /// When it were others, with all there are.
    #[track_caller]
    pub fn then_delivered(self, count: usize) -> Self {
        self.then(DeliveryState::Done, count)
    }

    /// So many deliveries wait: for another attempt, for their moment, or for their lane.
    ///
    /// # Panics
    /// When it are others.
    #[track_caller]
    pub fn then_waiting(self, count: usize) -> Self {
        self.then(DeliveryState::Waiting, count)
    }

    /// There are so many dead letters.
    ///
    /// # Panics
    /// When there are others.
    #[track_caller]
    pub fn then_dead(self, count: usize) -> Self {
        self.then(DeliveryState::Dead, count)
    }

    /// So many attempts were made, and remembered, for the first event of a stream that was
    /// accepted: of a delivery that succeeded at once none is.
    ///
    /// # Panics
    /// When it were others, with their errors.
    #[track_caller]
    pub fn then_attempts(self, stream: &str, count: usize) -> Self {
        let first = self.deliveries().into_iter().find(|one| one.event.stream.as_str() == stream);
        let Some(first) = first else { panic!("nothing of {stream} was accepted{}", self.told()) };
        let attempts = self.attempts(&first.id);
        assert!(
            attempts.len() == count,
            "{} was tried {} times and not {count}: {attempts:#?}",
            first.id,
            attempts.len()
        );
        self
    }

    /// All deliveries that there are, or were, by position.
    #[must_use]
    pub fn deliveries(&self) -> Vec<DeliveryInfo> {
        let all = SelectDeliveries::all();
        let deliveries = self.runtime.block_on(self.queue.deliveries(&all, usize::MAX));
        deliveries.expect("a queue in memory answers")
    }

    /// The attempts that are remembered of a delivery.
    #[must_use]
    pub fn attempts(&self, id: &DeliveryId) -> Vec<Attempt> {
        let attempts = self.runtime.block_on(self.queue.attempts(id));
        attempts.expect("a queue in memory answers")
    }

    /// The log that the inbox reads, and to which its reactor may have written.
    #[must_use]
    pub fn store(&self) -> &dyn EventStore {
        &self.store
    }

    /// Runs the inbox until nothing is due any more.
    #[track_caller]
    fn run(self) -> Self {
        let run = async {
            let runner = self.annals.inboxes(Arc::new(self.queue.clone()));
            let runner = runner.inbox(self.inbox.clone()).poll(Duration::from_millis(1));
            let running = runner.start().await.map_err(|error| chain(&error))?;
            let idle = running.wait_until_idle(PATIENCE).await.map_err(|error| chain(&error));
            running.stop().await;
            idle
        };
        if let Err(error) = self.runtime.block_on(run) {
            panic!("the inbox does not come to rest: {error}");
        }
        self
    }

    #[track_caller]
    fn then(self, state: DeliveryState, count: usize) -> Self {
        let found = self.deliveries().iter().filter(|one| one.state == state).count();
        assert!(found == count, "{found} and not {count} deliveries are {state:?}{}", self.told());
        self
    }

    /// All deliveries, for the message of a test that fails.
    fn told(&self) -> String {
        let told = |one: &DeliveryInfo| {
            let error = one.last_error.as_deref().unwrap_or("no error");
            format!("\n    {} {:?}, {} attempts, {error}", one.id, one.state, one.attempts)
        };
        self.deliveries().iter().map(told).collect()
    }
}
