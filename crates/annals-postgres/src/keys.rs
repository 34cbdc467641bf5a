//! The locks of an append: what makes its checks serialisable without a lock on the whole log.
//!
//! An append locks its streams for itself. Beside that it shares a lock for each thing its
//! events can be found by: type, category and tags. A condition locks for itself what every event
//! that it forbids must have, so that none can be under way beside it. All are advisory locks of
//! the transaction, named by a hash; two things with the same hash merely wait for each other.

use std::collections::BTreeMap;

use annals_core::{Append, QueryItem};
use sha2::{Digest, Sha256};

use crate::schema::SchemaName;

/// An append that would take more locks than this takes the one of the whole log instead, for
/// itself: the server's table of locks is bounded.
const KEYS_MAX: usize = 256;

/// Keys, in the one order in which everybody waits for them, and whether for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Keys(BTreeMap<i64, bool>);

impl Keys {
    pub(crate) fn of(schema: &SchemaName, append: &Append) -> Self {
        let namer = Namer(schema);
        let mut keys = Self::default();
        for part in &append.streams {
            for event in &part.events {
                keys.share(namer.name(b't', event.event_type.as_str()));
                for tag in &event.tags {
                    keys.share(namer.name(b'g', tag.as_str()));
                }
            }
            keys.share(namer.name(b'c', part.stream.category().as_str()));
        }
        keys.share(namer.log());
        for part in &append.streams {
            keys.alone(namer.name(b's', part.stream.as_str()));
        }
        for item in append.conditions.iter().flat_map(|condition| condition.query.items()) {
            namer.forbidding(item, |key| keys.alone(key));
        }
        if keys.len() > KEYS_MAX {
            // Every other append shares it.
            keys.0.clear();
            keys.alone(namer.log());
        }
        keys
    }

    /// The key that every append shares.
    pub(crate) fn of_log(schema: &SchemaName) -> i64 {
        Namer(schema).log()
    }

    /// Takes over what another append needs.
    pub(crate) fn extend(&mut self, other: &Self) {
        for (key, alone) in &other.0 {
            *self.0.entry(*key).or_default() |= alone;
        }
    }

    pub(crate) fn contains(&self, key: i64) -> bool {
        self.0.contains_key(&key)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The keys, and for each whether it is locked for itself.
    pub(crate) fn columns(&self) -> (Vec<i64>, Vec<bool>) {
        self.0.iter().unzip()
    }

    fn share(&mut self, key: i64) {
        self.0.entry(key).or_default();
    }

    fn alone(&mut self, key: i64) {
        self.0.insert(key, true);
    }
}

struct Namer<'s>(&'s SchemaName);

impl Namer<'_> {
    fn log(&self) -> i64 {
        self.name(b'*', "")
    }

    /// What every event that the item matches has one of.
    fn forbidding(&self, item: &QueryItem, mut lock: impl FnMut(i64)) {
        if let Some(tag) = item.tags.first() {
            lock(self.name(b'g', tag.as_str()));
        } else if !item.is_anywhere() {
            item.streams.iter().for_each(|stream| lock(self.name(b's', stream.as_str())));
            item.categories.iter().for_each(|category| lock(self.name(b'c', category.as_str())));
        } else if !item.types.is_empty() {
            item.types.iter().for_each(|name| lock(self.name(b't', name.as_str())));
        } else {
            lock(self.log());
        }
    }

    fn name(&self, kind: u8, name: &str) -> i64 {
        let mut hash = Sha256::new();
        hash.update(self.0.as_str());
        hash.update([0, kind]);
        hash.update(name);
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
        i64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

#[cfg(test)]
mod tests {
    use annals_core::{
        AppendCondition, Data, EventType, ExpectedVersion, NewEvent, Query, StreamId, Tag,
    };

    use super::*;

    fn event(tags: impl IntoIterator<Item = Tag>) -> NewEvent {
        let event = NewEvent::new(EventType::from_static("Made"), Data::json("{}"));
        tags.into_iter().fold(event, NewEvent::tagged)
    }

    fn append(stream: &str, tags: impl IntoIterator<Item = Tag>) -> Append {
        Append::to(StreamId::new(stream).unwrap(), ExpectedVersion::Any, [event(tags)])
    }

    /// Whether one must wait for the other.
    fn exclude(a: &Keys, b: &Keys) -> bool {
        a.0.iter().any(|(key, alone)| b.0.get(key).is_some_and(|other| *alone || *other))
    }

    #[test]
    fn appends_exclude_each_other_where_they_must() {
        let schema = SchemaName::default();
        let of = |append: &Append| Keys::of(&schema, append);
        let tag = Tag::of("seat", 7).unwrap();
        let plain = of(&append("a-1", []));
        let tagged = of(&append("b-1", [tag.clone()]));
        assert!(!exclude(&plain, &tagged));
        assert!(exclude(&plain, &plain), "the same stream");
        for (item, excludes_plain, excludes_tagged) in [
            (QueryItem::new().tag(tag.clone()), false, true),
            (QueryItem::new().event_type(EventType::from_static("Made")), true, true),
            (QueryItem::new().event_type(EventType::from_static("Sold")), false, false),
            (QueryItem::new().stream(StreamId::from_static("a-1")), true, false),
            (QueryItem::new().category(annals_core::Category::from_static("b")), false, true),
            (QueryItem::new(), true, true),
        ] {
            let condition = AppendCondition::none_match(Query::of(item.clone()));
            let guarded = of(&append("c-1", []).only_if(condition));
            assert_eq!(exclude(&guarded, &plain), excludes_plain, "{item:?}");
            assert_eq!(exclude(&guarded, &tagged), excludes_tagged, "{item:?}");
        }
    }

    #[test]
    fn an_append_with_very_many_locks_takes_that_of_the_log() {
        let schema = SchemaName::default();
        let other = Keys::of(&schema, &append("other-1", []));
        let tagged = append("a-1", (0..300).map(|n| Tag::of("n", n).unwrap()));
        let mut wide = append("a-1", []);
        for n in 0..300 {
            let stream = StreamId::of("b", n).unwrap();
            wide = wide.and_to(stream, ExpectedVersion::Any, [event([])]);
        }
        let item = |n: i32| QueryItem::new().tag(Tag::of("n", n).unwrap());
        let query = (1..300).map(item).fold(Query::of(item(0)), Query::or);
        let guarded = append("a-1", []).only_if(AppendCondition::none_match(query));
        for many in [tagged, wide, guarded] {
            let many = Keys::of(&schema, &many);
            assert_eq!(many.len(), 1);
            assert!(exclude(&many, &other), "it locks the log");
        }
    }
}
