//! S8: every input has a named limit, checked before any write.
//!
//! Each limit is tried at its very value, which must be accepted, and one above it.

use std::sync::Arc;

use annals_core::error::{AppendError, Invalid, ReadError};
use annals_core::{
    Append, AppendCondition, Data, EventStoreExt, ExpectedVersion, Limits, ManualClock, Metadata,
    NewEvent, Query, QueryItem, Read, Subscribe, Timestamp,
};
use futures_util::StreamExt;

use crate::probe::{Probe, within};
use crate::words::{event, event_type, events, stream, tag};
use crate::{Backend, Configurable};

use ExpectedVersion::{Any, NoStream};

/// An append of the size `max` must pass, one above must be refused under the limit's name.
async fn holds(store: &Probe, limit: &str, max: usize, append: impl Fn(usize) -> Append) {
    let refused = store.refuses(append(max + 1)).await;
    exceeded(limit, max, &refused);
    store.accepts(append(max)).await;
}

fn exceeded(limit: &str, max: usize, invalid: &Invalid) {
    match invalid {
        Invalid::LimitExceeded { limit: l, max: m, actual } => {
            assert_eq!((*l, *m, *actual), (limit, max, max + 1));
        }
        other => panic!("must exceed {limit}, but: {other:?}"),
    }
}

fn to_one(events: impl IntoIterator<Item = NewEvent>) -> Append {
    Append::to(stream("a-1"), Any, events)
}

pub(crate) async fn s8_events_of_an_append(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let max = store.store().limits().append_events_max;
    holds(&store, "append_events_max", max, |count| to_one(events("Made", count))).await;
    assert_eq!(store.log().await.len(), max);
}

/// An append counts as a whole, however many streams share its events.
pub(crate) async fn s8_events_of_an_append_over_streams(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let max = store.store().limits().append_events_max;
    holds(&store, "append_events_max", max, |count| {
        to_one(events("Made", count / 2)).and_to(
            stream("b-1"),
            Any,
            events("Made", count - count / 2),
        )
    })
    .await;
}

pub(crate) async fn s8_streams_of_an_append(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let max = store.store().limits().append_streams_max;
    holds(&store, "append_streams_max", max, |count| {
        (1..count).fold(to_one([event("Made")]), |append, n| {
            append.and_to(stream(format!("b-{n}")), NoStream, [event("Made")])
        })
    })
    .await;
    assert_eq!(store.log().await.len(), max);
}

pub(crate) async fn s8_bytes_of_an_append(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let Limits { append_bytes_max, event_data_bytes_max, .. } = *store.store().limits();
    holds(&store, "append_bytes_max", append_bytes_max, |bytes| {
        let mut missing = bytes;
        let mut events = Vec::new();
        while missing > 0 {
            let mut made = event("Made");
            let bare = made.bytes() - made.data.bytes.len();
            // Whatever is left over must be enough for one more event.
            let data = (missing - bare).min(event_data_bytes_max - 2 * bare);
            made.data = Data::json(vec![b'x'; data]);
            missing -= made.bytes();
            events.push(made);
        }
        to_one(events)
    })
    .await;
}

pub(crate) async fn s8_conditions_of_an_append(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let max = store.store().limits().append_conditions_max;
    holds(&store, "append_conditions_max", max, |count| {
        (0..count).fold(to_one([event("Made")]), |append, n| {
            let query = Query::stream(stream(format!("none-{n}")));
            append.only_if(AppendCondition::none_match(query))
        })
    })
    .await;
}

pub(crate) async fn s8_bytes_of_an_events_data(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let max = store.store().limits().event_data_bytes_max;
    holds(&store, "event_data_bytes_max", max, |bytes| {
        let mut large = event("Made");
        large.data = Data::json(vec![b'x'; bytes]);
        to_one([large])
    })
    .await;
    assert_eq!(store.log().await[0].data.bytes.len(), max);
}

pub(crate) async fn s8_bytes_of_an_events_metadata(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let max = store.store().limits().event_metadata_bytes_max;
    holds(&store, "event_metadata_bytes_max", max, |bytes| {
        let json = format!("{{\"k\":\"{}\"}}", "x".repeat(bytes - 8));
        let metadata = Metadata::from_json(json).expect("the text is a JSON object");
        to_one([event("Made").with_metadata(metadata)])
    })
    .await;
    assert_eq!(store.log().await[0].metadata.as_json().len(), max);
}

pub(crate) async fn s8_tags_of_an_event(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let max = store.store().limits().event_tags_max;
    holds(&store, "event_tags_max", max, |count| {
        let tags = (0..count).map(|n| tag(format!("n:{n}")));
        to_one([tags.fold(event("Made"), NewEvent::tagged)])
    })
    .await;
    assert_eq!(store.log().await[0].tags.iter().count(), max);
}

