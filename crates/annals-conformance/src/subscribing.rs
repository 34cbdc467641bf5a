//! Subscriptions catch up, say so, and follow.

use annals_core::{
    Append, Data, ExpectedVersion, Notice, Position, Query, QueryItem, Read, RecordedEvent,
    Subscribe,
};

use crate::Backend;
use crate::probe::{Probe, same_events};
use crate::storm::{storm, together};
use crate::words::{category, event, event_type, events, stream, tag, tagged, typed};

use ExpectedVersion::Any;

/// Eight events in four appends over three streams.
async fn eight(backend: &dyn Backend) -> Probe {
    let store = Probe::open(backend).await;
    for n in 0..4 {
        let kind = ["Red", "Green"][n % 2];
        let append = Append::to(stream(format!("a-{}", n % 2)), Any, events(kind, 1)).and_to(
            stream("b-1"),
            Any,
            [event(kind).tagged(tag(format!("n:{n}")))],
        );
        store.accepts(append).await;
    }
    store
}

pub(crate) async fn subscribing_to_an_empty_log(backend: &dyn Backend) {
    for subscribe in [
        Subscribe::all(),
        Subscribe::all().from_head(),
        Subscribe::stream(stream("a-1")),
        Subscribe::query(typed(["Made"])).from_head(),
    ] {
        let store = Probe::open(backend).await;
        let mut follower = store.subscribe(subscribe);
        assert_eq!(follower.next().await, Notice::CaughtUp(Position::START));
        let receipt = store.accepts(Append::to(stream("a-1"), Any, events("Made", 2))).await;
        let seen = follower.up_to(receipt.last_position).await;
        same_events("the first events of a log", &store.log().await, &seen);
    }
}

/// The same events as a read gives, down to the last field, and then the end of the log.
pub(crate) async fn subscribing_from_the_beginning(backend: &dyn Backend) {
    let store = eight(backend).await;
    let (seen, at) = store.subscribe(Subscribe::all()).until_caught_up().await;
    same_events("a subscription from the beginning", &store.log().await, &seen);
    assert_eq!(at, store.head().await, "caught up at the end of the log");
}

pub(crate) async fn subscribing_after_each_position(backend: &dyn Backend) {
    let store = eight(backend).await;
    let log = store.log().await;
    for (n, event) in log.iter().enumerate() {
        let subscribe = Subscribe::all().after(event.position);
        let (seen, at) = store.subscribe(subscribe).until_caught_up().await;
        same_events(&format!("after {}", event.position), &log[n + 1..], &seen);
        assert_eq!(at, store.head().await);
    }
}

/// Nothing of what is stored is delivered, and everything that comes is.
pub(crate) async fn subscribing_from_the_head(backend: &dyn Backend) {
    let store = eight(backend).await;
    for query in [Query::all(), typed(["Blue"]), typed(["Unheard"])] {
        for from_head in [true, false] {
            let head = store.head().await;
            let subscribe = Subscribe::query(query.clone());
            let subscribe = if from_head { subscribe.from_head() } else { subscribe.after(head) };
            let mut follower = store.subscribe(subscribe);
            assert_eq!(follower.next().await, Notice::CaughtUp(head));
            for _ in 0..2 {
                store.accepts(Append::to(stream("c-1"), Any, events("Blue", 2))).await;
            }
            let seen = follower.up_to(store.head().await).await;
            let expected = store.read(Read::query(query.clone()).after(head)).await;
            same_events("what came later", &expected, &seen);
        }
    }
}

/// After each growth the subscription says again where it is.
pub(crate) async fn subscribing_says_when_it_has_caught_up(backend: &dyn Backend) {
    let store = eight(backend).await;
    let mut follower = store.subscribe(Subscribe::all());
    follower.until_caught_up().await;
    for count in [1, 3, 2] {
        let receipt = store.accepts(Append::to(stream("a-1"), Any, events("Made", count))).await;
        let (seen, at) = follower.until_caught_up().await;
        assert_eq!(seen.len(), count);
        assert_eq!(at, receipt.last_position, "caught up at the end of the log");
    }
}

