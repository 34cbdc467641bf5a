//! What an index keeps of a document, so that the order in which edits arrive does not matter.
//!
//! Every field carries the position of the event that set it, and the document the position of
//! the event that last indexed or deleted it as a whole. An edit takes effect on what is older
//! and passes over what is newer. Two sets of edits come to the same document in whatever order
//! and however often they are applied: a position on the document alone could not do that, since
//! an update that arrives before the older document it belongs to would hide that one for ever.
//!
//! A deleted document leaves its position behind, or else an older edit that comes late would
//! bring it back.

use std::collections::BTreeMap;

use annals_core::{Fault, Position};
#[cfg(any(test, feature = "sqlite", feature = "postgres", feature = "elasticsearch"))]
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::edit::{Effect, Effects};

/// The field of stored documents that is not the application's.
pub(crate) const BOOKKEEPING: &str = "annals";
/// The most bytes a document may have as JSON.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    /// What last made the document as a whole; `None` as long as only updates have come.
    base: Option<Base>,
    /// None is older than the base.
    fields: BTreeMap<String, Field>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Base {
    position: Position,
    deleted: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Field {
    position: Position,
    value: Value,
}

impl State {
    /// The state after these events as well; `None` when they change nothing.
    ///
    /// # Errors
    /// When the document becomes too large.
    pub(crate) fn after(&self, effects: &Effects) -> Result<Option<Self>, Fault> {
        let mut after = self.clone();
        for (position, effect) in &effects.effects {
            after.apply(*position, effect);
        }
        if after == *self {
            return Ok(None);
        }
        let bytes = serde_json::to_vec(&after.values()).map_or(0, |json| json.len());
        if bytes > DOCUMENT_BYTES_MAX {
            return Err(Fault::new(format!(
                "measuring it: {bytes} bytes; at most {DOCUMENT_BYTES_MAX} are allowed"
            )));
        }
        Ok(Some(after))
    }

    fn apply(&mut self, position: Position, effect: &Effect) {
        match effect {
            Effect::Index(fields) => {
                self.rebase(Base { position, deleted: false }, fields);
            }
            Effect::Delete => self.rebase(Base { position, deleted: true }, &Map::new()),
            Effect::Update(fields) => self.update(position, fields),
        }
    }

    fn rebase(&mut self, base: Base, fields: &Map<String, Value>) {
        if self.base.is_some_and(|newer| newer.position >= base.position) {
            return;
        }
        self.base = Some(base);
        self.fields.retain(|_, field| field.position > base.position);
        self.set(base.position, fields);
    }

    fn update(&mut self, position: Position, fields: &Map<String, Value>) {
        if self.base.is_none_or(|base| base.position < position) {
            self.set(position, fields);
        }
    }

    fn set(&mut self, position: Position, fields: &Map<String, Value>) {
        for (name, value) in fields {
            if self.fields.get(name).is_none_or(|field| field.position < position) {
                self.fields.insert(name.clone(), Field { position, value: value.clone() });
            }
        }
    }

    /// The document, if there is one.
    pub(crate) fn document(&self) -> Option<Map<String, Value>> {
        self.base.is_some_and(|base| !base.deleted).then(|| self.values())
    }

    fn values(&self) -> Map<String, Value> {
        self.fields.iter().map(|(name, field)| (name.clone(), field.value.clone())).collect()
    }

    /// What has to be kept besides the document.
    #[cfg(any(test, feature = "sqlite", feature = "postgres", feature = "elasticsearch"))]
    pub(crate) fn bookkeeping(&self) -> Bookkeeping {
        let base = self.base.map(|base| base.position);
        let updated = self.fields.iter().filter(|(_, field)| Some(field.position) != base);
        Bookkeeping {
            base,
            deleted: self.base.is_some_and(|base| base.deleted),
            updated: updated.map(|(name, field)| (name.clone(), field.position)).collect(),
            waiting: if self.document().is_none() { self.values() } else { Map::new() },
        }
    }

    /// The state that was stored as these two.
    #[cfg(any(test, feature = "sqlite", feature = "postgres", feature = "elasticsearch"))]
    pub(crate) fn stored(document: Option<Map<String, Value>>, kept: Bookkeeping) -> Self {
        let Bookkeeping { base, deleted, updated, waiting } = kept;
        let position = |name: &str| updated.get(name).copied().or(base).unwrap_or(Position::START);
        let fields = document.unwrap_or(waiting).into_iter().map(|(name, value)| {
            let position = position(&name);
            (name, Field { position, value })
        });
        let fields = fields.collect();
        Self { base: base.map(|position| Base { position, deleted }), fields }
    }
}

/// The positions that a document's state has, and the fields that wait for a document.
#[cfg(any(test, feature = "sqlite", feature = "postgres", feature = "elasticsearch"))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bookkeeping {
    #[serde(default)]
    base: Option<Position>,
    #[serde(default)]
    deleted: bool,
    /// Of the fields that are not as old as the base.
    #[serde(default)]
    updated: BTreeMap<String, Position>,
    /// Fields that were updated where no document is (yet).
    #[serde(default)]
    waiting: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn effects(effects: &[(u64, Effect)]) -> Effects {
        let effects = effects.iter().map(|(at, effect)| (Position::new(*at), effect.clone()));
        Effects { id: "1".to_owned(), effects: effects.collect() }
    }

    fn fields(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn an_update_waits_for_the_older_document_it_belongs_to() {
        let updated = (5, Effect::Update(fields(&json!({"price": 5}))));
        let waiting = State::default().after(&effects(&[updated])).unwrap().unwrap();
        assert_eq!(waiting.document(), None);
        let indexed = (3, Effect::Index(fields(&json!({"name": "x", "price": 3}))));
        let whole = waiting.after(&effects(&[indexed])).unwrap().unwrap();
        assert_eq!(whole.document(), Some(fields(&json!({"name": "x", "price": 5}))));
    }

    #[test]
    fn a_state_is_the_same_after_storing_it() {
        let steps = [
            (3, Effect::Update(fields(&json!({"price": 3})))),
            (2, Effect::Index(fields(&json!({"name": "x"})))),
            (7, Effect::Update(fields(&json!({"name": "y"})))),
            (6, Effect::Delete),
        ];
        let mut state = State::default();
        for step in steps {
            state = state.after(&effects(&[step])).unwrap().unwrap();
            let json = serde_json::to_string(&state.bookkeeping()).unwrap();
            let kept = serde_json::from_str(&json).unwrap();
            assert_eq!(State::stored(state.document(), kept), state);
        }
        assert_eq!(state.document(), None);
    }

    #[test]
    fn a_document_cannot_grow_beyond_its_limit() {
        let long = "x".repeat(DOCUMENT_BYTES_MAX);
        let indexed = (1, Effect::Index(fields(&json!({"name": long}))));
        let error = State::default().after(&effects(&[indexed])).unwrap_err();
        assert!(error.to_string().contains("at most 262144"), "{error}");
    }
}
