//! What becomes of documents because of an event.

use std::collections::BTreeMap;

use annals_core::{Fault, Position};
use serde_json::{Map, Value};

use crate::Refused;

/// The most bytes the id of a document may have, as UTF-8: what Elasticsearch takes.
pub const ID_BYTES_MAX: usize = 512;

/// What becomes of a document because of an event.
///
/// ```
/// use annals_search::Edit;
/// use serde_json::json;
///
/// let added = Edit::index("shoe-1", json!({"name": "Red shoe", "price": 80}));
/// let cheaper = Edit::update("shoe-1", json!({"price": 60}));
/// let gone = Edit::delete("shoe-1");
/// # assert_ne!(added, cheaper); assert_ne!(cheaper, gone);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "these three are what an index can do")]
pub enum Edit {
    /// The document is this from now on, whatever it was.
    Index {
        /// Which document: 1 to [`ID_BYTES_MAX`] bytes without control characters.
        id: String,
        /// What it says: a JSON object.
        document: Value,
    },
    /// These fields of the document are this from now on; the others stay as they are.
    ///
    /// A field is replaced whole, also when it holds an object. A document that is not there, or
    /// not there any more, does not come into being by an update: only
    /// [`Index`](Self::Index) does that.
    Update {
        /// Which document.
        id: String,
        /// The fields: a JSON object.
        fields: Value,
    },
    /// The document is gone.
    Delete {
        /// Which document.
        id: String,
    },
}

impl Edit {
    /// The document is this from now on, whatever it was.
    #[must_use]
    pub fn index(id: impl Into<String>, document: Value) -> Self {
        Self::Index { id: id.into(), document }
    }

    /// These fields of the document are this from now on.
    #[must_use]
    pub fn update(id: impl Into<String>, fields: Value) -> Self {
        Self::Update { id: id.into(), fields }
    }

    /// The document is gone.
    #[must_use]
    pub fn delete(id: impl Into<String>) -> Self {
        Self::Delete { id: id.into() }
    }

    fn id(&self) -> &str {
        match self {
            Self::Index { id, .. } | Self::Update { id, .. } | Self::Delete { id } => id,
        }
    }
}

/// All that becomes of documents because of one event, and where that event stands.
///
/// One event's edits belong into one of these: its position is what tells a replay.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "projections by hand make it")]
pub struct EventEdits {
    /// The event's place in the log.
    pub position: Position,
    /// Its edits, in order. The last one of a document prevails.
    pub edits: Vec<Edit>,
}

/// What one event comes to for one document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    Index(Map<String, Value>),
    Update(Map<String, Value>),
    Delete,
}

/// What several events come to for one document, in no particular order.
#[derive(Clone, Debug)]
pub(crate) struct Effects {
    pub(crate) id: String,
    pub(crate) effects: Vec<(Position, Effect)>,
}

impl Effects {
    /// The refusal of this document, which the newest event is named for.
    pub(crate) fn refused(&self, reason: Fault) -> Refused {
        let newest = self.effects.iter().map(|(position, _)| *position).max();
        Refused { id: self.id.clone(), position: newest.unwrap_or(Position::START), reason }
    }
}

/// The edits of many events, one entry for each document and sorted by id, and what cannot be
/// an edit at all.
pub(crate) fn by_document(events: &[EventEdits]) -> (Vec<Effects>, Vec<Refused>) {
    let mut documents: BTreeMap<&str, Vec<(Position, Effect)>> = BTreeMap::new();
    let mut refused = Vec::new();
    for event in events {
        for edit in &event.edits {
            match effect(edit) {
                Ok(effect) => {
                    join(documents.entry(edit.id()).or_default(), event.position, effect);
                }
                Err(reason) => refused.push(Refused {
                    id: edit.id().to_owned(),
                    position: event.position,
                    reason,
                }),
            }
        }
    }
    let documents = documents.into_iter();
    let documents = documents.map(|(id, effects)| Effects { id: id.to_owned(), effects });
    (documents.collect(), refused)
}

fn effect(edit: &Edit) -> Result<Effect, Fault> {
    let id = edit.id();
    if id.is_empty() || id.len() > ID_BYTES_MAX || id.chars().any(char::is_control) {
        return Err(Fault::new(format!(
            "checking its id of {} bytes; give it 1 to {ID_BYTES_MAX} without control characters",
            id.len()
        )));
    }
    match edit {
        Edit::Index { document, .. } => Ok(Effect::Index(object(document)?)),
        Edit::Update { fields, .. } => Ok(Effect::Update(object(fields)?)),
        Edit::Delete { .. } => Ok(Effect::Delete),
    }
}

fn object(value: &Value) -> Result<Map<String, Value>, Fault> {
    let object =
        value.as_object().ok_or_else(|| Fault::new("reading it; it must be a JSON object"))?;
    if object.contains_key(crate::state::BOOKKEEPING) {
        return Err(Fault::new("reading it; its field `annals` is taken, use another name"));
    }
    Ok(object.clone())
}

/// Adds what an event does to a document, to what it did to it already.
fn join(effects: &mut Vec<(Position, Effect)>, position: Position, effect: Effect) {
    let before = effects.iter_mut().find(|(at, _)| *at == position);
    let Some((_, before)) = before else { return effects.push((position, effect)) };
    match (before, effect) {
        (Effect::Index(fields) | Effect::Update(fields), Effect::Update(more)) => {
            fields.extend(more);
        }
        // What was deleted cannot be updated.
        (Effect::Delete, Effect::Update(_)) => {}
        (before, after) => *before = after,
    }
}
