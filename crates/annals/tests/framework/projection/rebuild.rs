//! Making the rows anew, beside those that are read.

use std::time::Duration;

use annals::{
    Annals, MemoryReadSide, MemoryStore, Projection, ProjectionState, ReadModel, Rebuild,
    RecordedEvent, RowKey,
};

use crate::projection::bank::{AccountEvent, Balance, Balances, MoneyDeposited, append, fill};
use crate::projection::places::{Place, SOON, in_each_place};
use crate::projection::running::all;

in_each_place![
    the_old_rows_are_read_until_the_new_ones_have_come_as_far,
    a_rebuild_goes_on_where_it_was,
    a_rebuild_changes_the_number_of_parts,
    a_rebuild_may_begin_at_a_position,
    a_new_version_takes_the_old_ones_place,
    a_rebuild_can_be_given_up,
    a_rebuild_keeps_the_pace_that_was_asked_for,
    old_rows_are_swept_away,
];

async fn the_old_rows_are_read_until_the_new_ones_have_come_as_far(place: Place) {
    let last = fill(&*place.store, 10, 300).await;
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = place.bank.project(model.clone()).events_max(20).start();
    running.wait_for(last, SOON).await.unwrap();
    let expected = all(&model).await;
    running.rebuild(Rebuild::new()).await.unwrap();
    // Whoever reads meanwhile sees the rows as they always were, whole.
    let rebuilt = running.wait_for_rebuild(SOON);
    tokio::pin!(rebuilt);
    let mut reads = 0;
    loop {
        tokio::select! {
            biased;
            done = &mut rebuilt => { done.unwrap(); break }
            () = tokio::task::yield_now() => {
                assert_eq!(all(&model).await, expected);
                reads += 1;
            }
        }
    }
    assert!(reads > 0);
    assert_eq!(all(&model).await, expected);
    let info = place.rows.subscriber(running.name()).await.unwrap().unwrap();
    assert_eq!(info.active().unwrap().generation.get(), 2);
    // And it goes on.
    let last = fill(&*place.store, 10, 50).await;
    running.wait_for(last, SOON).await.unwrap();
    assert_eq!(all(&model).await, place.bank.live(Balances).rows().await.unwrap());
}

async fn a_rebuild_goes_on_where_it_was(place: Place) {
    let last = fill(&*place.store, 10, 400).await;
    let model = ReadModel::new(Balances, place.rows.clone());
    let run = || place.bank.project(model.clone()).events_max(10).rebuild_pace(500).start();
    let running = run();
    running.wait_for(last, SOON).await.unwrap();
    running.rebuild(Rebuild::new()).await.unwrap();
    let building = async || {
        let info = place.rows.subscriber(&"balances".parse().unwrap()).await.unwrap().unwrap();
        info.building().cloned()
    };
    let begun = async {
        while building().await.is_none_or(|one| one.partitions[0].events < 50) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, begun).await.unwrap();
    drop(running);

    let running = run();
    running.wait_for_rebuild(SOON).await.unwrap();
    let info = place.rows.subscriber(running.name()).await.unwrap().unwrap();
    let active = info.active().unwrap();
    assert_eq!((active.generation.get(), active.partitions[0].events), (2, 400), "each event once");
    assert_eq!(all(&model).await, place.bank.live(Balances).rows().await.unwrap());
}

async fn a_rebuild_changes_the_number_of_parts(place: Place) {
    let last = fill(&*place.store, 30, 200).await;
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = place.bank.project(model.clone()).start();
    running.wait_for(last, SOON).await.unwrap();
    running.rebuild(Rebuild::new().partitions(3)).await.unwrap();
    running.wait_for_rebuild(SOON).await.unwrap();
    let info = place.rows.subscriber(running.name()).await.unwrap().unwrap();
    let parts = &info.active().unwrap().partitions;
    assert_eq!(parts.len(), 3);
    assert!(parts.iter().all(|part| part.events > 0), "{parts:?}");
    let last = fill(&*place.store, 30, 100).await;
    running.wait_for(last, SOON).await.unwrap();
    assert_eq!(all(&model).await, place.bank.live(Balances).rows().await.unwrap());
}

async fn a_rebuild_may_begin_at_a_position(place: Place) {
    let before = append(&*place.store, "1", [MoneyDeposited { amount: 7 }]).await;
    let last = append(&*place.store, "1", [MoneyDeposited { amount: 1 }]).await;
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = place.bank.project(model.clone()).start();
    running.wait_for(last, SOON).await.unwrap();
    running.rebuild(Rebuild::new().after(before)).await.unwrap();
    running.wait_for_rebuild(SOON).await.unwrap();
    assert_eq!(model.get("1").await.unwrap(), Some(Balance { held: 1, events: 1 }));
}

/// Balances as tomorrow's code makes them.
struct Doubled;

