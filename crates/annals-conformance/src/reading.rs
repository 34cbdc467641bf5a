//! Reads return exactly what lies within their bounds.

use annals_core::error::Invalid;
use annals_core::{
    Append, EventStoreExt, ExpectedVersion, Position, Query, QueryItem, Read, RecordedEvent,
    Timestamp, Version,
};
use futures_util::TryStreamExt;

use crate::Backend;
use crate::probe::{Probe, same_events, within};
use crate::words::{category, event, event_type, events, stream, tag, tagged, typed};

use ExpectedVersion::Any;

/// Larger than any page a store may read at once.
const MANY: usize = 3_000;

pub(crate) async fn reading_an_empty_log(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    assert_eq!(store.head().await, Position::START);
    let reads = [
        Read::all(),
        Read::all().backward(),
        Read::all().limit(1),
        Read::stream(stream("a-1")),
        Read::stream(stream("a-1")).backward().from_version(Version::FIRST),
        Read::query(typed(["Made"])),
        Read::all().as_at(Timestamp::MAX),
    ];
    for read in reads {
        assert_eq!(store.read(read.clone()).await, [], "{read:?}");
    }
    let version = store.store().version_of(stream("a-1")).await;
    assert_eq!(version.ok(), Some(Version::EMPTY));
    store.accepts(Append::to(stream("a-1"), Any, events("Made", 1))).await;
    assert_eq!(store.read(Read::stream(stream("a-2"))).await, [], "a stream nobody wrote to");
    assert_eq!(store.read(Read::query(typed(["Unheard"]))).await, []);
}

pub(crate) async fn reading_a_stream_by_versions(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    for _ in 0..5 {
        let append = Append::to(stream("noise-1"), Any, events("Noise", 1)).and_to(
            stream("a-1"),
            Any,
            events("Made", 2),
        );
        store.accepts(append).await;
    }
    let bounds = [0, 1, 2, 5, 9, 10, 11, u64::MAX];
    for (from, to) in bounds.into_iter().flat_map(|from| bounds.map(|to| (from, to))) {
        for limit in [0, 1, 3, u64::MAX] {
            let read = Read::stream(stream("a-1"))
                .from_version(Version::new(from))
                .to_version(Version::new(to))
                .limit(limit);
            let mut expected: Vec<_> = (1..=10).filter(|v| (from..=to).contains(v)).collect();
            let count = usize::try_from(limit).unwrap_or(usize::MAX);
            let forward = expected.iter().take(count).copied().collect::<Vec<u64>>();
            expected.reverse();
            expected.truncate(count);
            assert_eq!(versions(&store.read(read.clone()).await), forward, "{read:?}");
            let backward = store.read(read.clone().backward()).await;
            assert_eq!(versions(&backward), expected, "{read:?}, backward");
        }
    }
}

fn versions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.version.get()).collect()
}

pub(crate) async fn reading_by_positions(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    for n in 0..4 {
        let append = Append::to(stream(format!("a-{}", n % 2)), Any, events("Made", 2)).and_to(
            stream("b-1"),
            Any,
            events("Other", 1),
        );
        store.accepts(append).await;
    }
    let log = store.log().await;
    let mut bounds: Vec<_> = log.iter().map(|event| event.position).step_by(2).collect();
    bounds.extend([Position::START, Position::END]);
    let scopes =
        [Read::all(), Read::stream(stream("a-1")), Read::query(typed(["Other", "Unheard"]))];
    for scope in scopes {
        let in_scope: Vec<_> = log.iter().filter(|event| scope.selects(event)).collect();
        for after in bounds.clone() {
            for up_to in bounds.clone() {
                let read = scope.clone().after(after).up_to(up_to);
                let expected: Vec<_> = in_scope
                    .iter()
                    .filter(|event| after < event.position && event.position <= up_to)
                    .map(|event| (*event).clone())
                    .collect();
                both_ways(&store, read, &expected).await;
            }
        }
    }
}

/// The read gives these events, its reverse the same from behind, and limits cut either.
async fn both_ways(store: &Probe, read: Read, expected: &[RecordedEvent]) {
    same_events(&format!("{read:?}"), expected, &store.read(read.clone()).await);
    let reversed: Vec<_> = expected.iter().rev().cloned().collect();
    let backward = read.backward();
    same_events(&format!("{backward:?}"), &reversed, &store.read(backward.clone()).await);
    let some = &reversed[..reversed.len().min(2)];
    let limited = backward.limit(2);
    same_events(&format!("{limited:?}"), some, &store.read(limited.clone()).await);
}

pub(crate) async fn reading_with_a_limit(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    store.accepts(Append::to(stream("a-1"), Any, events("Made", 4))).await;
    store.accepts(Append::to(stream("b-1"), Any, events("Made", 3))).await;
    let log = store.log().await;
    let reversed: Vec<_> = log.iter().rev().cloned().collect();
    for limit in [0, 1, 2, 6, 7, 8, i64::MAX.unsigned_abs(), u64::MAX] {
        let count = usize::try_from(limit).unwrap_or(usize::MAX).min(log.len());
        for read in [Read::all(), Read::query(typed(["Made"]))] {
            let read = read.limit(limit);
            same_events(&format!("{read:?}"), &log[..count], &store.read(read.clone()).await);
            let backward = store.read(read.clone().backward()).await;
            same_events(&format!("{read:?}, backward"), &reversed[..count], &backward);
        }
    }
}

