//! Projections that run inside the appends to a log in memory.

use std::collections::HashMap;
use std::sync::Arc;

use annals_core::error::{AppendError, Chain, ReadSideError};
use annals_core::{
    Append, CheckpointStore, Claim, Data, Enrol, EventStore, EventStoreExt, EventType,
    ExpectedVersion, Generation, ListRows, MemoryReadSide, MemoryStore, NewEvent, OnNewVersion,
    PoisonEvent, Position, Query, QueryItem, Read, RecordedEvent, Row, RowFold, RowKey, RowStore,
    StreamId, SubscriberName, SubscriberState, Timestamp,
};
use bytes::Bytes;

/// Counts the events of each stream, in a row with its name.
#[derive(Debug)]
struct Counts {
    name: SubscriberName,
    version: u32,
    /// What one event adds.
    step: u64,
}

impl Counts {
    fn named(name: &str) -> Self {
        Self { name: name.parse().expect("a name"), version: 1, step: 1 }
    }
}

impl RowFold for Counts {
    fn name(&self) -> &SubscriberName {
        &self.name
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn query(&self) -> Query {
        let types = ["Counted", "Poison", "Panic", "Huge"];
        let types = types.map(|name| EventType::new(name).expect("a type"));
        Query::of(QueryItem::new().types(types))
    }

    fn keys(&self, event: &RecordedEvent) -> Result<Vec<RowKey>, PoisonEvent> {
        Ok(vec![event.stream.as_str().into()])
    }

    fn fold(
        &self,
        event: &RecordedEvent,
        rows: &mut HashMap<RowKey, Bytes>,
        owns: &dyn Fn(&RowKey) -> bool,
    ) -> Result<(), PoisonEvent> {
        let key: RowKey = event.stream.as_str().into();
        if !owns(&key) {
            return Ok(());
        }
        match event.event_type.as_str() {
            "Poison" => return Err(PoisonEvent::new(event, "it is poison")),
            "Panic" => panic!("the fold has a fault"),
            "Huge" => {
                rows.insert(key, vec![b'1'; 17 * 1024 * 1024].into());
                return Ok(());
            }
            _ => {}
        }
        let count = rows.get(&key).map_or(0, number);
        rows.insert(key, (count + self.step).to_string().into());
        Ok(())
    }
}

fn number(value: &Bytes) -> u64 {
    std::str::from_utf8(value).expect("text").parse().expect("a number")
}

fn folds(counts: impl IntoIterator<Item = Counts>) -> Vec<Arc<dyn RowFold>> {
    counts.into_iter().map(|counts| Arc::new(counts) as Arc<dyn RowFold>).collect()
}

fn append(stream: &str, types: &[&str]) -> Append {
    let events = types
        .iter()
        .map(|name| NewEvent::new(EventType::new(*name).expect("a type"), Data::json("{}")));
    Append::to(StreamId::new(stream).expect("a stream"), ExpectedVersion::Any, events)
}

async fn counts(read_side: &MemoryReadSide, name: &str) -> Vec<(String, u64)> {
    let all = ListRows { limit: 1_000, ..ListRows::default() };
    let rows = read_side.rows(&name.parse().expect("a name"), all).await.expect("rows");
    rows.into_iter().map(|Row { key, value }| (key.to_string(), number(&value))).collect()
}

fn counted(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()
}

async fn position(read_side: &MemoryReadSide, name: &str) -> Position {
    let info = read_side.subscriber(&name.parse().expect("a name")).await.expect("an answer");
    info.expect("it has enrolled").active().expect("one is active").position()
}

#[tokio::test]
async fn rows_are_there_when_the_append_returns() {
    let (store, read_side) = (MemoryStore::new(), MemoryReadSide::new());
    store.run_inline(&read_side, folds([Counts::named("a"), Counts::named("b")])).unwrap();
    let first = append("x-1", &["Counted", "Counted", "Other"]);
    let receipt = store.append(first.clone()).await.unwrap();
    store.append(append("x-2", &["Counted"])).await.unwrap();
    let last = store.append(append("x-3", &["Other"])).await.unwrap();
    // A repeat is none of its business.
    assert_eq!(store.append(first).await.unwrap(), receipt);
    for name in ["a", "b"] {
        assert_eq!(counts(&read_side, name).await, counted(&[("x-1", 2), ("x-2", 1)]));
        assert_eq!(position(&read_side, name).await, last.last_position);
    }
}

#[tokio::test]
async fn what_a_fold_refuses_is_not_appended_and_nobody_else_applies_it() {
    for fault in ["Poison", "Panic", "Huge"] {
        let (store, read_side) = (MemoryStore::new(), MemoryReadSide::new());
        store.run_inline(&read_side, folds([Counts::named("a"), Counts::named("b")])).unwrap();
        let before = store.append(append("x-1", &["Counted"])).await.unwrap();
        let refused = append("x-1", &["Counted", fault]);
        let error = store.append(refused.clone()).await.unwrap_err();
        let AppendError::Vetoed { by, .. } = &error else { panic!("{fault}: {error:?}") };
        assert_eq!(by.as_str(), "a", "{}", Chain(&error));
        assert_eq!(store.head().await.unwrap(), before.last_position);
        assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), 1);
        for name in ["a", "b"] {
            assert_eq!(counts(&read_side, name).await, counted(&[("x-1", 1)]));
            assert_eq!(position(&read_side, name).await, before.last_position);
        }

