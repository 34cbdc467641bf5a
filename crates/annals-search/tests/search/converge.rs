//! Whatever the order and the repeats, the documents are the same.

use annals_core::Position;
use annals_search::{Edit, EventEdits, MemoryIndex, Search, SearchIndex};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::cases::{apply, fields};

/// Edits of few documents and few fields, so that they meet.
fn edit() -> impl Strategy<Value = Edit> {
    let id = (0..4_u8).prop_map(|id| id.to_string());
    let values = proptest::collection::btree_map("name|category|size", 0..9_u8, 0..3);
    (id, values, 0..5_u8).prop_map(|(id, values, kind)| match kind {
        0 | 1 => Edit::index(id, json!(values)),
        2 | 3 => Edit::update(id, json!(values)),
        _ => Edit::delete(id),
    })
}

/// The events, and batches of them as they are delivered: each at least once.
fn deliveries() -> impl Strategy<Value = (Vec<EventEdits>, Vec<Vec<EventEdits>>)> {
    let events = proptest::collection::vec(proptest::collection::vec(edit(), 0..3), 1..24);
    let events = events.prop_map(|events| {
        let events = (1..).zip(events);
        events
            .map(|(n, edits)| EventEdits { position: Position::new(n * 3), edits })
            .collect::<Vec<_>>()
    });
    let shuffled = events.prop_flat_map(|events| {
        let repeats = proptest::sample::subsequence(events.clone(), 0..=events.len());
        (Just(events), repeats)
    });
    let shuffled = shuffled.prop_flat_map(|(events, repeats)| {
        let all: Vec<EventEdits> = events.iter().cloned().chain(repeats).collect();
        (Just(events), Just(all).prop_shuffle(), 1..6_usize)
    });
    shuffled.prop_map(|(events, all, size)| {
        (events, all.chunks(size).map(<[EventEdits]>::to_vec).collect())
    })
}

/// All documents by id, and everything that a search finds.
async fn contents(index: &dyn SearchIndex) -> Vec<Option<Value>> {
    let mut contents = Vec::new();
    for id in ["0", "1", "2", "3"] {
        contents.push(index.document(id).await.expect("the index is there"));
    }
    index.refresh().await.expect("the index is there");
    for size in 0..9 {
        let search = Search::everything().having("size", size);
        let hits = index.search(&search).await.expect("the search can be made");
        contents.extend(hits.hits.into_iter().map(|hit| Some(json!([size, hit.id]))));
    }
    contents
}

/// Applies deliveries in any order to the index, which is cleared between two cases.
pub(crate) fn converges(index: &dyn SearchIndex, cases: u32, runtime: &tokio::runtime::Runtime) {
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&deliveries(), |(events, batches)| {
        let (expected, found) = runtime.block_on(async {
            let in_order = MemoryIndex::new(fields());
            for event in &events {
                apply(&in_order, std::slice::from_ref(event)).await;
            }
            index.clear().await.expect("the index is there");
            for batch in &batches {
                apply(index, batch).await;
            }
            (contents(&in_order).await, contents(index).await)
        });
        prop_assert_eq!(expected, found);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
