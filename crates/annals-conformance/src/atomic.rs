//! S1: an append is stored whole or not at all, and is seen whole or not at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals_core::{
    Append, AppendCondition, Data, EventType, ExpectedVersion, NewEvent, Query, QueryItem, Read,
    RecordedEvent,
};

use crate::Backend;
use crate::probe::{Probe, line};
use crate::storm::{storm, together};
use crate::words::{event, events, exact, stream, typed};

use ExpectedVersion::{Any, NoStream, StreamExists};

pub(crate) async fn s1_many_streams_are_written_together(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let append = Append::to(stream("order-1"), NoStream, events("Placed", 2))
        .and_to(stream("stock-7"), Any, events("Reserved", 3))
        .and_to(stream("till"), exact(0), events("Charged", 1));
    store.accepts(append.clone()).await;
    let log = store.log().await;
    let stored: Vec<_> = log.iter().map(|event| (&event.stream, event.id)).collect();
    let given = append
        .streams
        .iter()
        .flat_map(|part| part.events.iter().map(|event| (&part.stream, event.id)));
    assert_eq!(stored, given.collect::<Vec<_>>());
}

pub(crate) async fn s1_failing_at_the_last_stream_writes_nothing(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    store.accepts(Append::to(stream("c-1"), Any, events("Made", 1))).await;
    let doomed = Append::to(stream("a-1"), NoStream, events("Made", 2))
        .and_to(stream("b-1"), Any, events("Made", 2))
        .and_to(stream("c-1"), NoStream, events("Made", 1));
    store.conflicts(doomed).await;
    let doomed = Append::to(stream("a-1"), NoStream, events("Made", 2)).and_to(
        stream("nowhere-1"),
        StreamExists,
        [],
    );
    store.conflicts(doomed).await;
    store.accepts(Append::to(stream("a-1"), NoStream, events("Made", 1))).await;
}

pub(crate) async fn s1_failing_at_a_condition_writes_nothing(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    store.accepts(Append::to(stream("a-1"), Any, events("Made", 1))).await;
    let doomed = Append::to(stream("b-1"), NoStream, events("Made", 2))
        .and_to(stream("c-1"), NoStream, events("Made", 2))
        .only_if(AppendCondition::none_match(typed(["Unheard"])))
        .only_if(AppendCondition::none_match(typed(["Made"])));
    store.conflicts(doomed).await;
}

pub(crate) async fn s1_an_invalid_last_event_writes_nothing(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let too_much = vec![b'x'; store.store().limits().event_data_bytes_max + 1];
    let too_large = NewEvent::new(EventType::from_static("Made"), Data::json(too_much));
    let doomed = Append::to(stream("a-1"), NoStream, events("Made", 2)).and_to(
        stream("b-1"),
        NoStream,
        [event("Made"), too_large],
    );
    store.refuses(doomed).await;
}

/// Every task moves a coin between two of four streams, at the versions it has read; many lose.
/// Whatever happens, each move is there twice or not at all.
pub(crate) async fn s1_racing_appends_leave_no_halves(backend: &dyn Backend) {
    const STREAMS: usize = 4;
    let store = Probe::open(backend).await;
    let moved: Vec<usize> = together(16, |task| {
        let store = store.clone();
        async move {
            let mut moved = 0;
            for round in 0..6 {
                let streams = [task % STREAMS, (task + 1 + round % 3) % STREAMS];
                let [from, to] = streams.map(|n| stream(format!("purse-{n}")));
                let version = store.read(Read::stream(from.clone())).await.len() as u64;
                let append = Append::to(to, Any, events("Received", 1)).and_to(
                    from,
                    exact(version),
                    events("Sent", 1),
                );
                moved += usize::from(store.append(&append).await.is_ok());
            }
            moved
        }
    })
    .await;
    let log = store.log().await;
    let count = |kind| log.iter().filter(|event| event.event_type.as_str() == kind).count();
    let moved = moved.into_iter().sum::<usize>();
    assert!(moved > 0, "somebody must win");
    assert_eq!(
        (count("Sent"), count("Received")),
        (moved, moved),
        "of {moved} acknowledged moves these many ends were found"
    );
}

/// Readers look on, forward, backward and through a query, while writers append groups of seven
/// events over three streams. Every group they see, they see whole.
pub(crate) async fn s1_readers_see_whole_appends(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let done = Arc::new(AtomicBool::new(false));
    let readers = together(3, |reader| {
        let (store, done) = (store.clone(), done.clone());
        async move {
            let read = match reader {
                0 => Read::all(),
                1 => Read::all().backward(),
                _ => Read::query(Query::all().or(QueryItem::new())),
            };
            while !done.load(Ordering::Relaxed) {
                assert_whole(&store.read(read.clone()).await);
            }
        }
    });
    let writers = async {
        let outcomes = storm(&store, 8, 6, |writer, number| {
            let group = |count| {
                let data = Data::json(format!("\"{writer}/{number}\""));
                (0..count).map(move |_| NewEvent::new(EventType::from_static("Part"), data.clone()))
            };
            Append::to(stream(format!("left-{writer}")), Any, group(3))
                .and_to(stream("middle"), Any, group(1))
                .and_to(stream(format!("right-{}", number % 2)), Any, group(3))
        })
        .await;
        done.store(true, Ordering::Relaxed);
        outcomes
    };
    let (_, outcomes) = tokio::join!(readers, writers);
    for outcome in &outcomes {
        outcome.receipt();
    }
    assert_whole(&store.log().await);
}

fn assert_whole(log: &[RecordedEvent]) {
    let mut groups = HashMap::<_, Vec<&RecordedEvent>>::new();
    for event in log {
        groups.entry(&event.data.bytes).or_default().push(event);
    }
    if let Some(group) = groups.values().find(|group| group.len() != 7) {
        let seen: Vec<_> = group.iter().map(|event| line(event)).collect();
        let (count, seen) = (seen.len(), seen.join("\n  "));
        panic!("of an append with 7 events a reader saw {count}:\n  {seen}");
    }
}
