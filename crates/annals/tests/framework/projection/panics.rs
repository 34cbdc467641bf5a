//! Code of an application's own that panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use annals::{
    Activation, Annals, CheckpointStore, Generation, Keys, MemoryReadSide, MemoryStore, OnPoison,
    Partition, ProjectError, Projection, Projector, Query, ReadModel, RecordedEvent, RowKey, Sink,
    Sinking, Stretch, SubscriberName, Timestamp, WaitError,
};
use async_trait::async_trait;

use crate::projection::bank::{AccountEvent, Balances, MoneyDeposited, append, fill};
use crate::projection::places::{Place, SOON, in_each_place};
use crate::projection::running::all;

in_each_place![
    a_panic_stops_the_part_behind_all_that_is_before_it,
    an_event_at_which_a_projection_panics_can_be_put_aside,
];

/// How often each amount was deposited. Thirteen brings bad luck, and seventeen does so earlier.
struct Superstitious;

impl Projection for Superstitious {
    type Event = AccountEvent;
    type Row = u64;
    const NAME: &'static str = "superstitious";

    fn keys(&self) -> Keys<AccountEvent> {
        Keys::by(|event, _| match event {
            MoneyDeposited { amount: 17 } => panic!("no key for seventeen"),
            MoneyDeposited { amount } => vec![amount.to_string().into()],
            _ => vec![],
        })
    }

    fn apply(
        &self,
        _: &RowKey,
        row: Option<u64>,
        event: &AccountEvent,
        _: &RecordedEvent,
    ) -> Option<u64> {
        assert!(!matches!(event, MoneyDeposited { amount: 13 }), "no row for thirteen");
        Some(row.unwrap_or(0) + 1)
    }
}

const BAD: [(u64, &str); 2] =
    [(13, "it panicked: no row for thirteen"), (17, "it panicked: no key for seventeen")];

async fn deposit(place: &Place, amounts: impl IntoIterator<Item = u64>) -> annals::Position {
    append(&*place.store, 1, amounts.into_iter().map(|amount| MoneyDeposited { amount })).await
}

async fn a_panic_stops_the_part_behind_all_that_is_before_it(place: Place) {
    let good = deposit(&place, [1, 2, 3]).await;
    let bad = deposit(&place, [13]).await;
    let behind = deposit(&place, [4, 5]).await;
    let model = ReadModel::new(Superstitious, place.rows.clone());
    let running = place.bank.project(model.clone()).lease(Duration::from_millis(300)).start();
    running.wait_for(good, SOON).await.unwrap();
    let waited = running.wait_for(behind, SOON).await;
    let Err(WaitError::Failed { failure, .. }) = waited else { panic!("{waited:?}") };
    assert_eq!(failure.event.map(|(position, _)| position), Some(bad));
    assert!(failure.error.contains(BAD[0].1), "{}", failure.error);
    assert_eq!(all(&model).await.len(), 3, "everything before it is applied");
}

async fn an_event_at_which_a_projection_panics_can_be_put_aside(place: Place) {
    let mut bad = Vec::new();
    for (amount, _) in BAD {
        deposit(&place, 100..120).await;
        bad.push(deposit(&place, [amount]).await);
    }
    let last = deposit(&place, 100..120).await;
    let model = ReadModel::new(Superstitious, place.rows.clone());
    let running = place.bank.project(model.clone()).on_poison(OnPoison::Park).start();
    running.wait_for(last, SOON).await.unwrap();
    assert!(all(&model).await.values().all(|times| *times == 3), "every good event counts once");
    let parked = place.rows.parked(running.name(), 10).await.unwrap();
    assert_eq!(parked.iter().map(|one| one.position).collect::<Vec<_>>(), bad);
    for (parked, (_, why)) in parked.iter().zip(BAD) {
        assert!(parked.error.contains(why), "{}", parked.error);
    }
}

/// Writes nowhere, and panics in the middle of what it is given.
struct Nowhere;

#[async_trait]
impl Sink for Nowhere {
    const NAME: &'static str = "nowhere";

    async fn write(&self, events: &[RecordedEvent]) -> Result<(), ProjectError> {
        tokio::task::yield_now().await;
        assert!(events.iter().all(|event| event.version.get() != 7), "not the seventh");
        Ok(())
    }
}

#[tokio::test]
async fn an_event_at_which_a_sink_panics_can_be_put_aside() {
    let (store, rows) = (MemoryStore::new(), MemoryReadSide::new());
    let last = append(&store, 1, (0..20).map(|amount| MoneyDeposited { amount })).await;
    let bank = Annals::new(store);
    let running =
        bank.project(Sinking::new(Nowhere, rows.clone())).on_poison(OnPoison::Park).start();
    running.wait_for(last, SOON).await.unwrap();
    let parked = rows.parked(running.name(), 10).await.unwrap();
    assert_eq!(parked.len(), 1);
    assert!(parked[0].error.contains("not the seventh"), "{}", parked[0].error);
}

