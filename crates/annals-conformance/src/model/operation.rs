//! What is done to a store, written down so that it stays meaningful when a history is shortened:
//! streams, events and places are named by numbers, taken modulo what there is.

use annals_core::{Query, QueryItem};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any as anything};
use proptest::prop_oneof;

use crate::words::{category, event_type, stream, tag};

pub(super) const STREAMS: [&str; 5] = ["a-1", "a-2", "ab-1", "b-1", "b"];
pub(super) const TYPES: [&str; 3] = ["Red", "Green", "Blue"];
pub(super) const TAGS: [&str; 4] = ["x:1", "x:2", "y:1", "y:11"];
const CATEGORIES: [&str; 3] = ["a", "ab", "b"];

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Append { parts: Vec<Part>, conditions: Vec<Condition> },
    Repeat { of: usize, change: Change },
    Read(Reading),
    Subscribe { terms: Vec<Terms>, after: Place },
}

#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) stream: usize,
    pub(super) expect: Expect,
    pub(super) events: Vec<Kind>,
}

/// A type, and a tag for each number.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) of_type: usize,
    pub(super) tags: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    Any,
    NoStream,
    StreamExists,
    /// The version the stream has.
    Current,
    Exact(u64),
}

#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) terms: Vec<Terms>,
    pub(super) after: Place,
}

/// One item of a query.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) types: Vec<usize>,
    pub(super) tags: Vec<usize>,
    pub(super) categories: Vec<usize>,
    pub(super) streams: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Start,
    /// At this event.
    Event(usize),
    Head,
    End,
}

/// How a repeat differs from the append it repeats.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Nothing,
    /// The expected versions are others.
    Expecting,
    /// The last event is left out.
    Fewer,
    /// There is one more event.
    More,
    /// Everything goes to another stream.
    Elsewhere,
    /// The events of a second append come too.
    Together(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) scope: Within,
    pub(super) after: Place,
    pub(super) up_to: Place,
    pub(super) versions: Option<(u64, u64)>,
    /// As at the moment this event was recorded.
    pub(super) as_at: Option<usize>,
    pub(super) backward: bool,
    pub(super) limit: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) enum Within {
    Stream(usize),
    Query(Vec<Terms>),
}

pub(super) fn query(terms: &[Terms]) -> Query {
    let item = |terms: &Terms| QueryItem {
        types: terms.types.iter().map(|n| event_type(TYPES[*n])).collect(),
        tags: terms.tags.iter().map(|n| tag(TAGS[*n])).collect(),
        categories: terms.categories.iter().map(|n| category(CATEGORIES[*n])).collect(),
        streams: terms.streams.iter().map(|n| stream(STREAMS[*n])).collect(),
    };
    terms.iter().map(item).collect()
}

pub(super) fn any() -> impl Strategy<Value = Operation> {
    prop_oneof![
        5 => append(),
        2 => (anything::<usize>(), change())
            .prop_map(|(of, change)| Operation::Repeat { of, change }),
        4 => reading().prop_map(Operation::Read),
        1 => (terms(), place()).prop_map(|(terms, after)| Operation::Subscribe { terms, after }),
    ]
}

fn append() -> impl Strategy<Value = Operation> {
    let kind = (0..TYPES.len(), vec(0..TAGS.len(), 0..3));
    let kind = kind.prop_map(|(of_type, tags)| Kind { of_type, tags });
    let part = (0..STREAMS.len(), expect(), vec(kind, 0..4));
    let part = part.prop_map(|(stream, expect, events)| Part { stream, expect, events });
    let condition = (terms(), place()).prop_map(|(terms, after)| Condition { terms, after });
    (vec(part, 1..4), vec(condition, 0..2))
        .prop_map(|(parts, conditions)| Operation::Append { parts, conditions })
}

fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![
        4 => Just(Expect::Any),
        4 => Just(Expect::Current),
        1 => Just(Expect::NoStream),
        1 => Just(Expect::StreamExists),
        1 => (0..6_u64).prop_map(Expect::Exact),
    ]
}

fn terms() -> impl Strategy<Value = Vec<Terms>> {
    let item = (
        vec(0..TYPES.len(), 0..3),
        vec(0..TAGS.len(), 0..3),
        vec(0..CATEGORIES.len(), 0..2),
        vec(0..STREAMS.len(), 0..2),
    );
    let item = item.prop_map(|(types, tags, categories, streams)| Terms {
        types,
        tags,
        categories,
        streams,
    });
    vec(item, 0..4)
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        2 => Just(Place::Start),
        4 => anything::<usize>().prop_map(Place::Event),
        2 => Just(Place::Head),
        1 => Just(Place::End),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => Just(Change::Nothing),
        1 => Just(Change::Expecting),
        1 => Just(Change::Fewer),
        1 => Just(Change::More),
        1 => Just(Change::Elsewhere),
        1 => anything::<usize>().prop_map(Change::Together),
    ]
}

fn reading() -> impl Strategy<Value = Reading> {
    let scope = prop_oneof![
        (0..STREAMS.len()).prop_map(Within::Stream),
        terms().prop_map(Within::Query),
        // No restriction at all: the whole log.
        Just(Within::Query(vec_of_all())),
    ];
    let bounds = (place(), place(), option::weighted(0.3, (0..8_u64, 0..8_u64)));
    let rest = (
        option::weighted(0.2, anything::<usize>()),
        anything::<bool>(),
        option::weighted(0.4, 0..6_u64),
    );
    (scope, bounds, rest).prop_map(|(scope, (after, up_to, versions), (as_at, backward, limit))| {
        Reading { scope, after, up_to, versions, as_at, backward, limit }
    })
}

fn vec_of_all() -> Vec<Terms> {
    let nothing = Vec::new;
    vec![Terms { types: nothing(), tags: nothing(), categories: nothing(), streams: nothing() }]
}
