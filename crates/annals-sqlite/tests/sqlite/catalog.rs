//! The streams of the store, beside those of the store in memory.

use annals_core::{
    Append, Category, Data, EventStore, EventType, ExpectedVersion, ListStreams, MemoryStore,
    NewEvent, StreamCatalog, StreamId, StreamInfo,
};
use annals_sqlite::SqliteStore;
use futures_util::TryStreamExt;

/// Names that sort between others, or look like prefixes of them.
const NAMES: [&str; 12] = [
    "account",
    "account!",
    "account!-1",
    "account-",
    "account-1",
    "account-10",
    "account.1",
    "accounts-1",
    "a%-1",
    "a_-1",
    "\u{e4}-1",
    "\u{10ffff}-1",
];

fn append(name: &'static str) -> Append {
    let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    Append::to(StreamId::from_static(name), ExpectedVersion::Any, [event])
}

/// Name and version of every stream listed; positions differ between stores.
async fn listed(store: &dyn StreamCatalog, list: ListStreams) -> Vec<(StreamId, u64)> {
    let infos: Vec<StreamInfo> = store.streams(list).try_collect().await.expect("a listing");
    infos.into_iter().map(|info| (info.stream, info.version.get())).collect()
}

#[tokio::test]
async fn streams_are_listed_as_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let file = SqliteStore::open(directory.path().join("annals.db")).unwrap();
    let memory = MemoryStore::new();
    for name in NAMES.iter().chain(&NAMES[3..6]) {
        file.append(append(name)).await.unwrap();
        memory.append(append(name)).await.unwrap();
    }
    let afters = NAMES.iter().map(|name| Some(StreamId::from_static(name))).chain([None]);
    for after in afters {
        let mut list = ListStreams::all();
        list.after = after;
        let all = listed(&memory, list.clone()).await;
        assert_eq!(listed(&file, list.clone()).await, all, "{list:?}");
        for category in ["account", "account!", "accounts", "a%", "a_", "none", "\u{10ffff}"] {
            let list = list.clone().category(Category::from_static(category));
            let expected = listed(&memory, list.clone()).await;
            assert_eq!(listed(&file, list.clone()).await, expected, "{list:?}");
        }
    }
    let totals = file.stats().await.unwrap();
    assert_eq!((totals.events, totals.streams), (15, 12));
}

#[tokio::test]
async fn more_streams_than_a_page_are_listed() {
    let directory = tempfile::tempdir().unwrap();
    let file = SqliteStore::open(directory.path().join("annals.db")).unwrap();
    for part in 0..3 {
        let mut all = Append::default();
        for number in 0..300 {
            let stream = StreamId::of("thing", part * 300 + number).unwrap();
            let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
            all = all.and_to(stream, ExpectedVersion::NoStream, [event]);
        }
        file.append(all).await.unwrap();
    }
    assert_eq!(listed(&file, ListStreams::all()).await.len(), 900);
    assert_eq!(file.stats().await.unwrap().streams, 900);
}
