//! What is saved is what is loaded: the newest, whole, and of nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_core::error::{Invalid, SnapshotError};
use annals_core::{EventId, Limits, SelectSnapshots, Snapshot, Timestamp, Version};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use super::SnapshotBackend;
use super::probe::{Probe, snapshot};
use crate::probe::within;
use crate::storm::together;

pub(super) async fn snapshots_there_are_none_at_first(backend: &dyn SnapshotBackend) {
    let store = Probe::open(backend).await;
    assert_eq!(store.load("a-1", "f").await, None);
    assert_eq!(store.list(SelectSnapshots::all()).await, []);
    assert_eq!(store.drop(SelectSnapshots::all()).await, 0);
}

pub(super) async fn snapshots_come_back_as_they_were_saved(backend: &dyn SnapshotBackend) {
    let store = Probe::open(backend).await;
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let megabyte: Vec<u8> = every_byte.iter().copied().cycle().take(1024 * 1024).collect();
    for (number, state) in (1..).zip([Vec::new(), every_byte, megabyte]) {
        let saved = Snapshot { state: state.into(), ..snapshot("a-1", "f", number) };
        store.save(&saved).await;
        store.holds(&saved).await;
    }
    for (name, version, taken_at, id) in [
        ("first", Version::EMPTY, Timestamp::MIN, [0; 16]),
        ("last", Version::END, Timestamp::MAX, [0xff; 16]),
        ("between", Version::FIRST, Timestamp::from_micros(-1), [0x80; 16]),
    ] {
        let last_event = EventId::from_bytes(id);
        let saved = Snapshot { version, taken_at, last_event, ..snapshot(name, "f", 1) };
        store.save(&saved).await;
        store.holds(&saved).await;
        let which = SelectSnapshots::all().stream(saved.stream.clone());
        assert_eq!(store.list(which).await, [saved.info()]);
    }
}

pub(super) async fn snapshots_of_other_streams_and_folds_stay_apart(backend: &dyn SnapshotBackend) {
    let store = Probe::open(backend).await;
    let long = ["1", "2"].map(|end| format!("{}-{end}", "x".repeat(510)));
    let streams = [
        "a-1",
        "A-1",
        "a-10",
        "a-1 f",
        "a",
        "caf\u{e9}-1",
        "cafe\u{301}-1",
        "a'; DROP TABLE annals_snapshots; --",
        "%",
        "_",
        &long[0],
        &long[1],
    ];
    let long = ["f", "g"].map(|end| format!("{}{end}", "f".repeat(63)));
    let folds = ["f", "F", "f1", "f.1", "f-1", "f_1", "1", "1.0", &long[0], &long[1]];
    let pairs = streams.iter().flat_map(|stream| folds.map(|fold| (stream, fold)));
    let all: Vec<_> =
        (1..).zip(pairs).map(|(number, (stream, fold))| snapshot(stream, fold, number)).collect();
    store.save_all(&all).await;
    for saved in &all {
        store.holds(saved).await;
    }
    assert_eq!(store.list(SelectSnapshots::all()).await.len(), all.len());
    assert_eq!(store.load("a-2", "f").await, None);
    assert_eq!(store.load("a-1", "f2").await, None);
}

pub(super) async fn snapshots_the_newest_wins_in_any_order(backend: &dyn SnapshotBackend) {
    let store = Probe::open(backend).await;
    // Compared as numbers: as texts, 9 would come behind 10.
    for (number, order) in orders(&[2, 9, 10, 100]).into_iter().enumerate() {
        let name = format!("a-{number}");
        let mut newest = 0;
        for version in order {
            store.save(&snapshot(&name, "f", version)).await;
            newest = newest.max(version);
            store.holds(&snapshot(&name, "f", newest)).await;
        }
    }
}

/// Every order of these numbers.
fn orders(numbers: &[u64]) -> Vec<Vec<u64>> {
    if numbers.is_empty() {
        return vec![Vec::new()];
    }
    let beginning_with = |first: u64| {
        let rest: Vec<_> = numbers.iter().copied().filter(|number| *number != first).collect();
        orders(&rest).into_iter().map(move |order| [vec![first], order].concat())
    };
    numbers.iter().flat_map(|first| beginning_with(*first)).collect()
}

