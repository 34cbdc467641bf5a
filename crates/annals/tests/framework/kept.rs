//! Folds that are kept, as snapshots and in the cache: whatever is wrong with them, only the time
//! is another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals::{
    Aggregate, Annals, Append, AppendError, Apply, Category, Command, Event, EventId, EventStore,
    EventStream, Fault, Fingerprint, Limits, ListStreams, MemorySnapshots, MemoryStore, Position,
    Read, ReadError, Receipt, Retention, RetryPolicy, SelectSnapshots, Snapshot, SnapshotError,
    SnapshotInfos, SnapshotPolicy, SnapshotStore, Standing, StreamCatalog, StreamId, Subscribe,
    Subscription, Version,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

#[derive(Debug, Event)]
enum LedgerEvent {
    Booked { amount: i64 },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Aggregate)]
#[aggregate(category = "ledger", event = LedgerEvent, snapshot, cache)]
struct Ledger {
    amounts: Vec<i64>,
}

#[annals::fold]
impl Apply<LedgerEvent> for Ledger {
    fn apply(&mut self, LedgerEvent::Booked { amount }: LedgerEvent) {
        self.amounts.push(amount);
    }
}

#[derive(Clone)]
struct Book(i64);

impl Command<Ledger> for Book {
    type Error = std::convert::Infallible;

    fn decide(self, _: &Ledger) -> Result<Vec<LedgerEvent>, Self::Error> {
        Ok(vec![LedgerEvent::Booked { amount: self.0 }])
    }
}

/// A store that counts the events it hands out.
#[derive(Clone, Debug)]
struct Counting(MemoryStore, Arc<AtomicU64>);

impl Counting {
    fn new() -> Self {
        Self(MemoryStore::new(), Arc::default())
    }

    /// How many events were handed out since it was last asked.
    fn taken(&self) -> u64 {
        self.1.swap(0, Ordering::Relaxed)
    }
}

#[async_trait]
impl EventStore for Counting {
    fn limits(&self) -> &Limits {
        self.0.limits()
    }

    async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        self.0.append(append).await
    }

    fn read(&self, read: Read) -> EventStream {
        let count = Arc::clone(&self.1);
        Box::pin(self.0.read(read).inspect(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        }))
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        self.0.subscribe(subscribe)
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.0.head().await
    }
}

async fn book(annals: &Annals, amounts: impl IntoIterator<Item = i64>) {
    for amount in amounts {
        annals.execute("1", Book(amount)).await.expect("it is booked");
        annals.settled().await;
    }
}

async fn amounts(annals: &Annals) -> Vec<i64> {
    let loaded = annals.load::<Ledger>("1").await.expect("it loads");
    assert_eq!(loaded.version, Version::new(loaded.state.amounts.len() as u64));
    loaded.state.amounts
}

/// The one snapshot that is kept.
async fn only(snapshots: &MemorySnapshots) -> Snapshot {
    let infos = snapshots.snapshots(SelectSnapshots::all()).try_collect::<Vec<_>>().await;
    let infos = infos.expect("they are listed");
    assert_eq!(infos.len(), 1, "{infos:?}");
    let loaded = snapshots.load_snapshot(&infos[0].stream, &infos[0].fold).await;
    loaded.expect("it is read").expect("it was listed")
}

#[tokio::test]
async fn only_what_is_not_in_the_snapshot_is_read() {
    let (store, snapshots) = (Counting::new(), MemorySnapshots::new());
    let annals =
        Annals::new(store.clone()).with_snapshots(snapshots.clone(), SnapshotPolicy::every(10));
    book(&annals, 0..25).await;
    assert_eq!(only(&snapshots).await.version, Version::new(20));
    store.taken();
    // The event that the snapshot ends with, and the five behind it.
    assert_eq!(amounts(&annals).await, (0..25).collect::<Vec<_>>());
    assert_eq!(store.taken(), 6);
    // A handle without snapshots reads all of them.
    assert_eq!(amounts(&Annals::new(store.clone())).await.len(), 25);
    assert_eq!(store.taken(), 25);
}

