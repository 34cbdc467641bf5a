//! Short ways to write down what the cases append and ask for.

use annals_core::{
    Category, Data, EventType, ExpectedVersion, NewEvent, Query, QueryItem, StreamId, Tag, Version,
};

const VALID: &str = "the suite's own names are valid";

pub(crate) fn stream(name: impl AsRef<str>) -> StreamId {
    StreamId::new(name.as_ref()).expect(VALID)
}

pub(crate) fn category(name: impl AsRef<str>) -> Category {
    Category::new(name.as_ref()).expect(VALID)
}

pub(crate) fn event_type(name: impl AsRef<str>) -> EventType {
    EventType::new(name.as_ref()).expect(VALID)
}

pub(crate) fn tag(text: impl AsRef<str>) -> Tag {
    Tag::new(text.as_ref()).expect(VALID)
}

/// An event of this type, with `{}` as data.
pub(crate) fn event(type_name: &str) -> NewEvent {
    NewEvent::new(event_type(type_name), Data::json("{}"))
}

/// `count` events of this type, with their number as data.
pub(crate) fn events(type_name: &str, count: usize) -> Vec<NewEvent> {
    (0..count).map(|n| NewEvent::new(event_type(type_name), Data::json(n.to_string()))).collect()
}

pub(crate) fn exact(version: u64) -> ExpectedVersion {
    ExpectedVersion::Exact(Version::new(version))
}

/// The events with all of these tags.
pub(crate) fn tagged<const N: usize>(tags: [&str; N]) -> Query {
    Query::of(tags.into_iter().fold(QueryItem::new(), |item, text| item.tag(tag(text))))
}

/// The events of any of these types.
pub(crate) fn typed<const N: usize>(types: [&str; N]) -> Query {
    Query::of(QueryItem::new().types(types.map(event_type)))
}