#[cfg(feature = "postgres")]
mod on_a_connection {
    use annals::postgres::{BoxError, PostgresProjection, PostgresRows, ProjectionTable};

    use super::*;

    /// Has no rows, and panics with the seventh event of a stream.
    #[derive(Debug)]
    struct Nothing(SubscriberName);

    #[async_trait]
    impl PostgresProjection for Nothing {
        fn name(&self) -> &SubscriberName {
            &self.0
        }

        fn version(&self) -> u32 {
            1
        }

        fn query(&self) -> Query {
            Query::all()
        }

        fn tables(&self) -> Vec<ProjectionTable> {
            Vec::new()
        }

        async fn apply(
            &self,
            _: &mut PostgresRows<'_>,
            event: &RecordedEvent,
        ) -> Result<(), BoxError> {
            assert!(event.version.get() != 7, "not the seventh");
            Ok(())
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_event_at_which_statements_panic_can_be_put_aside() {
        let database = annals_scratch::Database::create().await;
        let rows = annals::PostgresReadSide::connect(database.url()).await.unwrap();
        let store = MemoryStore::new();
        let last = append(&store, 1, (0..20).map(|amount| MoneyDeposited { amount })).await;
        let nothing = rows.projection(Nothing(SubscriberName::from_static("nothing")));
        let running = Annals::new(store).project(nothing).on_poison(OnPoison::Park).start();
        running.wait_for(last, SOON).await.unwrap();
        let parked = rows.parked(running.name(), 10).await.unwrap();
        assert_eq!(parked.len(), 1);
        assert!(parked[0].error.contains("not the seventh"), "{}", parked[0].error);
    }
}

/// Balances with a place that cannot be made ready at once, and code that minds some events.
#[derive(Debug)]
struct Clumsy {
    model: ReadModel<Balances>,
    /// How many attempts still fail, every other one by a panic.
    failing: Arc<AtomicU32>,
}

#[async_trait]
impl Projector for Clumsy {
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
        assert!(event.version.get() != 3, "not the third");
        self.model.concerns(event, partition)
    }

    async fn prepare(&self, _: Generation) -> Result<(), ProjectError> {
        let failing = self.failing.load(Ordering::SeqCst);
        if failing == 0 {
            return Ok(());
        }
        self.failing.fetch_sub(1, Ordering::SeqCst);
        assert!(failing.is_multiple_of(2), "no room");
        let fault = annals::Fault::new("the table is taken");
        Err(annals::ReadSideError::Unavailable(fault).into())
    }

    async fn project(&self, stretch: &Stretch) -> Result<(), ProjectError> {
        self.model.project(stretch).await
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

fn clumsy(rows: &MemoryReadSide, failing: u32) -> (Clumsy, Arc<AtomicU32>) {
    let failing = Arc::new(AtomicU32::new(failing));
    let model = ReadModel::new(Balances, rows.clone());
    (Clumsy { model, failing: Arc::clone(&failing) }, failing)
}

#[tokio::test]
async fn an_event_that_nobody_says_whose_it_is_can_be_put_aside() {
    let (store, rows) = (MemoryStore::new(), MemoryReadSide::new());
    let last = append(&store, 1, (0..5).map(|amount| MoneyDeposited { amount })).await;
    let bank = Annals::new(store);
    let running = bank.project(clumsy(&rows, 0).0).on_poison(OnPoison::Park).start();
    running.wait_for(last, SOON).await.unwrap();
    let parked = rows.parked(running.name(), 10).await.unwrap();
    assert_eq!(parked.len(), 1);
    assert!(parked[0].error.contains("not the third"), "{}", parked[0].error);
}

#[tokio::test]
async fn what_is_in_the_way_of_a_part_is_told_for_as_long_as_it_is() {
    let (store, rows) = (MemoryStore::new(), MemoryReadSide::new());
    let last = fill(&store, 2, 2).await;
    let (projector, failing) = clumsy(&rows, u32::MAX);
    let running = Annals::new(store).project(projector).start();
    let told = async {
        for what in ["no room", "the table is taken"] {
            loop {
                let status = running.status().await;
                let trouble = status.ok().and_then(|status| status.trouble);
                if trouble.is_some_and(|trouble| trouble.contains(what)) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    tokio::time::timeout(SOON, told).await.expect("both troubles are told");
    failing.store(0, Ordering::SeqCst);
    running.wait_for(last, SOON).await.unwrap();
    let gone = async {
        while running.status().await.unwrap().trouble.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("it runs now");
}

#[tokio::test]
async fn a_part_that_panicked_takes_no_share_from_the_next_attempt() {
    let (store, rows) = (MemoryStore::new(), MemoryReadSide::new());
    let last = fill(&store, 2, 2).await;
    let (projector, _) = clumsy(&rows, 5);
    // Beyond its share it would wait for as long as a lease lasts.
    let lease = SOON * 10;
    let running = Annals::new(store).project(projector).share(1).lease(lease).start();
    running.wait_for(last, SOON).await.unwrap();
}