/// Whoever finds that a snapshot cannot be used saves a better one, at the same version.
pub(super) async fn snapshots_one_of_the_same_version_takes_its_place(
    backend: &dyn SnapshotBackend,
) {
    let store = Probe::open(backend).await;
    store.save(&snapshot("a-1", "f", 7)).await;
    let other = snapshot("a-1", "f", 8);
    let better = Snapshot { version: Version::new(7), ..other };
    store.save(&better).await;
    store.holds(&better).await;
    assert_eq!(store.list(SelectSnapshots::all()).await, [better.info()]);
}

const TASKS: usize = 32;
/// Two for each task: all begin at once, when nobody's is there.
const VERSIONS: u64 = 64;

pub(super) async fn snapshots_the_newest_wins_among_32_tasks(backend: &dyn SnapshotBackend) {
    let store = Probe::open(backend).await;
    for round in 0..12 {
        let name = format!("a-{round}");
        let mut versions: Vec<u64> = (1..=VERSIONS).collect();
        versions.shuffle(&mut SmallRng::seed_from_u64(round));
        let shares: Vec<Vec<u64>> =
            versions.chunks(versions.len() / TASKS).map(<[u64]>::to_vec).collect();
        together(TASKS, |task| {
            let (store, name, share) = (store.clone(), name.clone(), shares[task].clone());
            async move {
                for version in share {
                    store.save(&snapshot(&name, "f", version)).await;
                    let found = store.load(&name, "f").await.map(|found| found.version.get());
                    assert!(found >= Some(version), "{version} was saved, but {found:?} is there");
                }
            }
        })
        .await;
        store.holds(&snapshot(&name, "f", VERSIONS)).await;
    }
}

/// Readers beside writers see one snapshot or the other, never parts of both, and never an older
/// one than before.
pub(super) async fn snapshots_are_never_torn(backend: &dyn SnapshotBackend) {
    const SAVES: u64 = 80;
    let large = |version: u64| {
        let fill = version.to_le_bytes()[0];
        Snapshot { state: vec![fill; 100_000].into(), ..snapshot("a-1", "f", version) }
    };
    let store = Probe::open(backend).await;
    store.save(&large(1)).await;
    let next = Arc::new(AtomicU64::new(2));
    together(8, |task| {
        let (store, next) = (store.clone(), next.clone());
        async move {
            let mut seen = 1;
            loop {
                let version = next.fetch_add(u64::from(task % 2 == 0), Ordering::Relaxed);
                if version > SAVES {
                    return;
                }
                if task % 2 == 0 {
                    store.save(&large(version)).await;
                    continue;
                }
                let found = store.load("a-1", "f").await.expect("a snapshot that nobody drops");
                let version = found.version.get();
                assert!(version >= seen, "version {seen} was there, and then {version}");
                assert!(found == large(version), "{found:?} is not as it was saved");
                seen = version;
            }
        }
    })
    .await;
    store.holds(&large(SAVES)).await;
}

pub(super) async fn snapshots_larger_than_the_limit_are_refused(backend: &dyn SnapshotBackend) {
    let mut ten = Limits::DEFAULT;
    ten.snapshot_bytes_max = 10;
    for limits in [ten, Limits::DEFAULT] {
        let max = limits.snapshot_bytes_max;
        let store = Probe { store: backend.open(limits).await };
        let of = |version: u64, bytes: usize| Snapshot {
            state: vec![b'x'; bytes].into(),
            ..snapshot("a-1", "f", version)
        };
        store.save(&of(1, max)).await;
        let refused = within("a save", store.store.save_snapshot(of(2, max + 1))).await;
        match refused {
            Err(SnapshotError::Invalid(Invalid::LimitExceeded { limit, max: told, actual })) => {
                assert_eq!((limit, told, actual), ("snapshot_bytes_max", max, max + 1));
            }
            other => panic!("must exceed snapshot_bytes_max = {max}, but: {other:?}"),
        }
        store.holds(&of(1, max)).await;
    }
}