#[tokio::test]
async fn a_fold_in_the_cache_knows_what_is_in_the_snapshot() {
    let (store, snapshots) = (Counting::new(), MemorySnapshots::new());
    let annals = Annals::new(store.clone())
        .with_snapshots(snapshots.clone(), SnapshotPolicy::every(10))
        .with_cache(10);
    book(&annals, 0..25).await;
    assert_eq!(only(&snapshots).await.version, Version::new(20));
}

#[tokio::test]
async fn loading_makes_snapshots_too() {
    let (store, snapshots) = (Counting::new(), MemorySnapshots::new());
    book(&Annals::new(store.clone()), 0..25).await;
    let annals =
        Annals::new(store.clone()).with_snapshots(snapshots.clone(), SnapshotPolicy::every(10));
    amounts(&annals).await;
    annals.settled().await;
    assert_eq!(only(&snapshots).await.version, Version::new(25));
}

#[tokio::test]
async fn damaged_snapshots_only_cost_time() {
    let (store, snapshots) = (Counting::new(), MemorySnapshots::new());
    let annals =
        Annals::new(store.clone()).with_snapshots(snapshots.clone(), SnapshotPolicy::every(10));
    book(&annals, 0..12).await;
    let whole = only(&snapshots).await;
    let mut flipped = whole.state.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for state in [
        Bytes::new(),
        Bytes::from_static(b"{}"),
        Bytes::from(flipped),
        whole.state.slice(..whole.state.len() - 1),
    ] {
        // Under a higher version, so that it takes the place of the good one.
        snapshots.drop_snapshots(SelectSnapshots::all()).await.unwrap();
        snapshots.save_snapshot(Snapshot { state, ..whole.clone() }).await.unwrap();
        store.taken();
        assert_eq!(amounts(&annals).await, (0..12).collect::<Vec<_>>());
        annals.settled().await;
        assert_eq!(store.taken(), 12);
    }
}

#[tokio::test]
async fn snapshots_of_another_past_or_another_fold_are_not_believed() {
    let (store, snapshots) = (Counting::new(), MemorySnapshots::new());
    let annals =
        Annals::new(store.clone()).with_snapshots(snapshots.clone(), SnapshotPolicy::never());
    book(&annals, 0..12).await;
    annals.rebuild_snapshots::<Ledger>(&store.0, |_, _| {}).await.unwrap();
    let right = only(&snapshots).await;

    // The log was restored, and went on otherwise: shorter, as long, and longer than it was.
    for length in [5, 12, 30] {
        snapshots.save_snapshot(right.clone()).await.unwrap();
        let other = MemoryStore::new();
        book(&Annals::new(other.clone()), 100..100 + length).await;
        let restored =
            Annals::new(other).with_snapshots(snapshots.clone(), SnapshotPolicy::never());
        assert_eq!(amounts(&restored).await, (100..100 + length).collect::<Vec<_>>());
    }

    // Another build's, which folded otherwise.
    snapshots.drop_snapshots(SelectSnapshots::all()).await.unwrap();
    let fold = Fingerprint::from_static("another");
    snapshots.save_snapshot(Snapshot { fold, ..right }).await.unwrap();
    store.taken();
    assert_eq!(amounts(&annals).await.len(), 12);
    assert_eq!(store.taken(), 12);
}

/// A store of snapshots that can do nothing.
#[derive(Debug)]
struct Broken;

#[async_trait]
impl SnapshotStore for Broken {
    async fn save_snapshot(&self, _: Snapshot) -> Result<(), SnapshotError> {
        Err(SnapshotError::Unavailable(Fault::new("away")))
    }

    async fn load_snapshot(
        &self,
        _: &StreamId,
        _: &Fingerprint,
    ) -> Result<Option<Snapshot>, SnapshotError> {
        Err(SnapshotError::Unavailable(Fault::new("away")))
    }

    async fn drop_snapshots(&self, _: SelectSnapshots) -> Result<u64, SnapshotError> {
        Err(SnapshotError::Unavailable(Fault::new("away")))
    }

    fn snapshots(&self, _: SelectSnapshots) -> SnapshotInfos {
        Box::pin(futures_util::stream::iter([Err(SnapshotError::Closed)]))
    }
}

