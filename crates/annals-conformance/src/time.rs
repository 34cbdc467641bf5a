//! S9: `recorded_at` is the store's, `occurred_at` the caller's.

use std::sync::Arc;
use std::time::Duration;

use annals_core::{
    Append, Direction, ExpectedVersion, Limits, ManualClock, Position, Query, QueryItem, Read,
    Timestamp,
};

use crate::probe::{Probe, line, same_events};
use crate::storm::storm;
use crate::words::{category, event, events, stream, tag, typed};
use crate::{Backend, Configurable};

use ExpectedVersion::Any;

/// 2026-03-01T12:00:00.000001Z: the last microsecond would be the first thing to be lost.
const NOON: i64 = 1_772_366_400_000_001;

fn noon_and(micros: i64) -> Timestamp {
    Timestamp::from_micros(NOON + micros)
}

pub(crate) async fn s9_an_append_is_recorded_at_one_moment(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let mut last = Timestamp::MIN;
    for n in 0..4 {
        let append = Append::to(stream(format!("a-{}", n % 2)), Any, events("Made", 2)).and_to(
            stream("b-1"),
            Any,
            events("Made", 1),
        );
        let receipt = store.accepts(append).await;
        assert!(receipt.recorded_at >= last, "appends one after the other must not go back");
        last = receipt.recorded_at;
        let bounds = Read::all().after(Position::new(receipt.first_position.get() - 1));
        for event in store.read(bounds).await {
            assert_eq!(event.recorded_at, receipt.recorded_at, "{}", line(&event));
        }
    }
}

pub(crate) async fn s9_recorded_at_does_not_decrease_under_32_writers(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let outcomes = storm(&store, 32, 3, |writer, number| {
        Append::to(stream(format!("shared-{}", writer % 3)), Any, events("Made", 1 + number))
    })
    .await;
    let log = store.log().await;
    for outcome in &outcomes {
        let receipt = outcome.receipt();
        let first = log.iter().find(|event| event.position == receipt.first_position);
        assert_eq!(first.map(|event| event.recorded_at), Some(receipt.recorded_at));
    }
}

pub(crate) async fn s9_occurred_at_is_the_callers(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let moments =
        [Timestamp::EPOCH, noon_and(0), Timestamp::from_micros(-1), Timestamp::MIN, Timestamp::MAX];
    let told = moments.map(|moment| event("Made").occurred_at(moment));
    let receipt = store.accepts(Append::to(stream("a-1"), Any, told)).await;
    store.accepts(Append::to(stream("a-1"), Any, events("Made", 1))).await;
    let log = store.log().await;
    for (event, moment) in log.iter().zip(moments) {
        assert_eq!(event.occurred_at, moment);
        assert_eq!(event.recorded_at, receipt.recorded_at, "told moments change nothing here");
    }
    assert_eq!(log[5].occurred_at, log[5].recorded_at, "the default is the recorded moment");
}

/// What was so at a moment that has passed stays so, whatever is appended later.
pub(crate) async fn s9_as_at_has_one_answer_for_ever(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let mut answers = Vec::new();
    for n in 0..6 {
        let append = Append::to(stream(format!("a-{}", n % 2)), Any, events("Made", 2));
        let moment = store.accepts(append).await.recorded_at;
        // A moment has passed once something was recorded after it.
        loop {
            let tick = store.accepts(Append::to(stream("tick"), Any, events("Tick", 1))).await;
            if tick.recorded_at > moment {
                break;
            }
        }
        for read in [Read::all(), Read::stream(stream("a-1")), Read::query(typed(["Made"]))] {
            let read = read.as_at(moment);
            answers.push((read.clone(), store.read(read).await));
        }
        for (read, answer) in &answers {
            same_events(&format!("{read:?}"), answer, &store.read(read.clone()).await);
        }
    }
    let log = store.log().await;
    for (read, answer) in answers {
        let expected: Vec<_> = log.iter().filter(|event| read.selects(event)).cloned().collect();
        same_events(&format!("{read:?}"), &expected, &answer);
    }
}

