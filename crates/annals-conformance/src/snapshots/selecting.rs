//! Criteria: each by itself, and several together.

use annals_core::{SelectSnapshots, StreamId};

use super::SnapshotBackend;
use super::probe::{Probe, fold, snapshot, taken};
use crate::words::{category, stream};

/// Versions, and so the moments they were taken at, are 1 to 8 in this order.
const SAVED: [(&str, &str); 8] = [
    ("a", "f"),
    ("a!1", "f"),
    ("a-1", "f"),
    ("a-1", "g"),
    ("a-2", "f"),
    ("a.b-1", "f"),
    ("ab-1", "g"),
    ("b-1", "f"),
];

async fn open(backend: &dyn SnapshotBackend) -> Probe {
    let store = Probe::open(backend).await;
    for (version, (stream, fold)) in (1..).zip(SAVED) {
        store.save(&snapshot(stream, fold, version)).await;
    }
    store
}

fn all() -> SelectSnapshots {
    SelectSnapshots::all()
}

pub(super) async fn snapshots_are_selected_by_each_criterion(backend: &dyn SnapshotBackend) {
    let store = open(backend).await;
    for (which, expected) in [
        (all().stream(stream("a-1")), vec!["a-1 f", "a-1 g"]),
        (all().stream(stream("a")), vec!["a f"]),
        (all().stream(stream("none-1")), vec![]),
        (all().category(category("a")), vec!["a f", "a-1 f", "a-1 g", "a-2 f"]),
        (all().category(category("a.b")), vec!["a.b-1 f"]),
        (all().category(category("none")), vec![]),
        (all().fold(fold("g")), vec!["a-1 g", "ab-1 g"]),
        (all().fold(fold("F")), vec![]),
        (all().every_fold_but(fold("f")), vec!["a-1 g", "ab-1 g"]),
        (all().taken_before(taken(3)), vec!["a f", "a!1 f"]),
        (all().taken_before(taken(1)), vec![]),
    ] {
        assert_eq!(store.names(which.clone()).await, expected, "{which:?}");
    }
    let others = all().every_fold_but(fold("unused"));
    assert_eq!(store.list(others).await.len(), SAVED.len());
}

pub(super) async fn snapshots_are_selected_by_several_criteria(backend: &dyn SnapshotBackend) {
    let store = open(backend).await;
    for (which, expected) in [
        (all().stream(stream("a-1")).fold(fold("g")), vec!["a-1 g"]),
        (all().stream(stream("a-1")).category(category("b")), vec![]),
        (all().category(category("a")).every_fold_but(fold("f")), vec!["a-1 g"]),
        (all().category(category("a")).taken_before(taken(4)), vec!["a f", "a-1 f"]),
        (all().fold(fold("f")).every_fold_but(fold("f")), vec![]),
        (all().fold(fold("f")).taken_before(taken(4)), vec!["a f", "a!1 f", "a-1 f"]),
        (
            all().category(category("a")).fold(fold("f")).taken_before(taken(5)),
            vec!["a f", "a-1 f"],
        ),
    ] {
        assert_eq!(store.names(which.clone()).await, expected, "{which:?}");
    }
}

pub(super) async fn snapshots_are_dropped_as_selected(backend: &dyn SnapshotBackend) {
    let store = open(backend).await;
    let mut left: Vec<_> = SAVED.map(|(stream, fold)| format!("{stream} {fold}")).into();
    for (which, dropped) in [
        (all().stream(stream("none-1")), vec![]),
        (all().category(category("a")).fold(fold("g")), vec!["a-1 g"]),
        (all().category(category("a")).fold(fold("g")), vec![]),
        (all().taken_before(taken(2)), vec!["a f"]),
        (all().every_fold_but(fold("f")), vec!["ab-1 g"]),
        (all().stream(stream("a-1")), vec!["a-1 f"]),
        (all().category(category("a")), vec!["a-2 f"]),
        (all(), vec!["a!1 f", "a.b-1 f", "b-1 f"]),
    ] {
        assert_eq!(store.drop(which.clone()).await, dropped.len() as u64, "{which:?}");
        left.retain(|name| !dropped.contains(&name.as_str()));
        assert_eq!(store.names(all()).await, left, "after dropping {which:?}");
    }
}

/// A log that was restored goes on below the version of a snapshot it knows nothing of: once
/// that is dropped, there is no memory of its version.
pub(super) async fn snapshots_dropped_ones_are_saved_anew(backend: &dyn SnapshotBackend) {
    let store = open(backend).await;
    let name = "a-1";
    assert_eq!(store.drop(all().stream(StreamId::from_static(name)).fold(fold("f"))).await, 1);
    assert_eq!(store.load(name, "f").await, None);
    store.save(&snapshot(name, "f", 1)).await;
    store.holds(&snapshot(name, "f", 1)).await;
    store.holds(&snapshot(name, "g", 4)).await;
}
