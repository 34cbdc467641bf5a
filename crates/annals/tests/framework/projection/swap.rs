//! A rebuild takes the place of what is read once nobody goes back by that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals::{
    Activation, Append, CheckpointStore, Data, Event, EventStore, EventType, ExpectedVersion,
    Generation, NewEvent, Partition, Position, ProjectError, Projection, Projector, Query,
    ReadModel, RecordedEvent, RowKey, RunningProjection, StreamId, Stretch, SubscriberInfo,
    SubscriberName, Timestamp,
};
use async_trait::async_trait;

use crate::projection::bank::{Balances, MoneyDeposited, append, fill};
use crate::projection::places::{Place, SOON, in_each_place};

in_each_place![
    a_caller_that_has_waited_finds_its_write_whatever_takes_the_place,
    a_part_that_is_far_does_not_go_back_because_another_one_stopped,
];

/// A rebuild of the balances; right before it takes its place, somebody writes, and waits until
/// that can be read.
#[derive(Debug)]
struct Overtaken {
    model: ReadModel<Balances>,
    store: Arc<dyn EventStore>,
    read: Arc<RunningProjection>,
    is_overtaken: AtomicBool,
    seen: Arc<Mutex<Vec<(Activation, Position)>>>,
}

#[async_trait]
impl Projector for Overtaken {
    fn name(&self) -> &SubscriberName {
        self.model.name()
    }

    fn version(&self) -> u32 {
        2
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
        self.model.project(stretch).await
    }

    async fn activate(
        &self,
        generation: Generation,
        now: Timestamp,
    ) -> Result<Activation, ProjectError> {
        if self.is_overtaken.swap(true, Ordering::SeqCst) {
            return self.model.activate(generation, now).await;
        }
        let written = append(&*self.store, "1", [MoneyDeposited { amount: 1 }]).await;
        self.read.wait_for(written, SOON).await.unwrap();
        let activation = self.model.activate(generation, now).await?;
        self.seen.lock().unwrap().push((activation, written));
        // What was waited for can still be read, by whoever does not wait.
        let at_once = self.read.wait_for(written, Duration::ZERO).await;
        assert!(at_once.is_ok(), "{at_once:?}");
        Ok(activation)
    }

    async fn discard(&self, generation: Generation) -> Result<(), ProjectError> {
        self.model.discard(generation).await
    }
}

async fn a_caller_that_has_waited_finds_its_write_whatever_takes_the_place(place: Place) {
    let last = fill(&*place.store, 5, 50).await;
    let model = ReadModel::new(Balances, place.rows.clone());
    let read = Arc::new(place.bank.project(model.clone()).start());
    read.wait_for(last, SOON).await.unwrap();
    let seen = Arc::default();
    let overtaken = Overtaken {
        model: model.clone(),
        store: Arc::clone(&place.store),
        read: Arc::clone(&read),
        is_overtaken: AtomicBool::new(false),
        seen: Arc::clone(&seen),
    };
    let rebuilding = place.bank.project(overtaken).rebuilding_new_versions().start();

    let swapped = until(&place, |info| info.building().is_none() && version(info) == Some(2));
    swapped.await;
    let seen = seen.lock().unwrap().clone();
    let [(activation, written)] = seen[..] else { panic!("{seen:?}") };
    assert_eq!(activation, Activation::Behind);
    // It has gone on by itself.
    rebuilding.wait_for(written, SOON).await.unwrap();
}

/// Yesterday's code, which cannot apply what was `Withdrawn` as a text.
#[derive(Debug, Event)]
enum Yesterday {
    Deposited { amount: serde_json::Value },
    Withdrawn { amount: u64 },
}

/// Today's, which cannot apply what was `Deposited` as a text.
#[derive(Debug, Event)]
enum Today {
    Deposited { amount: u64 },
    Withdrawn { amount: serde_json::Value },
}

struct Counts<E, const VERSION: u32>(std::marker::PhantomData<fn() -> E>);

impl<E: Event + Sync, const VERSION: u32> Projection for Counts<E, VERSION> {
    type Event = E;
    type Row = u64;
    const NAME: &'static str = "counts";
    const VERSION: u32 = VERSION;

    fn apply(&self, _: &RowKey, row: Option<u64>, _: &E, _: &RecordedEvent) -> Option<u64> {
        Some(row.unwrap_or(0) + 1)
    }
}

async fn a_part_that_is_far_does_not_go_back_because_another_one_stopped(place: Place) {
    let in_part = |part| {
        let mut numbers = 0_u32..;
        let found = numbers.find(|number| Partition::of(&number.to_string(), 2) == part);
        found.expect("a row of each part")
    };
    let (one, other) = (in_part(0), in_part(1));
    record(&*place.store, one, "Withdrawn", r#""much""#).await;
    for _ in 0..3 {
        record(&*place.store, other, "Deposited", "1").await;
    }
    record(&*place.store, other, "Deposited", r#""much""#).await;
    let last = record(&*place.store, other, "Deposited", "1").await;
    let yesterday = ReadModel::new(Counts::<Yesterday, 1>(Default::default()), place.rows.clone());
    let _yesterday = place.bank.project(yesterday.clone()).partitions(2).start();
    until(&place, |info| {
        let parts = &info.active().unwrap().partitions;
        parts[0].failure.is_some() && parts[1].position >= last
    })
    .await;

    let today = ReadModel::new(Counts::<Today, 2>(Default::default()), place.rows.clone());
    let _today = place.bank.project(today).partitions(2).rebuilding_new_versions().start();
    let todays = |info: &SubscriberInfo| {
        info.generations.iter().find(|made| made.version == 2).map(|made| made.partitions.clone())
    };
    until(&place, |info| todays(info).is_some_and(|parts| parts[1].failure.is_some())).await;
    // The other part comes to the head twice: behind the first time, it was tried.
    for _ in 0..2 {
        let written = record(&*place.store, one, "Deposited", "1").await;
        until(&place, |info| todays(info).is_some_and(|parts| parts[0].position >= written)).await;
    }
    let info = info(&place).await.expect("it is known");
    assert_eq!(version(&info), Some(1), "whoever reads does not go back");
    let key = RowKey::new(other.to_string());
    assert_eq!(yesterday.get(key).await.unwrap(), Some(5));
}

async fn record(store: &dyn EventStore, stream: u32, kind: &'static str, amount: &str) -> Position {
    let data = Data::json(format!(r#"{{"amount":{amount}}}"#));
    let event = NewEvent::new(EventType::from_static(kind), data);
    let stream = StreamId::of("count", stream).expect("a stream id");
    let append = Append::to(stream, ExpectedVersion::Any, [event]);
    store.append(append).await.expect("it is stored").last_position
}

/// The one projection that there is.
async fn info(place: &Place) -> Option<SubscriberInfo> {
    place.rows.subscribers().await.unwrap().pop()
}

fn version(info: &SubscriberInfo) -> Option<u32> {
    info.active().map(|active| active.version)
}

async fn until(place: &Place, holds: impl Fn(&SubscriberInfo) -> bool) {
    let seen = async {
        while !info(place).await.is_some_and(|info| holds(&info)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let seen = tokio::time::timeout(SOON, seen).await;
    assert!(seen.is_ok(), "{:?}", info(place).await);
}