/// A category is the whole of what stands before the first dash.
pub(crate) async fn reading_categories(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let names = [
        "account-1",
        "accounts-1",
        "account",
        "account-1-2",
        "account-",
        "accoun-t",
        "Account-1",
        "account_x-1",
        "accountx-1",
        "account%-1",
    ];
    let append = names.iter().fold(Append::default(), |append, name| {
        append.and_to(stream(name), Any, events("Made", 1))
    });
    store.accepts(append).await;
    let expected: [(&[&str], &[&str]); 6] = [
        (&["account"], &["account-1", "account", "account-1-2", "account-"]),
        (&["accounts"], &["accounts-1"]),
        (&["account_x"], &["account_x-1"]),
        (&["account%"], &["account%-1"]),
        (&["Account", "accoun"], &["accoun-t", "Account-1"]),
        (&["acc", "account-1x"], &[]),
    ];
    for (categories, streams) in expected {
        let item = categories
            .iter()
            .filter(|name| !name.contains('-'))
            .fold(QueryItem::new(), |item, name| item.category(category(name)));
        let found = store.read(Read::query(Query::of(item))).await;
        let found: Vec<_> = found.iter().map(|event| event.stream.as_str()).collect();
        assert_eq!(found, streams, "the streams in {categories:?}");
    }
}

/// Six events that differ in type, tags and stream, for the queries below.
async fn six(backend: &dyn Backend) -> Probe {
    let store = Probe::open(backend).await;
    let made = |kind: &str, tags: &[&str]| {
        tags.iter().fold(event(kind), |event, text| event.tagged(tag(text)))
    };
    let append = Append::to(
        stream("course-1"),
        Any,
        [
            made("Defined", &["course:1"]),
            made("Subscribed", &["course:1", "student:1"]),
            made("Subscribed", &["course:1", "student:2"]),
        ],
    );
    store.accepts(append).await;
    let append = Append::to(stream("course-2"), Any, [made("Defined", &["course:2"])]).and_to(
        stream("student-1"),
        Any,
        [made("Renamed", &["student:1"]), made("Left", &[])],
    );
    store.accepts(append).await;
    store
}

async fn finds(store: &Probe, query: Query, expected: &[usize]) {
    let log = store.log().await;
    let expected: Vec<_> = expected.iter().map(|n| log[n - 1].clone()).collect();
    both_ways(store, Read::query(query), &expected).await;
}

pub(crate) async fn reading_by_types(backend: &dyn Backend) {
    let store = six(backend).await;
    finds(&store, typed(["Defined"]), &[1, 4]).await;
    finds(&store, typed(["Renamed", "Subscribed", "Unheard"]), &[2, 3, 5]).await;
    finds(&store, typed(["Defined", "Defined"]), &[1, 4]).await;
    finds(&store, typed(["defined"]), &[]).await;
}

pub(crate) async fn reading_by_tags(backend: &dyn Backend) {
    let store = six(backend).await;
    finds(&store, tagged(["course:1"]), &[1, 2, 3]).await;
    finds(&store, tagged(["course:1", "student:1"]), &[2]).await;
    finds(&store, tagged(["student:1", "course:1", "student:1"]), &[2]).await;
    finds(&store, tagged(["student:1", "student:2"]), &[]).await;
    finds(&store, tagged(["course:11"]), &[]).await;
}

pub(crate) async fn reading_by_categories_or_streams(backend: &dyn Backend) {
    let store = six(backend).await;
    let item = QueryItem::new;
    finds(&store, Query::of(item().category(category("course"))), &[1, 2, 3, 4]).await;
    finds(&store, Query::stream(stream("course-2")), &[4]).await;
    let either = item().stream(stream("course-2")).category(category("student"));
    finds(&store, Query::of(either), &[4, 5, 6]).await;
    let overlapping = item().stream(stream("course-2")).category(category("course"));
    finds(&store, Query::of(overlapping), &[1, 2, 3, 4]).await;
}

/// Types, tags and places of one item must all fit.
pub(crate) async fn reading_by_all_terms_of_an_item(backend: &dyn Backend) {
    let store = six(backend).await;
    let item = QueryItem::new;
    let subscribed = || item().event_type(event_type("Subscribed"));
    finds(&store, Query::of(subscribed().tag(tag("student:1"))), &[2]).await;
    finds(&store, Query::of(subscribed().category(category("course"))), &[2, 3]).await;
    finds(&store, Query::of(subscribed().category(category("student"))), &[]).await;
    let tagged_there = item().tag(tag("student:1")).category(category("student"));
    finds(&store, Query::of(tagged_there.clone()), &[5]).await;
    finds(&store, Query::of(tagged_there.stream(stream("course-1"))), &[2, 5]).await;
    let everything =
        subscribed().tag(tag("course:1")).tag(tag("student:2")).stream(stream("course-1"));
    finds(&store, Query::of(everything), &[3]).await;
}

