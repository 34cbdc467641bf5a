//! Following the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use annals::{
    Annals, ListRows, MemoryReadSide, MemoryStore, OnNewVersion, Position, ProjectionState,
    Projections, ReadModel, RecordedEvent, RowKey, RowStore, SubscriberState, WaitError,
};

use crate::projection::bank::{
    AccountClosed, Balance, Balances, MoneyDeposited, Received, append, fill,
};
use crate::projection::places::{Place, SOON, in_each_place};

in_each_place![
    rows_are_what_the_log_says,
    a_caller_reads_its_own_write,
    a_restart_goes_on_at_the_checkpoint,
    a_paused_projection_applies_nothing_until_it_is_resumed,
    parts_share_rows_that_many_streams_write_to,
    a_row_can_be_taken_away,
    many_writers_are_followed,
    the_status_says_how_far_it_is_behind,
];

/// All rows of a read model.
pub(crate) async fn all<P: annals::Projection>(model: &ReadModel<P>) -> BTreeMap<RowKey, P::Row> {
    let list = ListRows { limit: 100_000, ..ListRows::default() };
    model.list(list).await.expect("the rows are read").into_iter().collect()
}

async fn rows_are_what_the_log_says(place: Place) {
    let last = fill(&*place.store, 20, 500).await;
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = place.bank.project(model.clone()).start();
    running.wait_for(last, SOON).await.unwrap();
    assert_eq!(all(&model).await, place.bank.live(Balances).rows().await.unwrap());
    let last = fill(&*place.store, 30, 300).await;
    running.wait_for(last, SOON).await.unwrap();
    assert_eq!(all(&model).await, place.bank.live(Balances).rows().await.unwrap());
}

async fn a_caller_reads_its_own_write(place: Place) {
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = place.bank.project(model.clone()).start();
    for number in 1..=50 {
        let position = append(&*place.store, "1", [MoneyDeposited { amount: 2 }]).await;
        running.wait_for(position, SOON).await.unwrap();
        let row = model.get("1").await.unwrap().unwrap();
        assert_eq!(row, Balance { held: number * 2, events: number.unsigned_abs() });
    }
    // What concerns nobody is waited for as well.
    let event_type = annals::EventType::from_static("SomethingElse");
    let event = annals::NewEvent::new(event_type, annals::Data::json("{}"));
    let stream = annals::StreamId::from_static("other-1");
    let append = annals::Append::to(stream, annals::ExpectedVersion::Any, [event]);
    let other = place.store.append(append).await.unwrap().last_position;
    running.wait_for(other, SOON).await.unwrap();
}

async fn a_restart_goes_on_at_the_checkpoint(place: Place) {
    let model = ReadModel::new(Balances, place.rows.clone());
    for _ in 0..5 {
        let last = fill(&*place.store, 10, 100).await;
        let running = place.bank.project(model.clone()).partitions(3).start();
        running.wait_for(last, SOON).await.unwrap();
        running.stop().await;
    }
    assert_eq!(all(&model).await, place.bank.live(Balances).rows().await.unwrap());
    let info = place.rows.subscriber(&"balances".parse().unwrap()).await.unwrap().unwrap();
    let events: u64 = info.active().unwrap().partitions.iter().map(|part| part.events).sum();
    assert_eq!(events, 500, "every event was applied once");
}

async fn a_paused_projection_applies_nothing_until_it_is_resumed(place: Place) {
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = place.bank.project(model.clone()).lease(Duration::from_millis(300)).start();
    let first = append(&*place.store, "1", [MoneyDeposited { amount: 1 }]).await;
    running.wait_for(first, SOON).await.unwrap();
    running.pause().await.unwrap();
    // It hears of it with its next heartbeat.
    let heard = Duration::from_millis(500);
    tokio::time::sleep(heard).await;
    let second = append(&*place.store, "1", [MoneyDeposited { amount: 1 }]).await;
    let waited = running.wait_for(second, heard).await;
    assert!(matches!(waited, Err(WaitError::TimedOut { .. })), "{waited:?}");
    assert_eq!(model.get("1").await.unwrap().unwrap().held, 1);
    assert_eq!(running.status().await.unwrap().state(), ProjectionState::Paused);
    running.stop().await;

    let running = place.bank.project(model.clone()).lease(Duration::from_millis(300)).start();
    let waited = running.wait_for(second, heard).await;
    assert!(matches!(waited, Err(WaitError::TimedOut { .. })), "a pause outlasts a restart");
    running.resume().await.unwrap();
    running.wait_for(second, SOON).await.unwrap();
    assert_eq!(model.get("1").await.unwrap().unwrap().held, 2);
}

async fn parts_share_rows_that_many_streams_write_to(place: Place) {
    let last = fill(&*place.store, 25, 600).await;
    let model = ReadModel::new(Received, place.rows.clone());
    let running = place.bank.project(model.clone()).partitions(4).events_max(37).start();
    running.wait_for(last, SOON).await.unwrap();
    let rows = all(&model).await;
    assert_eq!(rows, place.bank.live(Received).rows().await.unwrap());
    assert_eq!(rows[&RowKey::new("all")], 60);
}

