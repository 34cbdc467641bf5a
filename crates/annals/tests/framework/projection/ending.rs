//! What a projection does that gets nowhere: it ends with its log, says what is in its way, and
//! asks nobody without pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use annals::{
    Activation, Annals, Append, AppendError, CheckpointStore, EventStore, EventStream, Fault,
    Generation, MemoryReadSide, MemoryStore, Partition, Position, ProjectError, Projector, Query,
    Read, ReadError, ReadModel, ReadSideError, Receipt, RecordedEvent, Stretch, Subscribe,
    SubscriberName, Subscription, Timestamp,
};
use annals_core::Limits;
use async_trait::async_trait;
use futures_util::stream;
use tokio::time::Instant;

use crate::projection::bank::{Balances, fill};
use crate::projection::places::SOON;

/// A log that was closed, and how often somebody wanted to follow it.
#[derive(Clone, Debug, Default)]
struct Closed {
    log: MemoryStore,
    followed: Arc<AtomicU32>,
}

#[async_trait]
impl EventStore for Closed {
    fn limits(&self) -> &Limits {
        self.log.limits()
    }

    async fn append(&self, _: Append) -> Result<Receipt, AppendError> {
        Err(AppendError::Closed)
    }

    fn read(&self, _: Read) -> EventStream {
        Box::pin(stream::iter([Err(ReadError::Closed)]))
    }

    fn subscribe(&self, _: Subscribe) -> Subscription {
        self.followed.fetch_add(1, Ordering::SeqCst);
        Box::pin(stream::iter([Err(ReadError::Closed)]))
    }

    async fn head(&self) -> Result<Position, ReadError> {
        Err(ReadError::Closed)
    }
}

#[tokio::test(start_paused = true)]
async fn a_projection_ends_with_its_log() {
    let (log, rows) = (Closed::default(), MemoryReadSide::new());
    let bank = Annals::new(log.clone());
    let running = bank.project(ReadModel::new(Balances, rows)).partitions(2).start();
    let soon = Instant::now() + SOON;
    while log.followed.load(Ordering::SeqCst) < 2 {
        assert!(Instant::now() < soon, "each part begins");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // By the clock of the test, which leaps.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let followed = log.followed.load(Ordering::SeqCst);
    assert!(followed <= 4, "it tried {followed} times");
    running.stop().await;
}

/// A read model that is told what to answer.
#[derive(Clone, Debug)]
struct Told {
    model: ReadModel<Balances>,
    is_fenced: bool,
    is_failing: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
}

impl Told {
    fn new(is_fenced: bool) -> Self {
        let model = ReadModel::new(Balances, MemoryReadSide::new());
        let is_failing = Arc::new(AtomicBool::new(true));
        Self { model, is_fenced, is_failing, asked: Arc::default() }
    }
}

#[async_trait]
impl Projector for Told {
    fn name(&self) -> &SubscriberName {
        self.model.name()
    }
    fn version(&self) -> u32 {
        self.model.version()
    }
    fn query(&self) -> Query {
        self.model.query()
    }
    fn checkpoints(&self) -> Arc<dyn CheckpointStore> {
        self.model.checkpoints()
    }
    fn concerns(&self, event: &RecordedEvent, partition: Partition) -> bool {
        self.model.concerns(event, partition)
    }
    async fn prepare(&self, generation: Generation) -> Result<(), ProjectError> {
        self.model.prepare(generation).await
    }
    async fn project(&self, stretch: &Stretch) -> Result<(), ProjectError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if !self.is_failing.load(Ordering::SeqCst) {
            return self.model.project(stretch).await;
        }
        Err(match self.is_fenced {
            true => ReadSideError::Fenced(self.name().clone()).into(),
            false => ReadSideError::Unavailable(Fault::new("the index is full")).into(),
        })
    }
    async fn activate(
        &self,
        generation: Generation,
        now: Timestamp,
    ) -> Result<Activation, ProjectError> {
        self.model.activate(generation, now).await
    }
    async fn discard(&self, generation: Generation) -> Result<(), ProjectError> {
        self.model.discard(generation).await
    }
}

#[tokio::test]
async fn what_keeps_a_stretch_from_being_applied_is_told_for_as_long_as_it_does() {
    let store = MemoryStore::new();
    let last = fill(&store, 2, 2).await;
    let told = Told::new(false);
    let running = Annals::new(store).project(told.clone()).start();
    let trouble = async || running.status().await.ok().and_then(|status| status.trouble);
    let said = async {
        while trouble().await.is_none_or(|trouble| !trouble.contains("the index is full")) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(SOON, said).await.expect("it is told");
    told.is_failing.store(false, Ordering::SeqCst);
    running.wait_for(last, SOON).await.unwrap();
    assert_eq!(running.status().await.unwrap().trouble, None);
}

#[tokio::test]
async fn a_part_that_is_lost_again_and_again_is_not_claimed_without_pause() {
    let store = MemoryStore::new();
    let last = fill(&store, 2, 2).await;
    let told = Told::new(true);
    let begun = Instant::now();
    let running = Annals::new(store).project(told.clone()).start();
    let asked = async {
        while told.asked.load(Ordering::SeqCst) < 5 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(SOON, asked).await.expect("it tries again");
    assert!(begun.elapsed() >= Duration::from_millis(4 * 50), "{:?}", begun.elapsed());
    told.is_failing.store(false, Ordering::SeqCst);
    running.wait_for(last, SOON).await.unwrap();
}
