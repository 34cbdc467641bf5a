//! S5: a reader that has seen a position will never find a new event at or before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use annals_core::{
    Append, ExpectedVersion, Notice, Position, Query, QueryItem, Read, RecordedEvent, Subscribe,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;

use crate::Backend;
use crate::probe::{Probe, same_events, within};
use crate::storm::together;
use crate::words::{category, events, stream, typed};

use ExpectedVersion::Any;

const WRITERS: usize = 32;
const APPENDS: usize = 6;

const JOINERS: usize = 24;

/// A write storm, and how far it is. Writers wait for those who want to join at a certain moment,
/// so that even the fastest store is joined at every moment.
#[derive(Debug)]
struct Storm {
    joiners: usize,
    joined: AtomicUsize,
    appends: AtomicUsize,
    over: AtomicBool,
}

impl Storm {
    fn new(joiners: usize) -> Arc<Self> {
        let [joined, appends] = [0, 0].map(AtomicUsize::new);
        Arc::new(Self { joiners, joined, appends, over: AtomicBool::new(false) })
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// The moment at which joiner `number` joins.
    async fn moment(&self, number: usize) {
        while self.appends.load(Ordering::SeqCst) < number * WRITERS * APPENDS / self.joiners {
            tokio::task::yield_now().await;
        }
    }

    fn has_joined(&self) {
        self.joined.fetch_add(1, Ordering::SeqCst);
    }

    /// Lets the next append begin, unless joiners are late by more than two.
    async fn next_append(&self) {
        let number = self.appends.fetch_add(1, Ordering::SeqCst);
        let due = (number * self.joiners / (WRITERS * APPENDS)).saturating_sub(2);
        while self.joined.load(Ordering::SeqCst) < due {
            tokio::task::yield_now().await;
        }
    }

    /// 32 writers over shared and own streams.
    async fn rage(self: &Arc<Self>, store: &Probe) {
        together(WRITERS, |writer| {
            let (storm, store) = (self.clone(), store.clone());
            async move {
                for number in 0..APPENDS {
                    storm.next_append().await;
                    let kind = ["Red", "Green", "Blue"][(writer + number) % 3];
                    let own = stream(format!("own-{writer}"));
                    let shared = stream(format!("shared-{}", number % 2));
                    let append = Append::to(own, Any, events(kind, 1 + number % 3)).and_to(
                        shared,
                        Any,
                        events(kind, 1),
                    );
                    store.accepts(append).await;
                }
            }
        })
        .await;
        self.over.store(true, Ordering::SeqCst);
    }
}

fn queries() -> [Query; 4] {
    [
        Query::all(),
        typed(["Red"]),
        Query::of(QueryItem::new().category(category("shared"))),
        Query::stream(stream("shared-1")).or(QueryItem::new().stream(stream("own-3"))),
    ]
}

/// Pollers go on from the last position they have seen, and end with the whole log.
pub(crate) async fn s5_pollers_miss_nothing(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let storm = Storm::new(JOINERS);
    let pollers = together(queries().len(), |n| {
        let (store, storm) = (store.clone(), storm.clone());
        async move {
            let query = queries()[n].clone();
            let mut seen = Vec::new();
            for poll in 0.. {
                if poll < JOINERS {
                    storm.moment(poll).await;
                }
                let over = storm.is_over();
                let last = seen.last().map_or(Position::START, last_position);
                let read = Read::query(query.clone()).after(last).limit(7 + 50 * n as u64);
                let more = store.read(read).await;
                if over && more.is_empty() {
                    break;
                }
                seen.extend(more);
                if n == 0 {
                    storm.has_joined();
                }
            }
            (query, seen)
        }
    });
    let (pollers, ()) = tokio::join!(pollers, storm.rage(&store));
    for (query, seen) in pollers {
        let expected = store.read(Read::query(query.clone())).await;
        same_events(&format!("what a poller of {query:?} saw"), &expected, &seen);
    }
    store.log().await;
}

fn last_position(event: &RecordedEvent) -> Position {
    event.position
}

/// What was read up to a head is all there will ever be up to it.
pub(crate) async fn s5_nothing_new_appears_up_to_a_head(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    assert_eq!(store.head().await, Position::START, "the head of an empty log");
    let storm = Storm::new(JOINERS);
    let watching = async {
        let mut seen = Vec::new();
        for n in 0..JOINERS {
            storm.moment(n).await;
            let head = store.head().await;
            seen.push((head, store.read(Read::all().up_to(head)).await));
            storm.has_joined();
        }
        seen
    };
    let (seen, ()) = tokio::join!(watching, storm.rage(&store));
    let log = store.log().await;
    for (head, events) in seen {
        let end = log.partition_point(|event| event.position <= head);
        same_events(&format!("what was read up to head {head}"), &log[..end], &events);
    }
}

/// An acknowledged append lies at or before the head, and can be read.
pub(crate) async fn s5_the_head_covers_what_is_acknowledged(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    together(16, |writer| {
        let store = store.clone();
        async move {
            for _ in 0..3 {
                let append = Append::to(stream(format!("own-{writer}")), Any, events("Made", 2));
                let receipt = store.accepts(append).await;
                let head = store.head().await;
                assert!(head >= receipt.last_position, "head {head} after {receipt:?}");
                let bounds = Read::all().up_to(receipt.last_position).backward().limit(1);
                let last = store.read(bounds).await;
                assert_eq!(last[0].position, receipt.last_position);
            }
        }
    })
    .await;
}

/// Subscribers keep joining, at every moment and from anywhere, while 32 writers write. Each must
/// see every event behind its start, once and in order.
pub(crate) async fn s5_subscribers_joining_a_storm_miss_nothing(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let storm = Storm::new(JOINERS);
    let (over, end) = watch::channel(None);
    let joiners = together(JOINERS, |n| {
        let (store, storm, mut end) = (store.clone(), storm.clone(), end.clone());
        async move {
            let mut random = SmallRng::seed_from_u64(n as u64);
            storm.moment(n).await;
            let known = store.read(Read::all()).await;
            let start = match known.len() {
                0 => Position::START,
                count => known[random.random_range(0..count)].position,
            };
            let query = queries()[n % 4].clone();
            let mut follower = store.subscribe(Subscribe::query(query.clone()).after(start));
            storm.has_joined();
            let mut seen = Vec::new();
            let end = loop {
                tokio::select! {
                    notice = follower.next() => {
                        if let Notice::Event(event) = notice {
                            seen.push(event);
                        }
                    }
                    end = within("the end of the storm", end.wait_for(Option::is_some)) => {
                        break *end.expect("the case keeps the sender");
                    }
                }
            };
            seen.extend(follower.up_to(end.expect("waited for it")).await);
            (query, start, seen)
        }
    });
    let writing = async {
        storm.rage(&store).await;
        over.send_replace(Some(store.head().await));
    };
    let (joiners, ()) = tokio::join!(joiners, writing);
    for (query, start, seen) in joiners {
        let expected = store.read(Read::query(query.clone()).after(start)).await;
        let what = format!("what a subscriber to {query:?} after {start} saw");
        same_events(&what, &expected, &seen);
    }
    store.log().await;
}

/// Subscribers from the head see an unbroken end of the log.
pub(crate) async fn s5_subscribers_from_the_head_miss_nothing(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let storm = Storm::new(JOINERS);
    let joiners = together(JOINERS, |n| {
        let (store, storm) = (store.clone(), storm.clone());
        async move {
            storm.moment(n).await;
            let before = store.head().await;
            let mut follower = store.subscribe(Subscribe::all().from_head());
            let mark = || Append::to(stream(format!("mark-{n}")), Any, events("Joined", 1));
            let (mut seen, from) = follower.until_caught_up().await;
            storm.has_joined();
            let first = store.accepts(mark()).await;
            seen.extend(follower.up_to(first.last_position).await);
            // What was delivered before the end was reached must not come again behind it.
            let receipt = store.accepts(mark()).await;
            seen.extend(follower.up_to(receipt.last_position).await);
            (before, from, receipt.last_position, seen)
        }
    });
    let (joiners, ()) = tokio::join!(joiners, storm.rage(&store));
    let log = store.log().await;
    for (before, from, mark, seen) in joiners {
        let start = seen.first().map_or(from, |event| Position::new(event.position.get() - 1));
        assert!(start >= before, "from the head, yet behind {start} instead of {before}");
        let end = seen.last().map_or(from, last_position).max(mark);
        let expected = store.read(Read::all().after(start).up_to(end)).await;
        same_events("what a subscriber from the head saw", &expected, &seen);
        assert!(log.iter().any(|event| event.position == mark));
    }
}