/// A subscriber whose filter matches nothing still learns how far it has come.
pub(crate) async fn subscribing_catches_up_though_nothing_matches(backend: &dyn Backend) {
    let store = eight(backend).await;
    for query in [typed(["Unheard"]), Query::default(), Query::stream(stream("unheard-1"))] {
        let mut follower = store.subscribe(Subscribe::query(query));
        assert_eq!(follower.next().await, Notice::CaughtUp(store.head().await));
        for _ in 0..2 {
            let receipt = store.accepts(Append::to(stream("a-1"), Any, events("Made", 2))).await;
            assert_eq!(follower.next().await, Notice::CaughtUp(receipt.last_position));
        }
    }
}

/// What is stored and what comes is filtered alike.
pub(crate) async fn subscribing_to_what_matches(backend: &dyn Backend) {
    let store = eight(backend).await;
    let item = QueryItem::new;
    let queries = [
        Query::stream(stream("b-1")),
        typed(["Red"]),
        tagged(["n:2"]),
        Query::of(item().category(category("a"))),
        Query::of(item().event_type(event_type("Green")).category(category("b"))),
        tagged(["n:1"]).or(item().event_type(event_type("Red"))),
    ];
    let mut followers = Vec::new();
    for query in queries {
        let mut follower = store.subscribe(Subscribe::query(query.clone()));
        let (seen, _) = follower.until_caught_up().await;
        let stored = store.read(Read::query(query.clone())).await;
        same_events(&format!("stored events of {query:?}"), &stored, &seen);
        followers.push((query, seen, follower));
    }
    for n in [1, 2] {
        let append = Append::to(stream("b-1"), Any, [event("Red").tagged(tag(format!("n:{n}")))])
            .and_to(stream("a-7"), Any, events("Green", 1))
            .and_to(stream("c-1"), Any, events("Red", 1));
        store.accepts(append).await;
    }
    let head = store.head().await;
    for (query, mut seen, mut follower) in followers {
        seen.extend(follower.up_to(head).await);
        let stored = store.read(Read::query(query.clone())).await;
        same_events(&format!("events of {query:?}"), &stored, &seen);
    }
}

pub(crate) async fn subscribing_to_more_than_any_page(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let step = store.store().limits().append_events_max.min(500);
    let appends = 3_000_usize.div_ceil(step);
    for _ in 0..appends {
        let append = Append::to(stream("long-1"), Any, events("Made", step));
        store.accepts(append).await;
        store.accepts(Append::to(stream("other-1"), Any, events("Other", 1))).await;
    }
    let log = store.log().await;
    assert_eq!(log.len(), appends * (step + 1));
    let (seen, _) = store.subscribe(Subscribe::all()).until_caught_up().await;
    same_events("a long subscription", &log, &seen);
    let from = log[log.len() / 3].position;
    let subscribe = Subscribe::query(typed(["Made"])).after(from);
    let (seen, _) = store.subscribe(subscribe).until_caught_up().await;
    let expected = store.read(Read::query(typed(["Made"])).after(from)).await;
    same_events("a long subscription from the middle", &expected, &seen);
}

/// Between the first and the last event of an append no other event is delivered.
pub(crate) async fn subscribing_delivers_appends_in_one_piece(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let mut follower = store.subscribe(Subscribe::all());
    let outcomes = storm(&store, 16, 4, |writer, number| {
        Append::to(stream("shared-1"), Any, events("Made", 1 + writer % 3)).and_to(
            stream(format!("own-{writer}")),
            Any,
            events("Made", 1 + number % 3),
        )
    })
    .await;
    let seen = follower.up_to(store.head().await).await;
    let mut places = seen.iter().map(|event| event.id);
    let mut receipts: Vec<_> = outcomes.iter().collect();
    receipts.sort_by_key(|outcome| outcome.receipt().first_position);
    for outcome in receipts {
        for event in outcome.append.events() {
            assert_eq!(places.next(), Some(event.id), "the next event of an append");
        }
    }
    assert_eq!(places.next(), None);
}