#[tokio::test]
async fn a_broken_store_of_snapshots_disturbs_nobody() {
    let store = Counting::new();
    let annals = Annals::new(store.clone()).with_snapshots(Broken, SnapshotPolicy::every(1));
    book(&annals, 0..5).await;
    assert_eq!(amounts(&annals).await, [0, 1, 2, 3, 4]);
    let refreshed = annals.refresh_snapshots::<Ledger>(&store.0, |_, _| {}).await;
    assert_eq!(refreshed.unwrap().failed, 1);
}

#[tokio::test]
async fn the_nightly_job_brings_all_up_to_date() {
    let (store, snapshots) = (Counting::new(), MemorySnapshots::new());
    let annals =
        Annals::new(store.clone()).with_snapshots(snapshots.clone(), SnapshotPolicy::never());
    for id in 0..7 {
        for amount in 0..=id {
            annals.execute::<Ledger, _>(id, Book(amount)).await.unwrap();
        }
    }
    let mut seen = vec![];
    let done = annals
        .refresh_snapshots::<Ledger>(&store.0, |stream, so_far| {
            seen.push((stream.to_string(), so_far.written));
        })
        .await
        .unwrap();
    assert_eq!((done.streams, done.written, done.failed), (7, 7, 0));
    assert_eq!(seen.last(), Some(&("ledger-6".to_owned(), 7)));
    // What is up to date is left alone; what was given up is made again.
    let again = annals.refresh_snapshots::<Ledger>(&store.0, |_, _| {}).await.unwrap();
    assert_eq!((again.streams, again.written), (7, 0));
    annals.execute("3", Book(1)).await.unwrap();
    let again = annals.refresh_snapshots::<Ledger>(&store.0, |_, _| {}).await.unwrap();
    assert_eq!((again.streams, again.written), (7, 1));
    let again = annals.rebuild_snapshots::<Ledger>(&store.0, |_, _| {}).await.unwrap();
    assert_eq!((again.streams, again.written), (7, 7));

    // Those of builds that nobody runs any more go when that is said.
    let old = Snapshot {
        stream: StreamId::from_static("ledger-0"),
        fold: Fingerprint::from_static("older"),
        version: Version::FIRST,
        last_event: EventId::from_bytes([1; 16]),
        taken_at: annals::Timestamp::EPOCH,
        state: Bytes::new(),
    };
    snapshots.save_snapshot(old).await.unwrap();

    let dropped = annals.prune_snapshots::<Ledger>(annals::Timestamp::EPOCH).await.unwrap();
    assert_eq!(dropped, 0);
    let dropped = annals.prune_snapshots::<Ledger>(annals::Timestamp::MAX).await.unwrap();
    assert_eq!(dropped, 1);
    let category = Category::new("ledger").unwrap();
    let all = SelectSnapshots::all().category(category.clone());
    assert_eq!(annals.drop_snapshots(all).await.unwrap(), 7);
    let streams = store.0.streams(ListStreams::all().category(category)).count().await;
    assert_eq!(streams, 7);
}

#[tokio::test]
async fn a_wrong_snapshot_is_found_and_dropped() {
    let (store, snapshots) = (Counting::new(), MemorySnapshots::new());
    let annals =
        Annals::new(store.clone()).with_snapshots(snapshots.clone(), SnapshotPolicy::every(5));
    assert_eq!(annals.check_snapshot::<Ledger>("1").await.unwrap(), None);
    book(&annals, 0..5).await;
    assert_eq!(annals.check_snapshot::<Ledger>("1").await.unwrap(), Some(true));

    // As if a function that `apply` calls had been another one then: the state of another ledger
    // under this one's last event.
    let other = MemoryStore::new();
    let others = MemorySnapshots::new();
    let another = Annals::new(other).with_snapshots(others.clone(), SnapshotPolicy::every(5));
    book(&another, 10..15).await;
    let wrong = Snapshot { state: only(&others).await.state, ..only(&snapshots).await };
    snapshots.save_snapshot(wrong).await.unwrap();
    assert_eq!(amounts(&annals).await, (10..15).collect::<Vec<_>>(), "it is believed");
    assert_eq!(annals.check_snapshot::<Ledger>("1").await.unwrap(), Some(false));
    assert_eq!(amounts(&annals).await, (0..5).collect::<Vec<_>>());
}