/// Any item is enough, and an event that fits several is returned once.
pub(crate) async fn reading_by_any_item_of_a_query(backend: &dyn Backend) {
    let store = six(backend).await;
    let item = QueryItem::new;
    let two = typed(["Defined"]).or(item().tag(tag("course:1")));
    finds(&store, two, &[1, 2, 3, 4]).await;
    let three = tagged(["student:1"])
        .or(item().event_type(event_type("Subscribed")))
        .or(item().stream(stream("student-1")));
    finds(&store, three, &[2, 3, 5, 6]).await;
    finds(&store, Query::all().or(item().tag(tag("course:1"))), &[1, 2, 3, 4, 5, 6]).await;
    finds(&store, typed(["Left"]).or(item().event_type(event_type("Left"))), &[6]).await;
}

pub(crate) async fn reading_by_a_query_without_items(backend: &dyn Backend) {
    let store = six(backend).await;
    finds(&store, Query::default(), &[]).await;
    finds(&store, Query::all(), &[1, 2, 3, 4, 5, 6]).await;
}

pub(crate) async fn reading_refuses_versions_of_a_query(backend: &dyn Backend) {
    let store = six(backend).await;
    for read in [Read::all(), Read::query(Query::stream(stream("course-1")))] {
        for read in [
            read.clone().from_version(Version::FIRST),
            read.clone().to_version(Version::new(5)).backward(),
        ] {
            let invalid = store.refuses_read(read).await;
            assert_eq!(invalid, Invalid::VersionsWithoutStream);
        }
    }
}

/// One long stream among others, written in appends of any size the limits allow.
async fn many(store: &Probe) {
    let step = store.store().limits().append_events_max.min(500);
    let mut missing = MANY;
    while missing > 0 {
        let count = step.min(missing);
        let made = events("Made", count).into_iter().enumerate();
        let made = made.map(|(n, event)| event.tagged(tag(format!("half:{}", n % 2))));
        let append = Append::to(stream("long-1"), Any, made);
        store.accepts(append).await;
        store.accepts(Append::to(stream("other-1"), Any, events("Other", 3))).await;
        missing -= count;
    }
}

pub(crate) async fn reading_more_than_any_page(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    many(&store).await;
    let log = store.log().await;
    assert!(log.len() > MANY);
    let middle = log[log.len() / 3].position;
    for read in [
        Read::all(),
        Read::all().after(middle).limit(1_500),
        Read::stream(stream("long-1")),
        Read::stream(stream("long-1")).from_version(Version::new(700)).limit(1_025),
        Read::query(typed(["Made"])),
        Read::query(tagged(["half:1"])).up_to(middle),
        Read::query(Query::of(QueryItem::new().category(category("long")))),
    ] {
        let selected: Vec<_> = log.iter().filter(|event| read.selects(event)).cloned().collect();
        let limit = read.limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let end = limit.min(selected.len());
        same_events(&format!("{read:?}"), &selected[..end], &store.read(read.clone()).await);
        let last: Vec<_> = selected.iter().rev().take(limit).cloned().collect();
        let backward = store.read(read.clone().backward()).await;
        same_events(&format!("{read:?}, backward"), &last, &backward);
    }
}

/// Whatever is appended while a long read is under way is not in it.
pub(crate) async fn reading_is_of_one_moment(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    many(&store).await;
    for backward in [false, true] {
        let mut read = Read::all();
        if backward {
            read = read.backward();
        }
        let mut reading = store.store().read(read);
        // Asked for before the first event is, so it belongs to the read.
        store.accepts(Append::to(stream("late-1"), Any, events("Late", 1))).await;
        let mut expected = store.log().await;
        if backward {
            expected.reverse();
        }
        let mut found = Vec::new();
        while let Some(event) = next(&mut reading).await {
            if found.len() % 1_000 == 0 {
                store.accepts(Append::to(stream("late-1"), Any, events("Late", 2))).await;
            }
            found.push(event);
        }
        same_events("a read with appends beside it", &expected, &found);
    }
}

async fn next(reading: &mut annals_core::EventStream) -> Option<RecordedEvent> {
    within("the next event of a read", reading.try_next())
        .await
        .unwrap_or_else(|error| panic!("a read must go on, but: {error} ({error:?})"))
}

/// Reads that are left half-way hold up neither writers nor other readers.
pub(crate) async fn reading_may_stop_half_way(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    many(&store).await;
    let mut left = Vec::new();
    for n in 0..12 {
        let mut reading = store.store().read(Read::all().after(Position::new(n)));
        assert!(next(&mut reading).await.is_some());
        left.push(reading);
        let receipt = store.accepts(Append::to(stream("late-1"), Any, events("Late", 1))).await;
        let last = store.read(Read::all().backward().limit(1)).await;
        assert_eq!(last[0].position, receipt.last_position);
    }
    drop(left);
    assert_eq!(store.log().await.len(), store.read(Read::all().backward()).await.len());
}