pub(crate) async fn s8_items_of_a_query(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let max = store.store().limits().query_items_max;
    holds_queries(&store, "query_items_max", max, |count| {
        (0..count).map(|n| QueryItem::new().tag(tag(format!("n:{n}")))).collect()
    })
    .await;
}

pub(crate) async fn s8_terms_of_a_query_item(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let max = store.store().limits().query_item_terms_max;
    holds_queries(&store, "query_item_terms_max", max, |count| {
        let types = (0..count / 2).map(|n| event_type(format!("Made{n}")));
        let item = QueryItem::new().types(types);
        let streams = (count / 2..count).map(|n| stream(format!("b-{n}")));
        Query::of(streams.fold(item, QueryItem::stream))
    })
    .await;
}

/// Queries are bounded in conditions, in reads and in subscriptions alike.
async fn holds_queries(store: &Probe, limit: &str, max: usize, query: impl Fn(usize) -> Query) {
    holds(store, limit, max, |count| {
        to_one([event("Made")]).only_if(AppendCondition::none_match(query(count)))
    })
    .await;
    exceeded(limit, max, &store.refuses_read(Read::query(query(max + 1))).await);
    assert_eq!(store.read(Read::query(query(max))).await, []);

    let mut refused = store.store().subscribe(Subscribe::query(query(max + 1)));
    match within("the first notice", refused.next()).await {
        Some(Err(ReadError::Invalid(invalid))) => exceeded(limit, max, &invalid),
        other => panic!("a subscription must exceed {limit}, but: {other:?}"),
    }
    let end = within("the end after an error", refused.next()).await;
    assert!(end.is_none(), "a subscription ends after an error, but: {end:?}");
    let (seen, _) = store.subscribe(Subscribe::query(query(max))).until_caught_up().await;
    assert_eq!(seen, []);
}

pub(crate) async fn s8_appends_that_make_no_sense(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    store.accepts(to_one([event("Made")])).await;
    let nothing = Append::default();
    let looking = Append::to(stream("a-1"), Any, []).and_to(stream("b-1"), NoStream, []);
    let guarded = looking.clone().only_if(AppendCondition::none_match(Query::default()));
    for append in [nothing, looking, guarded] {
        assert_eq!(store.refuses(append).await, Invalid::NoEvents);
    }
    let twice = to_one([event("Made")]).and_to(stream("b-1"), Any, [event("Made")]).and_to(
        stream("a-1"),
        Any,
        [],
    );
    let invalid = store.refuses(twice).await;
    assert_eq!(invalid, Invalid::StreamTwice { stream: stream("a-1") });

    let same = event("Made");
    let id = same.id;
    for append in [
        to_one([same.clone(), event("Made"), same.clone()]),
        to_one([same.clone()]).and_to(stream("b-1"), Any, [same.clone()]),
    ] {
        assert_eq!(store.refuses(append).await, Invalid::IdTwice { id });
    }
    store.accepts(to_one([same])).await;
}

/// More than most stores take: it is refused by name, or kept to the last byte.
pub(crate) async fn s8_ten_megabytes_are_kept_whole_or_refused(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let mut large = event("Made");
    large.data = Data::json((0..10_000_000_u32).map(|n| n.to_le_bytes()[1]).collect::<Vec<_>>());
    let append = to_one([large.clone()]);
    match store.append(&append).await {
        Ok(_) => assert!(store.log().await[0].data == large.data, "10 MB came back changed"),
        Err(AppendError::Invalid(Invalid::LimitExceeded { .. })) => {
            assert_eq!(store.log().await, []);
        }
        Err(error) => panic!("must be kept or exceed a limit, but: {error:?}"),
    }
    store.accepts(to_one([event("Made")])).await;
}

/// The limits a store is opened with are those it has, tells, and keeps.
pub(crate) async fn s8_chosen_limits_are_kept(backend: &dyn Configurable) {
    let mut limits = Limits::DEFAULT;
    limits.append_events_max = 3;
    limits.event_data_bytes_max = 10;
    limits.query_items_max = 1;
    let clock = Arc::new(ManualClock::at(Timestamp::EPOCH));
    let store = Probe::over(backend.open_with(clock, limits.clone()).await);
    assert_eq!(*store.store().limits(), limits);
    holds(&store, "append_events_max", 3, |count| to_one(events("Made", count))).await;
    holds(&store, "event_data_bytes_max", 10, |bytes| {
        let mut made = event("Made");
        made.data = Data::json("x".repeat(bytes));
        to_one([made])
    })
    .await;
    let two = Query::all().or(QueryItem::new());
    let refused = store.store().read_to_end(Read::query(two)).await;
    assert!(matches!(refused, Err(ReadError::Invalid(_))), "two items, but: {refused:?}");
}
