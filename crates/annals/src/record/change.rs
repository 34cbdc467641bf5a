//! What changed in a row: its fields, from → to.

use std::collections::BTreeMap;
use std::fmt;

use annals_core::{Data, EventType, NewEvent};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Recordable;
use crate::error::{EncodeError, EncodeFault};

/// What was done to something that an application keeps in a table of its own, field by field.
///
/// Recorded, it is an event `UserCreated`, `UserUpdated` or `UserDeleted`, whose data say for
/// each changed field what it was and what it is.
///
/// ```
/// use annals::{Annals, Changed, MemoryStore};
/// use serde::Serialize;
///
/// #[derive(Clone, Serialize)]
/// struct User { name: String, city: String, password_digest: String }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let annals = Annals::new(MemoryStore::new());
/// let before =
///     User { name: "Ada".into(), city: "Rome".into(), password_digest: "9f…".into() };
/// let after = User { city: "Oslo".into(), password_digest: "c4…".into(), ..before.clone() };
///
/// let changed = Changed::between("User", &before, &after)?.masking("password_digest");
/// assert_eq!(changed.fields()["city"].from, "Rome");
/// annals.record(changed).on("user-7").by("ada").await?;
/// # Ok(()) }
/// ```
///
/// Fields of objects inside have paths, `address.city`; lists are compared whole.
#[derive(Clone, PartialEq)]
pub struct Changed {
    what: String,
    done: Done,
    fields: BTreeMap<String, Change>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Done {
    Created,
    Updated,
    Deleted,
}

/// What a field was, and what it is; null for one that is not there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// What it was.
    pub from: Value,
    /// What it is now.
    pub to: Value,
}

/// What stands in the place of values that must not be recorded.
const MASKED: &str = "(masked)";

#[derive(Serialize, Deserialize)]
struct Fields {
    changes: BTreeMap<String, Change>,
}

impl Changed {
    /// `what`, a word such as `User`, came to be.
    ///
    /// # Errors
    /// When it does not serialise as a JSON object.
    pub fn created(what: &str, after: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::new(what, Done::Created, &Map::new(), &object_of(after)?))
    }

    /// `what` is another now.
    ///
    /// # Errors
    /// When one of them does not serialise as a JSON object.
    pub fn between<T: Serialize>(
        what: &str,
        before: &T,
        after: &T,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self::new(what, Done::Updated, &object_of(before)?, &object_of(after)?))
    }

    /// `what` is no more.
    ///
    /// # Errors
    /// When it does not serialise as a JSON object.
    pub fn deleted(what: &str, before: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::new(what, Done::Deleted, &object_of(before)?, &Map::new()))
    }

    fn new(
        what: &str,
        done: Done,
        before: &Map<String, Value>,
        after: &Map<String, Value>,
    ) -> Self {
        let mut fields = BTreeMap::new();
        compare("", before, after, &mut fields);
        Self { what: what.to_owned(), done, fields }
    }

    /// The same without a field, and those inside it, that is nobody's business.
    ///
    /// Where the field is a part of something that is compared whole, such as a list, all of that
    /// is left out.
    #[must_use]
    pub fn without(mut self, field: &str) -> Self {
        self.fields.retain(|path, _| !concerns(path, field));
        self
    }

    /// The same, saying of a field, and those inside it, only that it has changed.
    ///
    /// Where the field is a part of something that is compared whole, such as a list, all of that
    /// is masked.
    #[must_use]
    pub fn masking(mut self, field: &str) -> Self {
        let masked = self.fields.iter_mut().filter(|(path, _)| concerns(path, field));
        for value in masked.flat_map(|(_, change)| [&mut change.from, &mut change.to]) {
            if !value.is_null() {
                *value = MASKED.into();
            }
        }
        self
    }

    /// Whether nothing has changed; then there is nothing to record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The fields that have changed, by their paths.
    #[must_use]
    pub fn fields(&self) -> &BTreeMap<String, Change> {
        &self.fields
    }

    /// The changes that an event of this kind says.
    ///
    /// # Errors
    /// When the data are of another kind.
    pub fn fields_in(data: &Data) -> Result<BTreeMap<String, Change>, serde_json::Error> {
        serde_json::from_slice::<Fields>(&data.bytes).map(|fields| fields.changes)
    }
}

impl Recordable for Changed {
    fn into_event(self) -> Result<Option<NewEvent>, EncodeError> {
        if self.is_empty() {
            return Ok(None);
        }
        let done = match self.done {
            Done::Created => "Created",
            Done::Updated => "Updated",
            Done::Deleted => "Deleted",
        };
        let name = format!("{}{done}", self.what);
        let fields = Fields { changes: self.fields };
        event_of(&name, &fields).map(Some)
    }
}

/// The event of a type that is known only now.
pub(super) fn event_of(name: &str, data: &impl Serialize) -> Result<NewEvent, EncodeError> {
    let fail = |fault| EncodeError { event_type: name.to_owned(), fault };
    let event_type = EventType::new(name).map_err(|error| fail(EncodeFault::Type(error)))?;
    let data = Data::of(data).map_err(|error| fail(EncodeFault::Data(error)))?;
    Ok(NewEvent::new(event_type, data))
}

