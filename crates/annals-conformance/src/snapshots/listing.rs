//! Lists: in order, complete, and as long as they need to be.

use annals_core::{SelectSnapshots, Snapshot, SnapshotInfo};
use futures_util::StreamExt;

use super::SnapshotBackend;
use super::probe::{Probe, snapshot};
use crate::probe::within;
use crate::words::{category, stream};

pub(super) async fn snapshots_are_listed_by_stream_and_fold(backend: &dyn SnapshotBackend) {
    let store = Probe::open(backend).await;
    // In the order of their bytes, which is nobody's alphabet.
    let names = ["A-1", "Z-1", "a", "a!", "a-1", "a-10", "a-2", "a1", "ab-1", "\u{e9}-1"];
    let folds = ["1", "F", "f", "f-1", "f.1", "f1", "f_1"];
    let in_order: Vec<_> = names
        .iter()
        .flat_map(|name| folds.map(|fold| snapshot(name, fold, fold.len() as u64)))
        .collect();
    let mut saved = in_order.clone();
    saved.reverse();
    store.save_all(&saved).await;
    same_infos(&infos(&in_order), &store.list(SelectSnapshots::all()).await);
    // The place of a newer one is that of the older.
    let newer = snapshot("a-1", "f", 50);
    store.save(&newer).await;
    let of_stream = SelectSnapshots::all().stream(stream("a-1"));
    let expected: Vec<_> = folds
        .iter()
        .map(|fold| {
            if *fold == "f" {
                newer.info()
            } else {
                snapshot("a-1", fold, fold.len() as u64).info()
            }
        })
        .collect();
    same_infos(&expected, &store.list(of_stream).await);
}

const MANY: usize = 2_500;

/// Two folds for each of many streams, in the order they are listed in.
fn many() -> Vec<Snapshot> {
    let names = (0..MANY / 2).map(|number| format!("many-{number:05}"));
    names.flat_map(|name| ["f", "g"].map(|fold| snapshot(&name, fold, 3))).collect()
}

pub(super) async fn snapshots_by_the_thousand_are_listed(backend: &dyn SnapshotBackend) {
    let store = Probe::open(backend).await;
    let all = many();
    store.save_all(&all).await;
    store.save(&snapshot("other-1", "f", 1)).await;
    let of_category = SelectSnapshots::all().category(category("many"));
    same_infos(&infos(&all), &store.list(of_category.clone()).await);
    assert_eq!(store.drop(of_category).await, MANY as u64);
    assert_eq!(store.names(SelectSnapshots::all()).await, ["other-1 f"]);
}

/// A list ends well though its ground goes away: what is gone may be left out.
pub(super) async fn snapshots_may_be_dropped_while_they_are_listed(backend: &dyn SnapshotBackend) {
    let store = Probe::open(backend).await;
    let all = infos(&many());
    store.save_all(&many()).await;
    let mut list = store.store.snapshots(SelectSnapshots::all());
    let mut listed = Vec::new();
    for _ in 0..10 {
        listed.push(within("the next", list.next()).await.expect("there are more"));
    }
    assert_eq!(store.drop(SelectSnapshots::all()).await, MANY as u64);
    while let Some(next) = within("the next", list.next()).await {
        listed.push(next);
    }
    let mut rest = all.iter();
    for info in listed {
        let info = info.unwrap_or_else(|error| panic!("the list must go on, but: {error:?}"));
        assert!(rest.any(|expected| *expected == info), "{info:?} is not next, or not one of them");
    }
}

/// Whoever has seen enough goes away, and holds up nobody.
pub(super) async fn snapshots_listing_may_stop_half_way(backend: &dyn SnapshotBackend) {
    let store = Probe::open(backend).await;
    store.save_all(&many()).await;
    let mut open = Vec::new();
    for _ in 0..20 {
        let mut list = store.store.snapshots(SelectSnapshots::all());
        let first = within("the first", list.next()).await;
        assert!(matches!(first, Some(Ok(_))), "a list begins, but: {first:?}");
        open.push(list);
    }
    store.save(&snapshot("many-00000", "f", 4)).await;
    store.holds(&snapshot("many-00000", "f", 4)).await;
    drop(open);
    assert_eq!(store.list(SelectSnapshots::all()).await.len(), MANY);
}

fn infos(snapshots: &[Snapshot]) -> Vec<SnapshotInfo> {
    snapshots.iter().map(Snapshot::info).collect()
}

#[track_caller]
fn same_infos(expected: &[SnapshotInfo], found: &[SnapshotInfo]) {
    let differ = expected.iter().zip(found).find(|(left, right)| left != right);
    assert!(differ.is_none(), "the list differs, first where {differ:?} (expected, found)");
    assert_eq!(expected.len(), found.len(), "so many must be listed");
}