impl Projection for Doubled {
    type Event = AccountEvent;
    type Row = Balance;
    const NAME: &'static str = Balances::NAME;
    const VERSION: u32 = 2;

    fn apply(
        &self,
        key: &RowKey,
        row: Option<Balance>,
        event: &AccountEvent,
        recorded: &RecordedEvent,
    ) -> Option<Balance> {
        let once = Balances.apply(key, row, event, recorded)?;
        Balances.apply(key, Some(once), event, recorded)
    }
}

async fn a_new_version_takes_the_old_ones_place(place: Place) {
    let last = fill(&*place.store, 5, 100).await;
    let old = ReadModel::new(Balances, place.rows.clone());
    let yesterday = place.bank.project(old.clone()).lease(Duration::from_millis(300)).start();
    yesterday.wait_for(last, SOON).await.unwrap();

    let new = ReadModel::new(Doubled, place.rows.clone());
    let today = place.bank.project(new.clone()).rebuilding_new_versions().start();
    let swapped = async {
        while all(&new).await != place.bank.live(Doubled).rows().await.unwrap() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, swapped).await.unwrap();
    // Yesterday's process, still there, writes nothing any more, and does not take it back when
    // it is started again.
    yesterday.stop().await;
    let yesterday = place.bank.project(old.clone()).rebuilding_new_versions().start();
    let last = fill(&*place.store, 5, 30).await;
    today.wait_for(last, SOON).await.unwrap();
    assert_eq!(all(&new).await, place.bank.live(Doubled).rows().await.unwrap());
    assert!(yesterday.status().await.unwrap().info.building().is_none());
}

async fn a_rebuild_can_be_given_up(place: Place) {
    let last = fill(&*place.store, 5, 200).await;
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = place.bank.project(model.clone()).events_max(5).rebuild_pace(50).start();
    running.wait_for(last, SOON).await.unwrap();
    running.rebuild(Rebuild::new()).await.unwrap();
    assert_eq!(running.status().await.unwrap().state(), ProjectionState::Rebuilding);
    running.cancel_rebuild().await.unwrap();
    running.wait_for_rebuild(SOON).await.unwrap();
    let info = place.rows.subscriber(running.name()).await.unwrap().unwrap();
    assert_eq!(info.active().unwrap().generation.get(), 1);
    let last = fill(&*place.store, 5, 20).await;
    running.wait_for(last, SOON).await.unwrap();
    assert_eq!(all(&model).await, place.bank.live(Balances).rows().await.unwrap());
}

async fn a_rebuild_keeps_the_pace_that_was_asked_for(place: Place) {
    let last = fill(&*place.store, 5, 100).await;
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = place.bank.project(model.clone()).events_max(10).rebuild_pace(100).start();
    running.wait_for(last, SOON).await.unwrap();
    let begun = tokio::time::Instant::now();
    running.rebuild(Rebuild::new()).await.unwrap();
    running.wait_for_rebuild(SOON).await.unwrap();
    // 100 events at 100 a second; the last stretch needs no pause behind it.
    assert!(begun.elapsed() >= Duration::from_millis(850), "{:?}", begun.elapsed());
}

async fn old_rows_are_swept_away(place: Place) {
    let last = fill(&*place.store, 50, 60).await;
    let model = ReadModel::new(Balances, place.rows.clone());
    let running = place.bank.project(model.clone()).start();
    running.wait_for(last, SOON).await.unwrap();
    running.rebuild(Rebuild::new()).await.unwrap();
    running.wait_for_rebuild(SOON).await.unwrap();
    let info = place.rows.subscriber(running.name()).await.unwrap().unwrap();
    let keep = [info.active().unwrap().generation];
    let swept = async {
        while place.rows.sweep_rows(running.name(), &keep, 1_000).await.unwrap() > 0 {}
        // Nothing is left behind, and what is read is still there.
        assert_eq!(all(&model).await.len(), 50);
    };
    tokio::time::timeout(SOON, swept).await.unwrap();
}

/// On one thread, so that nothing happens between starting and waiting.
#[tokio::test]
async fn whoever_starts_a_new_version_can_wait_for_its_rebuild_at_once() {
    let (store, rows) = (MemoryStore::new(), MemoryReadSide::new());
    let bank = Annals::new(store.clone());
    let last = fill(&store, 5, 100).await;
    let old = bank.project(ReadModel::new(Balances, rows.clone())).start();
    old.wait_for(last, SOON).await.unwrap();
    old.stop().await;

    let new = ReadModel::new(Doubled, rows);
    let running = bank.project(new.clone()).rebuilding_new_versions().start();
    running.wait_for_rebuild(SOON).await.unwrap();
    assert_eq!(all(&new).await, bank.live(Doubled).rows().await.unwrap());
}