fn object_of(value: &impl Serialize) -> Result<Map<String, Value>, serde_json::Error> {
    match serde_json::to_value(value)? {
        Value::Object(object) => Ok(object),
        _ => {
            Err(serde::ser::Error::custom("it is no object with fields, so none can have changed"))
        }
    }
}

fn compare(
    parent: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    fields: &mut BTreeMap<String, Change>,
) {
    let new = after.keys().filter(|key| !before.contains_key(*key));
    for key in before.keys().chain(new) {
        let path = if parent.is_empty() { key.clone() } else { format!("{parent}.{key}") };
        let value = |object: &Map<String, Value>| object.get(key).cloned().unwrap_or_default();
        match (value(before), value(after)) {
            (Value::Object(from), Value::Object(to)) => compare(&path, &from, &to, fields),
            // Also field by field, or a field inside could be neither left out nor masked.
            (Value::Object(from), Value::Null) if !from.is_empty() => {
                compare(&path, &from, &Map::new(), fields);
            }
            (Value::Null, Value::Object(to)) if !to.is_empty() => {
                compare(&path, &Map::new(), &to, fields);
            }
            (from, to) if from == to => {}
            (from, to) => drop(fields.insert(path, Change { from, to })),
        }
    }
}

/// Whether the field is what the path leads to, lies inside it, or holds it.
fn concerns(path: &str, field: &str) -> bool {
    lies_in(path, field) || lies_in(field, path)
}

fn lies_in(path: &str, field: &str) -> bool {
    path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl fmt::Debug for Changed {
    /// Without the values, which may be secret and not masked yet.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<_> = self.fields.keys().collect();
        f.debug_struct("Changed").field("what", &self.what).field("fields", &fields).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(changed: &Changed) -> Vec<&str> {
        changed.fields().keys().map(String::as_str).collect()
    }

    #[test]
    fn only_what_changed_is_said_by_its_path() {
        let before =
            json!({"name": "Ada", "address": {"city": "Rome", "zip": 1}, "tags": [1], "old": 1});
        let after = json!({"name": "Ada", "address": {"city": "Oslo", "zip": 1}, "tags": [1, 2], "new": null});
        let changed = Changed::between("User", &before, &after).unwrap();
        assert_eq!(paths(&changed), ["address.city", "old", "tags"]);
        assert_eq!(changed.fields()["old"], Change { from: json!(1), to: Value::Null });
        let same = Changed::between("User", &before, &before).unwrap();
        assert!(same.is_empty());
    }

    #[test]
    fn secrets_are_left_out_or_masked() {
        let before =
            json!({"digest": "s1", "bank": {"iban": "s2"}, "bankrupt": false, "name": "a"});
        let after = json!({"digest": "s3", "bank": {"iban": null}, "bankrupt": true, "name": "b"});
        let changed = Changed::between("User", &before, &after).unwrap();
        let changed = changed.without("digest").masking("bank");
        assert_eq!(paths(&changed), ["bank.iban", "bankrupt", "name"]);
        let masked = Change { from: json!(MASKED), to: Value::Null };
        assert_eq!(changed.fields()["bank.iban"], masked);
        assert_eq!(changed.fields()["bankrupt"].to, json!(true));
        let event = changed.into_event().unwrap().unwrap();
        let text = std::str::from_utf8(&event.data.bytes).unwrap();
        let created = Changed::created("User", &json!({"bank": {"iban": "s2", "name": "b"}}));
        let created = created.unwrap().masking("bank.iban");
        assert_eq!(created.fields()["bank.iban"].to, MASKED);
        assert_eq!(created.fields()["bank.name"].to, "b");
        let cards = Changed::created("User", &json!({"cards": [{"number": "s2"}]})).unwrap();
        assert_eq!(cards.clone().masking("cards.number").fields()["cards"].to, MASKED);
        assert!(cards.without("cards.number").is_empty());
        assert!(!text.contains("s1") && !text.contains("s2") && !text.contains("s3"), "{text}");
    }

    #[test]
    fn what_was_done_is_in_the_type_and_comes_back() {
        let row = json!({"name": "Ada"});
        for (changed, name) in [
            (Changed::created("User", &row), "UserCreated"),
            (Changed::deleted("User", &row), "UserDeleted"),
            (Changed::between("User", &row, &json!({"name": "Eve"})), "UserUpdated"),
        ] {
            let changed = changed.unwrap();
            let event = changed.clone().into_event().unwrap().unwrap();
            assert_eq!(event.event_type.as_str(), name);
            assert_eq!(&Changed::fields_in(&event.data).unwrap(), changed.fields());
        }
        assert!(Changed::created("User", &json!([1])).is_err());
        assert!(Changed::created("", &row).unwrap().into_event().is_ok());
        assert!(Changed::created("\n", &row).unwrap().into_event().is_err());
        assert_eq!(Changed::between("User", &row, &row).unwrap().into_event().unwrap(), None);
    }
}
