//! Snapshots are found again by whoever opens the place they were saved at.

use annals_core::{SelectSnapshots, Snapshot};

use super::DurableSnapshots;
use super::probe::{Probe, fold, snapshot};

pub(super) async fn snapshots_are_found_after_opening_again(backend: &dyn DurableSnapshots) {
    let large = Snapshot { state: vec![0xa5; 1024 * 1024].into(), ..snapshot("a-1", "f", 3) };
    let saved = [large, snapshot("a-1", "g", 2), snapshot("b-1", "f", 1)];
    let store = Probe::open_at(backend, "place").await;
    store.save_all(&saved).await;
    drop(store);
    for _ in 0..2 {
        let store = Probe::open_at(backend, "place").await;
        for snapshot in &saved {
            store.holds(snapshot).await;
        }
        let infos: Vec<_> = saved.iter().map(Snapshot::info).collect();
        assert_eq!(store.list(SelectSnapshots::all()).await, infos);
    }
}

pub(super) async fn snapshots_the_newest_wins_after_opening_again(backend: &dyn DurableSnapshots) {
    let mut newest = 0;
    for version in [5, 3, 5, 8, 2] {
        let store = Probe::open_at(backend, "place").await;
        store.save(&snapshot("a-1", "f", version)).await;
        newest = newest.max(version);
        store.holds(&snapshot("a-1", "f", newest)).await;
    }
}

pub(super) async fn snapshots_dropped_ones_stay_away_after_opening_again(
    backend: &dyn DurableSnapshots,
) {
    let store = Probe::open_at(backend, "place").await;
    store.save_all(&[snapshot("a-1", "f", 1), snapshot("a-1", "g", 1)]).await;
    assert_eq!(store.drop(SelectSnapshots::all().fold(fold("f"))).await, 1);
    drop(store);
    let store = Probe::open_at(backend, "place").await;
    assert_eq!(store.load("a-1", "f").await, None);
    assert_eq!(store.names(SelectSnapshots::all()).await, ["a-1 g"]);
}