async fn a_row_can_be_taken_away(place: Place) {
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = place.bank.project(model.clone()).start();
    let opened = append(&*place.store, "1", [MoneyDeposited { amount: 1 }]).await;
    running.wait_for(opened, SOON).await.unwrap();
    let again = [AccountClosed, MoneyDeposited { amount: 5 }, AccountClosed];
    let closed = append(&*place.store, "1", again).await;
    running.wait_for(closed, SOON).await.unwrap();
    assert_eq!(model.get("1").await.unwrap(), None);
    assert!(all(&model).await.is_empty());
}

async fn many_writers_are_followed(place: Place) {
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = place.bank.project(model.clone()).partitions(2).start();
    let writers = (0..8).map(|_| {
        let store = place.store.clone();
        tokio::spawn(async move { fill(&*store, 13, 60).await })
    });
    let mut last = Position::START;
    for writer in writers.collect::<Vec<_>>() {
        last = last.max(writer.await.unwrap());
    }
    running.wait_for(last, SOON).await.unwrap();
    assert_eq!(all(&model).await, place.bank.live(Balances).rows().await.unwrap());
}

async fn the_status_says_how_far_it_is_behind(place: Place) {
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = place.bank.project(model.clone()).start();
    let last = fill(&*place.store, 3, 10).await;
    running.wait_for(last, SOON).await.unwrap();
    running.pause().await.unwrap();
    running.stop().await;
    fill(&*place.store, 3, 25).await;
    let running = place.bank.project(model.clone()).start();
    let status = running.status().await.unwrap();
    assert_eq!((status.lag.events, status.lag.or_more), (25, false));
    assert!(status.head > status.info.active().unwrap().position());
    assert_eq!(status.info.state, SubscriberState::Paused);
}

#[tokio::test]
async fn the_store_is_asked_only_for_what_the_projection_wants() {
    let (store, rows) = (MemoryStore::new(), MemoryReadSide::new());
    let bank = Annals::new(store.clone());
    let model = ReadModel::new(Balances, rows);
    let query = annals::Projector::query(&model);
    let last = append(&store, "1", [MoneyDeposited { amount: 1 }]).await;
    let event: RecordedEvent =
        annals::EventStoreExt::read_to_end(&store, annals::Read::all()).await.unwrap().remove(0);
    assert!(query.matches(&event));
    assert!(!query.is_all());
    let running = bank.project(model).start();
    running.wait_for(last, SOON).await.unwrap();
}

#[tokio::test]
async fn one_may_wait_without_an_end() {
    let (store, rows) = (MemoryStore::new(), MemoryReadSide::new());
    let bank = Annals::new(store.clone());
    let running = bank.project(ReadModel::new(Balances, rows.clone())).start();
    let last = fill(&store, 5, 50).await;
    let waited = async {
        running.wait_for(last, Duration::MAX).await.unwrap();
        running.wait_for_rebuild(Duration::MAX).await.unwrap();
        let projections = Projections::over(bank, Arc::new(rows));
        projections.wait_for(running.name(), last, Duration::MAX).await.unwrap();
    };
    tokio::time::timeout(SOON, waited).await.unwrap();
}

#[tokio::test]
async fn rows_of_another_version_are_not_touched_unless_a_rebuild_is_asked_for() {
    let (store, rows) = (MemoryStore::new(), MemoryReadSide::new());
    let enrol = annals::Enrol {
        subscriber: "received".parse().unwrap(),
        version: 1,
        partitions: 1,
        after: Position::START,
        on_new_version: OnNewVersion::Refuse,
        now: annals::Timestamp::EPOCH,
    };
    annals::CheckpointStore::enrol(&rows, enrol).await.unwrap();
    let bank = Annals::new(store.clone());
    let last = fill(&store, 5, 50).await;
    let model = ReadModel::new(Received, rows.clone());

    let running = bank.project(model.clone()).start();
    let waited = running.wait_for(last, Duration::from_millis(300)).await;
    assert!(matches!(waited, Err(WaitError::TimedOut { .. })), "{waited:?}");
    let trouble = running.status().await.unwrap().trouble.unwrap();
    assert!(trouble.contains("version 1") && trouble.contains("rebuild"), "{trouble}");
    let waited = running.wait_for_rebuild(SOON).await;
    let Err(WaitError::NotEnrolled { trouble: told, .. }) = waited else { panic!("{waited:?}") };
    assert_eq!(told, trouble);
    running.stop().await;

    let running = bank.project(model.clone()).rebuilding_new_versions().start();
    running.wait_for(last, SOON).await.unwrap();
    assert_eq!(all(&model).await, bank.live(Received).rows().await.unwrap());
    let info = rows.row(&"received".parse().unwrap(), &"all".into()).await.unwrap();
    assert!(info.is_some());
}