#[tokio::test]
async fn how_a_stream_stands_is_kept_as_well() {
    let (store, snapshots) = (Counting::new(), MemorySnapshots::new());
    let open = || {
        Annals::new(store.clone())
            .with_snapshots(snapshots.clone(), SnapshotPolicy::never())
            .with_cache(10)
            .with_retention(|_: Retention, _: &StreamId, _: &annals::Context| Ok(()))
    };
    let annals = open();
    book(&annals, 0..5).await;
    annals.retain("ledger-1", Retention::TruncateBefore(Version::new(4))).await.unwrap();
    annals.retain("ledger-1", Retention::Close).await.unwrap();
    annals.rebuild_snapshots::<Ledger>(&store.0, |_, _| {}).await.unwrap();
    store.taken();
    // Once from the snapshot, then from the cache.
    let annals = open();
    for _ in 0..2 {
        let loaded = annals.load::<Ledger>("1").await.unwrap();
        assert_eq!((loaded.state.amounts, loaded.standing), (vec![3, 4], Standing::Closed));
        assert_eq!(store.taken(), 1);
        annals.execute("1", Book(1)).await.unwrap_err();
        assert_eq!(store.taken(), 1);
    }
}

#[tokio::test]
async fn the_cache_reads_one_event_and_what_others_wrote() {
    let store = Counting::new();
    let annals = Annals::new(store.clone()).with_cache(10);
    let elsewhere = Annals::new(store.clone());
    book(&annals, 0..20).await;
    store.taken();
    assert_eq!(amounts(&annals).await.len(), 20);
    assert_eq!(store.taken(), 1);
    book(&elsewhere, 20..23).await;
    store.taken();
    assert_eq!(amounts(&annals).await, (0..23).collect::<Vec<_>>());
    assert_eq!(store.taken(), 4);
    // What is not marked is not kept.
    store.taken();
    let unmarked = Annals::new(store.clone()).with_cache(10);
    unmarked.execute("1", crate::account::open("Ada")).await.unwrap();
    unmarked.load::<crate::account::Account>("1").await.unwrap();
    unmarked.load::<crate::account::Account>("1").await.unwrap();
    assert_eq!(store.taken(), 2);
}

#[tokio::test]
async fn a_snapshot_of_another_past_gives_way() {
    let snapshots = MemorySnapshots::new();
    let before = Annals::new(MemoryStore::new())
        .with_snapshots(snapshots.clone(), SnapshotPolicy::every(10));
    book(&before, 0..50).await;
    // The log is restored from a backup, and is shorter than what the snapshot remembers.
    let store = Counting::new();
    book(&Annals::new(store.clone()), 0..20).await;
    let restored =
        Annals::new(store.clone()).with_snapshots(snapshots.clone(), SnapshotPolicy::every(10));
    assert_eq!(amounts(&restored).await.len(), 20);
    restored.settled().await;
    store.taken();
    assert_eq!(amounts(&restored).await.len(), 20);
    assert_eq!(store.taken(), 1);
}

