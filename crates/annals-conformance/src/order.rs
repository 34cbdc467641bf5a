//! S4: positions order the log, and every reader sees that one order.

use annals_core::{Append, ExpectedVersion, Position, Query, QueryItem, Read, RecordedEvent};

use crate::Backend;
use crate::probe::{Probe, same_events};
use crate::storm::storm;
use crate::words::{category, events, stream, typed};

use ExpectedVersion::Any;

pub(crate) async fn s4_positions_rise_with_each_append(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let mut last = Position::START;
    for round in 0..6 {
        let append = Append::to(stream(format!("a-{}", round % 2)), Any, events("Made", 2));
        let receipt = store.accepts(append).await;
        assert!(receipt.first_position > last, "{receipt:?} must stand behind {last:?}");
        assert!(receipt.last_position > receipt.first_position, "{receipt:?}");
        last = receipt.last_position;
    }
    assert!(last < Position::END);
    store.log().await;
}

pub(crate) async fn s4_receipts_name_the_first_and_the_last_position(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    for round in 0..3 {
        let append = Append::to(stream("b-1"), Any, events("Made", 2)).and_to(
            stream("a-1"),
            Any,
            events("Made", 1 + round),
        );
        let receipt = store.accepts(append.clone()).await;
        let found = store
            .read(Read::all().after(receipt.first_position).up_to(receipt.last_position))
            .await;
        let ids: Vec<_> = append.events().map(|event| event.id).collect();
        let found: Vec<_> = found.iter().map(|event| event.id).collect();
        assert_eq!(found, ids[1..], "behind the first position and up to the last");
        let names: Vec<_> = receipt.streams.iter().map(|part| part.stream.as_str()).collect();
        assert_eq!(names, ["b-1", "a-1"], "streams in the append's order");
    }
}

/// After a storm, every way to read the same events must give the same order.
pub(crate) async fn s4_every_reader_sees_the_same_order(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    storm(&store, 8, 4, |writer, number| {
        let kind = ["Red", "Green"][number % 2];
        Append::to(stream(format!("left-{}", writer % 3)), Any, events(kind, 1 + number % 2))
            .and_to(stream(format!("right-{writer}")), Any, events("Blue", 1))
    })
    .await;
    let log = store.log().await;
    let mut backward = store.read(Read::all().backward()).await;
    backward.reverse();
    same_events("the log read backward", &log, &backward);

    let left = Query::of(QueryItem::new().category(category("left")));
    let either = typed(["Red", "Green"]).or(QueryItem::new().category(category("left")));
    for query in [left, either, typed(["Blue", "Red"])] {
        let expected = pick(&log, |event| query.matches(event));
        let found = store.read(Read::query(query.clone())).await;
        same_events(&format!("{query:?}"), &expected, &found);
        let mut found = store.read(Read::query(query.clone()).backward()).await;
        found.reverse();
        same_events(&format!("{query:?} backward"), &expected, &found);
    }
    for n in 0..3 {
        let name = stream(format!("left-{n}"));
        let expected = pick(&log, |event| event.stream == name);
        let found = store.read(Read::stream(name.clone())).await;
        same_events(name.as_str(), &expected, &found);
    }
}

pub(crate) async fn s4_appends_of_32_writers_stay_contiguous(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let outcomes = storm(&store, 32, 3, |writer, number| {
        Append::to(stream("shared-1"), Any, events("Made", 1 + writer % 3)).and_to(
            stream(format!("own-{writer}")),
            Any,
            events("Made", 1 + number),
        )
    })
    .await;
    let log = store.log().await;
    for outcome in &outcomes {
        let receipt = outcome.receipt();
        let within = receipt.first_position..=receipt.last_position;
        let stored: Vec<_> = log
            .iter()
            .filter(|event| within.contains(&event.position))
            .map(|event| event.id)
            .collect();
        let given: Vec<_> = outcome.append.events().map(|event| event.id).collect();
        assert_eq!(stored, given, "between the positions of {receipt:?}");
    }
}

fn pick(log: &[RecordedEvent], which: impl Fn(&RecordedEvent) -> bool) -> Vec<RecordedEvent> {
    log.iter().filter(|event| which(event)).cloned().collect()
}