/// A moment long ago is found behind all that has matched since, however it is indexed: more than
/// a store looks at in one go.
pub(crate) async fn s9_as_at_looks_behind_what_came_later(backend: &dyn Backend) {
    const LATER: usize = 300;
    let store = Probe::open(backend).await;
    let seats = |name: &str, seat: &str, count| {
        let taken = events("Taken", count).into_iter().map(|event| event.tagged(tag(seat)));
        Append::to(stream(name), Any, taken)
    };
    store.accepts(seats("hall-1", "seat:1", 2)).await;
    let moment = store.accepts(seats("hall-2", "seat:2", 2)).await.recorded_at;
    while store.accepts(seats("hall-1", "seat:2", 1)).await.recorded_at <= moment {}
    store.accepts(seats("hall-1", "seat:1", LATER)).await;
    store.accepts(seats("hall-2", "seat:2", LATER)).await;

    let log = store.log().await;
    let seat = |name: &str| QueryItem::new().tag(tag(name));
    let hall = || QueryItem::new().stream(stream("hall-1"));
    let queries = [
        Query::all(),
        typed(["Taken"]),
        Query::of(seat("seat:1")),
        Query::of(seat("seat:1")).or(seat("seat:2")),
        Query::of(seat("seat:2")).or(QueryItem::new().category(category("hall"))),
        Query::of(hall()),
        Query::of(hall()).or(seat("seat:2")),
    ];
    for query in queries {
        for read in [Read::query(query.clone()), Read::query(query).backward()] {
            let read = read.as_at(moment);
            let mut expected: Vec<_> =
                log.iter().filter(|event| read.selects(event)).cloned().collect();
            if read.direction == Direction::Backward {
                expected.reverse();
            }
            same_events(&format!("{read:?}"), &expected, &store.read(read).await);
        }
    }
}

async fn with_clock(backend: &dyn Configurable) -> (Arc<ManualClock>, Probe) {
    let clock = Arc::new(ManualClock::at(noon_and(0)));
    let store = backend.open_with(clock.clone(), Limits::DEFAULT).await;
    (clock, Probe::over(store))
}

pub(crate) async fn s9_recorded_at_is_the_clocks_to_the_microsecond(backend: &dyn Configurable) {
    let (clock, store) = with_clock(backend).await;
    for micros in [0, 1, 2, 999_999, 1_000_000] {
        clock.set(noon_and(micros));
        let receipt = store.accepts(Append::to(stream("a-1"), Any, events("Made", 1))).await;
        assert_eq!(receipt.recorded_at, noon_and(micros));
    }
    let stored: Vec<_> = store.log().await.iter().map(|event| event.recorded_at).collect();
    assert_eq!(stored, [0, 1, 2, 999_999, 1_000_000].map(noon_and));
}

pub(crate) async fn s9_a_clock_that_jumps_back_takes_no_event_along(backend: &dyn Configurable) {
    let (clock, store) = with_clock(backend).await;
    let mut last = Timestamp::MIN;
    for (n, micros) in [0, -5, 3, -1_000_000, 2, 4].into_iter().enumerate() {
        clock.set(noon_and(micros));
        let append = Append::to(stream("a-1"), Any, events("Made", 1)).and_to(
            stream(format!("b-{}", n % 2)),
            Any,
            events("Made", 1),
        );
        let receipt = store.accepts(append).await;
        assert!(
            receipt.recorded_at >= last,
            "recorded at {} behind {last}, with the clock at {}",
            receipt.recorded_at,
            noon_and(micros)
        );
        last = receipt.recorded_at;
    }
    assert_eq!(last, noon_and(4), "a clock that has caught up is right again");
    store.log().await;
}

/// An event recorded at a moment belongs to it; one recorded a microsecond later does not.
pub(crate) async fn s9_as_at_draws_the_line_exactly(backend: &dyn Configurable) {
    let (clock, store) = with_clock(backend).await;
    for n in 0..5 {
        clock.set(noon_and(10 * n));
        let append = Append::to(stream("a-1"), Any, events("Made", 1)).and_to(
            stream(format!("b-{n}")),
            Any,
            events("Other", 1),
        );
        store.accepts(append).await;
    }
    let log = store.log().await;
    for micros in [-1, 0, 1, 9, 10, 11, 39, 40, 41] {
        let moment = noon_and(micros);
        let until = log.partition_point(|event| event.recorded_at <= moment);
        let expected = &log[..until];
        let what = format!("as at {moment}");
        same_events(&what, expected, &store.read(Read::all().as_at(moment)).await);

        let mut backward: Vec<_> = expected.iter().rev().cloned().collect();
        let found = store.read(Read::query(Query::all()).backward().as_at(moment)).await;
        same_events(&format!("{what}, backward"), &backward, &found);
        backward.truncate(1);
        let found = store.read(Read::all().backward().limit(1).as_at(moment)).await;
        same_events(&format!("{what}, the last"), &backward, &found);

        let own = |event: &annals_core::RecordedEvent| event.stream == stream("a-1");
        let expected: Vec<_> = expected.iter().filter(|event| own(event)).cloned().collect();
        let found = store.read(Read::stream(stream("a-1")).as_at(moment)).await;
        same_events(&format!("{what}, one stream"), &expected, &found);
    }
    let before = noon_and(0).saturating_add(Duration::from_secs(3600));
    same_events("as at an hour later", &log, &store.read(Read::all().as_at(before)).await);
}