        // The log goes on, and the ids are free.
        let mut mended = refused;
        mended.streams[0].events[1].event_type = EventType::from_static("Counted");
        let receipt = store.append(mended).await.unwrap();
        assert_eq!(receipt.streams[0].version.get(), 3, "{fault}");
        assert_eq!(counts(&read_side, "b").await, counted(&[("x-1", 3)]));
    }
}

/// What the second of two refuses, the first has not applied either.
#[tokio::test]
async fn a_veto_of_the_last_leaves_nothing_behind() {
    let (store, read_side) = (MemoryStore::new(), MemoryReadSide::new());
    let vain = Counts { step: u64::MAX, ..Counts::named("b") };
    store.run_inline(&read_side, folds([Counts::named("a"), vain])).unwrap();
    store.append(append("x-1", &["Counted"])).await.unwrap();
    // Adding once more overflows, which panics.
    let error = store.append(append("x-1", &["Counted"])).await.unwrap_err();
    assert!(matches!(&error, AppendError::Vetoed { by, .. } if by.as_str() == "b"), "{error:?}");
    assert_eq!(counts(&read_side, "a").await, counted(&[("x-1", 1)]));
}

#[tokio::test]
async fn one_that_is_named_late_catches_up_first() {
    let (store, read_side) = (MemoryStore::new(), MemoryReadSide::new());
    let receipt = store.append(append("x-1", &["Counted", "Counted"])).await.unwrap();
    for _ in 0..2 {
        store.run_inline(&read_side, folds([Counts::named("a")])).unwrap();
        assert_eq!(counts(&read_side, "a").await, counted(&[("x-1", 2)]));
        assert_eq!(position(&read_side, "a").await, receipt.last_position);
    }
    store.append(append("x-1", &["Counted"])).await.unwrap();
    store.run_inline(&read_side, folds([Counts::named("a"), Counts::named("b")])).unwrap();
    for name in ["a", "b"] {
        assert_eq!(counts(&read_side, name).await, counted(&[("x-1", 3)]));
    }
    // It is named no more, and then again.
    store.run_inline(&read_side, folds([Counts::named("b")])).unwrap();
    store.append(append("x-1", &["Counted"])).await.unwrap();
    assert_eq!(counts(&read_side, "a").await, counted(&[("x-1", 3)]));
    store.run_inline(&read_side, folds([Counts::named("a")])).unwrap();
    assert_eq!(counts(&read_side, "a").await, counted(&[("x-1", 4)]));
}

#[tokio::test]
async fn one_that_cannot_catch_up_is_not_run() {
    let (store, read_side) = (MemoryStore::new(), MemoryReadSide::new());
    store.append(append("x-1", &["Counted", "Poison"])).await.unwrap();
    store.run_inline(&read_side, folds([Counts::named("a")])).unwrap_err();
    assert_eq!(counts(&read_side, "a").await, counted(&[]));
    store.append(append("x-1", &["Poison"])).await.expect("nothing runs inline");
}

