//! Reads that take many pages: nothing is missing between them, and nothing comes twice.

use annals_core::{
    Append, Data, EventStore, EventStoreExt, EventType, ExpectedVersion, NewEvent, Position, Query,
    QueryItem, Read, RecordedEvent, StreamAppend, StreamId,
};
use annals_sqlite::SqliteStore;
use tempfile::TempDir;

/// Events of two types: now one of them for a long while, now both in turn, now one in many, and
/// some so large that a page has room for few.
async fn varied(directory: &TempDir) -> (SqliteStore, Vec<RecordedEvent>) {
    let store = SqliteStore::open(directory.path().join("log.db")).expect("it opens");
    for hundred in 0..40_u64 {
        let events = (0..100_u64).map(|number| {
            let is_rare = match hundred % 4 {
                0 => false,
                1 => number % 2 == 0,
                2 => number % 17 == 0,
                _ => number != 50,
            };
            let name = if is_rare { "Rare" } else { "Usual" };
            let bytes = if hundred % 9 == 3 && number % 5 == 0 { 40_000 } else { 8 };
            let data = Data::json(format!("\"{}\"", "x".repeat(bytes)));
            NewEvent::new(EventType::from_static(name), data)
        });
        let mut append = Append::default();
        append.streams.push(StreamAppend {
            stream: StreamId::of("thing", hundred).expect("a stream id"),
            expected: ExpectedVersion::Any,
            events: events.collect(),
        });
        store.append(append).await.expect("it is stored");
    }
    let all = store.read_to_end(Read::all()).await.expect("it is read");
    (store, all)
}

fn positions<'e>(events: impl IntoIterator<Item = &'e RecordedEvent>) -> Vec<Position> {
    events.into_iter().map(|event| event.position).collect()
}

#[tokio::test]
async fn pages_of_a_query_follow_each_other_in_both_directions() {
    let directory = TempDir::new().expect("a directory");
    let (store, all) = varied(&directory).await;
    for name in ["Rare", "Usual"] {
        let item = QueryItem::new().event_type(EventType::from_static(name));
        let expected: Vec<_> =
            positions(all.iter().filter(|event| event.event_type.as_str() == name));
        for limit in [1, 127, 128, 129, 1_000, u64::MAX] {
            let count = usize::try_from(limit).unwrap_or(usize::MAX).min(expected.len());
            let read = Read::query(Query::of(item.clone())).limit(limit);
            let found = store.read_to_end(read.clone()).await.expect("it is read");
            assert_eq!(positions(&found), expected[..count], "{name} forward");
            let found = store.read_to_end(read.backward()).await;
            let backward: Vec<_> = expected.iter().rev().copied().take(count).collect();
            assert_eq!(positions(&found.expect("it is read")), backward, "{name} backward");
        }
    }
}
