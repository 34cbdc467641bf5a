//! S3: a stream's versions are 1..n without gaps or repeats, whatever the concurrency.

use annals_core::{Append, ExpectedVersion, Read, Version};

use crate::Backend;
use crate::probe::{Probe, line};
use crate::storm::storm;
use crate::words::{events, exact, stream};

use ExpectedVersion::{Any, NoStream};

pub(crate) async fn s3_a_stream_counts_from_one(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    for (count, version) in [(1, 1), (3, 4), (2, 6)] {
        let receipt = store.accepts(Append::to(stream("a-1"), Any, events("Made", count))).await;
        assert_eq!(receipt.version_of(&stream("a-1")), Some(Version::new(version)));
    }
    let versions: Vec<_> = store.log().await.iter().map(|event| event.version.get()).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
}

pub(crate) async fn s3_streams_count_apart(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let names = ["a-1", "a-2", "a", "a-1-1"].map(stream);
    for round in 1..=3 {
        let append = names.iter().fold(Append::default(), |append, name| {
            append.and_to(name.clone(), Any, events("Made", 2))
        });
        let receipt = store.accepts(append).await;
        for name in &names {
            assert_eq!(receipt.version_of(name), Some(Version::new(2 * round)), "{name}");
        }
    }
    store.log().await;
}

pub(crate) async fn s3_refused_appends_leave_no_gap(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    for version in 0..4 {
        let to = |expected| Append::to(stream("a-1"), expected, events("Made", 1));
        store.conflicts(to(exact(version + 1))).await;
        store.accepts(to(exact(version))).await;
        store.conflicts(to(NoStream)).await;
    }
    let last = store.log().await.pop().map(|event| event.version);
    assert_eq!(last, Some(Version::new(4)));
}

pub(crate) async fn s3_32_writers_leave_no_gap_and_no_repeat(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let outcomes = storm(&store, 32, 4, |writer, number| {
        let shared = stream(format!("shared-{}", (writer + number) % 3));
        Append::to(shared, Any, events("Made", 1 + number % 3))
    })
    .await;
    let written: usize = outcomes
        .iter()
        .map(|outcome| {
            outcome.receipt();
            outcome.append.events().count()
        })
        .sum();
    let log = store.log().await;
    assert_eq!(log.len(), written, "events found of those acknowledged");
    for n in 0..3 {
        let name = stream(format!("shared-{n}"));
        let found = store.read(Read::stream(name.clone())).await;
        let versions: Vec<_> = found.iter().map(|event| event.version.get()).collect();
        assert_eq!(versions, (1..=found.len() as u64).collect::<Vec<_>>(), "{name}");
    }
}

pub(crate) async fn s3_receipts_of_32_writers_agree_with_the_log(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let outcomes = storm(&store, 32, 3, |writer, number| {
        Append::to(stream(format!("shared-{}", writer % 2)), Any, events("Made", 1 + number))
            .and_to(stream(format!("own-{writer}")), exact(2 * number as u64), events("Made", 2))
    })
    .await;
    let log = store.log().await;
    for outcome in &outcomes {
        let receipt = outcome.receipt();
        for part in &outcome.append.streams {
            let last = &part.events[part.events.len() - 1];
            let stored = log.iter().find(|event| event.id == last.id);
            let stored = stored.unwrap_or_else(|| panic!("event {} is not in the log", last.id));
            assert_eq!(
                receipt.version_of(&part.stream),
                Some(stored.version),
                "the receipt's version of {}, stored as {}",
                part.stream,
                line(stored)
            );
        }
    }
}