#[tokio::test]
async fn rows_of_another_version_of_the_code_are_built_anew() {
    let (store, read_side) = (MemoryStore::new(), MemoryReadSide::new());
    store.run_inline(&read_side, folds([Counts::named("a")])).unwrap();
    store.append(append("x-1", &["Counted", "Counted"])).await.unwrap();
    let new = Counts { version: 2, step: 10, ..Counts::named("a") };
    store.run_inline(&read_side, folds([new])).unwrap();
    assert_eq!(counts(&read_side, "a").await, counted(&[("x-1", 20)]));
    store.append(append("x-1", &["Counted"])).await.unwrap();
    assert_eq!(counts(&read_side, "a").await, counted(&[("x-1", 30)]));
    let a = "a".parse().unwrap();
    let info = read_side.subscriber(&a).await.unwrap().unwrap();
    assert_eq!((info.generations.len(), info.generations[0].version), (1, 2));
}

#[tokio::test]
async fn one_that_waited_catches_up_with_the_next_append() {
    let (store, read_side) = (MemoryStore::new(), MemoryReadSide::new());
    store.run_inline(&read_side, folds([Counts::named("a")])).unwrap();
    let a: SubscriberName = "a".parse().unwrap();
    read_side.set_state(&a, SubscriberState::Paused).await.unwrap();
    store.append(append("x-1", &["Counted"])).await.unwrap();
    assert_eq!(counts(&read_side, "a").await, counted(&[]));
    read_side.set_state(&a, SubscriberState::Running).await.unwrap();
    store.append(append("x-1", &["Counted"])).await.unwrap();
    assert_eq!(counts(&read_side, "a").await, counted(&[("x-1", 2)]));
}

#[tokio::test]
async fn one_is_not_rebuilt_by_hand_since_nobody_would_do_it() {
    let (store, read_side) = (MemoryStore::new(), MemoryReadSide::new());
    store.run_inline(&read_side, folds([Counts::named("a")])).unwrap();
    let refused = read_side.begin_generation(enrol("a", 1)).await.unwrap_err();
    let told = refused.to_string();
    assert!(matches!(refused, ReadSideError::Unsupported(_)), "{refused:?}");
    assert!(told.contains("count its version up"), "{told}");
    let info = read_side.subscriber(&"a".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(info.building(), None);
}

fn enrol(name: &str, partitions: u32) -> Enrol {
    Enrol {
        subscriber: name.parse().expect("a name"),
        version: 1,
        partitions,
        after: Position::START,
        on_new_version: OnNewVersion::Refuse,
        now: Timestamp::EPOCH,
    }
}

fn claim(name: &str, generation: Generation) -> Claim {
    Claim {
        subscriber: name.parse().expect("a name"),
        generation,
        partition: 0,
        owner: "runner".into(),
        now: Timestamp::EPOCH,
        until: Timestamp::MAX,
    }
}

/// One that ran outside of appends, in parts, goes on inside them.
#[tokio::test]
async fn one_that_ran_outside_goes_on_inline() {
    let (store, read_side) = (MemoryStore::new(), MemoryReadSide::new());
    read_side.enrol(enrol("a", 3)).await.unwrap();
    let lease = read_side.claim(claim("a", Generation::FIRST)).await.unwrap().expect("it is free");
    for number in 0..20 {
        store.append(append(&format!("x-{number:02}"), &["Counted"])).await.unwrap();
    }
    store.run_inline(&read_side, folds([Counts::named("a")])).unwrap();
    let twice = store.append(append("x-00", &["Counted"])).await.unwrap();
    let found = counts(&read_side, "a").await;
    assert_eq!(found.len(), 20);
    assert_eq!(found.iter().map(|(_, count)| count).sum::<u64>(), 21, "{found:?}");
    assert_eq!(position(&read_side, "a").await, twice.last_position);
    let lost = read_side.renew(&lease, Timestamp::MAX).await;
    assert!(matches!(lost, Err(ReadSideError::Fenced(_))), "{lost:?}");
    assert_eq!(read_side.claim(claim("a", Generation::FIRST)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn appends_of_many_tasks_are_each_counted_once() {
    let (store, read_side) = (MemoryStore::new(), MemoryReadSide::new());
    let tasks = (0..16).map(|task| {
        let (store, read_side) = (store.clone(), read_side.clone());
        tokio::spawn(async move {
            for number in 0..50 {
                if number == 10 && task % 4 == 0 {
                    store.run_inline(&read_side, folds([Counts::named("a")])).unwrap();
                }
                store.append(append(&format!("x-{}", task % 3), &["Counted"])).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let found = counts(&read_side, "a").await;
    assert_eq!(found.iter().map(|(_, count)| count).sum::<u64>(), 16 * 50, "{found:?}");
}