#[tokio::test]
async fn what_was_wrong_in_the_cache_is_gone_once_it_is_found() {
    let (store, snapshots) = (Counting::new(), MemorySnapshots::new());
    let annals =
        Annals::new(store.clone()).with_snapshots(snapshots.clone(), SnapshotPolicy::every(5));
    book(&annals, 0..5).await;
    let others = MemorySnapshots::new();
    let another =
        Annals::new(MemoryStore::new()).with_snapshots(others.clone(), SnapshotPolicy::every(5));
    book(&another, 10..15).await;
    let wrong = Snapshot { state: only(&others).await.state, ..only(&snapshots).await };
    snapshots.save_snapshot(wrong).await.unwrap();

    let cached = annals.with_cache(10);
    assert_eq!(amounts(&cached).await, (10..15).collect::<Vec<_>>(), "it is believed");
    assert_eq!(cached.check_snapshot::<Ledger>("1").await.unwrap(), Some(false));
    assert_eq!(amounts(&cached).await, (0..5).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_past_begins_with_a_snapshot_that_is_older() {
    let (store, snapshots) = (Counting::new(), MemorySnapshots::new());
    let annals =
        Annals::new(store.clone()).with_snapshots(snapshots.clone(), SnapshotPolicy::every(10));
    book(&annals, 0..12).await;
    for (version, read) in [(11, 2), (10, 1), (9, 9), (12, 3), (99, 3)] {
        store.taken();
        let past = annals.load_as_of::<Ledger>("1", Version::new(version)).await.unwrap();
        assert_eq!(past.state.amounts.len() as u64, version.min(12));
        assert_eq!(store.taken(), read, "as of version {version}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Book(i64),
    BookElsewhere(i64),
    Load,
    Refresh,
    Drop,
    Damage,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<i64>().prop_map(Step::Book),
        3 => any::<i64>().prop_map(Step::BookElsewhere),
        3 => Just(Step::Load),
        1 => Just(Step::Refresh),
        1 => Just(Step::Drop),
        1 => Just(Step::Damage),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #[test]
    fn what_is_kept_never_changes_what_is_loaded(steps in prop::collection::vec(step(), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (store, snapshots) = (MemoryStore::new(), MemorySnapshots::new());
            let open = || Annals::new(store.clone())
                .with_snapshots(snapshots.clone(), SnapshotPolicy::every(4))
                .with_cache(2);
            let elsewhere = Annals::new(store.clone());
            let (mut annals, mut model) = (open(), vec![]);
            for step in steps {
                match step {
                    Step::Book(amount) => { book(&annals, [amount]).await; model.push(amount); }
                    Step::BookElsewhere(amount) => {
                        book(&elsewhere, [amount]).await;
                        model.push(amount);
                    }
                    Step::Load => prop_assert_eq!(&amounts(&annals).await, &model),
                    Step::Refresh => {
                        annals.refresh_snapshots::<Ledger>(&store, |_, _| {}).await.unwrap();
                    }
                    Step::Drop => {
                        annals.drop_snapshots(SelectSnapshots::all()).await.unwrap();
                    }
                    Step::Damage => {
                        let all = snapshots.snapshots(SelectSnapshots::all());
                        for info in all.try_collect::<Vec<_>>().await.unwrap() {
                            let kept = snapshots.load_snapshot(&info.stream, &info.fold).await;
                            let mut kept = kept.unwrap().unwrap();
                            kept.state = kept.state.slice(..kept.state.len() / 2);
                            snapshots.save_snapshot(kept).await.unwrap();
                        }
                    }
                    Step::Restart => annals = open(),
                }
            }
            prop_assert_eq!(&amounts(&annals).await, &model);
            prop_assert_eq!(&amounts(&elsewhere).await, &model);
            Ok(())
        })?;
    }
}

/// Many tasks, in two processes with caches of their own, on one ledger.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_when_many_write_through_what_is_kept() {
    let (store, snapshots) = (MemoryStore::new(), MemorySnapshots::new());
    let open = || {
        Annals::new(store.clone())
            .with_snapshots(snapshots.clone(), SnapshotPolicy::every(7))
            .with_cache(4)
            .with_retry(RetryPolicy::default().attempts_max(200))
    };
    let processes = [open(), open()];
    let mut tasks = JoinSet::new();
    for (n, annals) in (0..64).zip(processes.iter().cycle()) {
        let annals = annals.clone();
        tasks.spawn(async move { annals.execute("1", Book(n)).await.unwrap() });
    }
    let executed = tasks.join_all().await;
    for one in &executed {
        assert_eq!(one.state.amounts.len() as u64, one.version.get());
    }
    let mut booked = amounts(&processes[0]).await;
    assert_eq!(booked, amounts(&Annals::new(store.clone())).await);
    booked.sort_unstable();
    assert_eq!(booked, (0..64).collect::<Vec<_>>());
}
