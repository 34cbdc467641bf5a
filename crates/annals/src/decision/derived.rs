//! What derived decision models call.

use std::fmt::Display;

use annals_core::{EventType, InvalidName, Query, QueryItem, Tag};

use crate::{Event, EventShape};

/// The events of these types, all of `E`'s when none are named, with all of these tags.
pub fn query<E: Event>(
    types: &[&'static str],
    tags: &[(&'static str, &dyn Display)],
) -> Result<Query, InvalidName> {
    let all: Vec<_> = E::SHAPES.iter().map(|shape| shape.name).collect();
    let types = if types.is_empty() { &all } else { types };
    let mut item = QueryItem::new().types(types.iter().map(|name| EventType::from_static(name)));
    for (key, value) in tags {
        item = item.tag(Tag::of(key, value)?);
    }
    Ok(Query::of(item))
}

/// Whether one of the types is stored under this name; at compile time.
#[must_use]
pub const fn is_stored_as(shapes: &[EventShape], name: &str) -> bool {
    let mut n = 0;
    while n < shapes.len() {
        if same(shapes[n].name.as_bytes(), name.as_bytes()) {
            return true;
        }
        n += 1;
    }
    false
}

/// Whether one of these types, of all when none are named, has a tag with this key; at compile
/// time.
#[must_use]
pub const fn is_tagged(shapes: &[EventShape], types: &[&str], key: &str) -> bool {
    let mut n = 0;
    while n < shapes.len() {
        let is_meant = types.is_empty() || contains(types, shapes[n].name);
        if is_meant && contains(shapes[n].tags, key) {
            return true;
        }
        n += 1;
    }
    false
}

const fn contains(texts: &[&str], text: &str) -> bool {
    let mut n = 0;
    while n < texts.len() {
        if same(texts[n].as_bytes(), text.as_bytes()) {
            return true;
        }
        n += 1;
    }
    false
}

pub(crate) const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut n = 0;
    while n < a.len() && n < b.len() {
        if a[n] != b[n] {
            return false;
        }
        n += 1;
    }
    a.len() == b.len()
}