/// Goes on from each checkpoint it was given, as a subscriber does that is restarted again and
/// again, and still sees everything once.
pub(crate) async fn subscribing_again_from_each_checkpoint(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let restarting = async {
        let mut seen = Vec::<RecordedEvent>::new();
        let mut checkpoint = Position::START;
        let mut restarts = 0;
        while seen.last().is_none_or(|event| event.event_type != event_type("Last")) {
            restarts += 1;
            let mut follower = store.subscribe(Subscribe::all().after(checkpoint));
            for _ in 0..1 + restarts % 7 {
                match follower.next().await {
                    Notice::CaughtUp(at) => checkpoint = at,
                    Notice::Event(event) => {
                        checkpoint = event.position;
                        let last = event.event_type == event_type("Last");
                        seen.push(event);
                        if last {
                            break;
                        }
                    }
                }
            }
        }
        seen
    };
    let writing = async {
        storm(&store, 16, 4, |writer, number| {
            Append::to(stream(format!("a-{}", writer % 3)), Any, events("Made", 1 + number % 3))
        })
        .await;
        store.accepts(Append::to(stream("a-1"), Any, events("Last", 1))).await;
    };
    let (seen, ()) = tokio::join!(restarting, writing);
    same_events("all restarts together", &store.log().await, &seen);
}

/// Subscribers that go away, at any moment, disturb nobody.
pub(crate) async fn subscribing_may_end_at_any_moment(backend: &dyn Backend) {
    let store = eight(backend).await;
    let mut staying = store.subscribe(Subscribe::all());
    for taken in 0..12 {
        let mut leaving = store.subscribe(Subscribe::all());
        for _ in 0..taken.min(8) {
            leaving.next().await;
        }
        drop(leaving);
        store.accepts(Append::to(stream("a-1"), Any, events("Made", 1))).await;
    }
    let seen = staying.up_to(store.head().await).await;
    same_events("who stayed", &store.log().await, &seen);
}

/// A subscriber that takes nothing holds up neither writers nor other subscribers, and finds
/// everything when it goes on.
pub(crate) async fn subscribing_slowly_holds_up_nobody(backend: &dyn Backend) {
    let store = eight(backend).await;
    let mut slow = store.subscribe(Subscribe::all());
    let Notice::Event(taken) = slow.next().await else {
        panic!("a log with events starts with one");
    };
    let mut fast = store.subscribe(Subscribe::all().from_head());
    fast.until_caught_up().await;
    let large = Data::json(vec![b'x'; 10_000]);
    for n in 0..20 {
        let made = (0..50).map(|_| {
            let mut made = event("Made");
            made.data = large.clone();
            made
        });
        let receipt = store.accepts(Append::to(stream(format!("a-{n}")), Any, made)).await;
        assert_eq!(fast.up_to(receipt.last_position).await.len(), 50);
    }
    let mut seen = vec![taken];
    seen.extend(slow.up_to(store.head().await).await);
    same_events("the slow subscriber", &store.log().await, &seen);
}

/// A hundred subscribers with different filters, all waiting, are all served.
pub(crate) async fn subscribing_a_hundred_times(backend: &dyn Backend) {
    let store = eight(backend).await;
    let start = store.head().await;
    let followers = together(100, |n| {
        let store = store.clone();
        async move {
            let query = match n % 3 {
                0 => Query::all(),
                1 => typed(["Red"]),
                _ => Query::stream(stream(format!("c-{}", n % 4))),
            };
            let mut follower = store.subscribe(Subscribe::query(query.clone()).after(start));
            let mut seen = Vec::new();
            loop {
                match follower.next().await {
                    Notice::Event(event) => seen.push(event),
                    Notice::CaughtUp(_) => {
                        let last = store.read(Read::stream(stream("last"))).await;
                        if let Some(last) = last.first() {
                            seen.extend(follower.up_to(last.position).await);
                            return (query, seen);
                        }
                    }
                }
            }
        }
    });
    let writing = async {
        storm(&store, 4, 4, |writer, number| {
            let kind = ["Red", "Green"][number % 2];
            Append::to(stream(format!("c-{writer}")), Any, events(kind, 2))
        })
        .await;
        store.accepts(Append::to(stream("last"), Any, events("Last", 1))).await;
    };
    let (followers, ()) = tokio::join!(followers, writing);
    for (query, seen) in followers {
        let expected = store.read(Read::query(query.clone()).after(start)).await;
        same_events(&format!("one of a hundred, {query:?}"), &expected, &seen);
    }
}
