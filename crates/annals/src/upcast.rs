//! Upcasting: how events in older shapes are read.
//!
//! Stored bytes never change. What a newer program makes of them is decided here, each time
//! they are read.

mod routes;
mod run;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub(crate) use routes::{End, Routes};
pub(crate) use run::Upcasted;

/// The data of an event as JSON.
type Object = Map<String, Value>;
type Failure = Box<dyn Error + Send + Sync>;

/// What became of events in older shapes, type by type and version by version.
///
/// Named at the events, [`Event`](crate::Event) applies them wherever events are read:
///
/// ```
/// use annals::{Data, Event, Upcasters};
///
/// #[derive(Debug, PartialEq, Event)]
/// #[event(upcasters = upcasters)]
/// enum CustomerEvent {
///     #[event(version = 2)]
///     AddressUpdated { customer_id: String, street: String, city: String, country: String },
/// }
///
/// fn upcasters() -> Upcasters {
///     Upcasters::new().upcast("AddressUpdated", 1, |data| {
///         if let Some(user) = data.remove("user_id") {
///             data.insert("customer_id".into(), user);
///         }
///         data.entry("country").or_insert("USA".into());
///     })
/// }
/// # use annals::{EventStore, EventStoreExt, MemoryStore, NewEvent, EventType, StreamId, ExpectedVersion, Read};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// # let old = NewEvent::new(EventType::new("AddressUpdated")?, Data::json(r#"{"user_id":"c1","street":"Elm St 1","city":"Springfield"}"#));
/// # store.append_to(StreamId::new("customer-c1")?, ExpectedVersion::Any, [old]).await?;
/// # let stored = &store.read_to_end(Read::all()).await?[0];
/// // Stored as {"user_id":"c1","street":"Elm St 1","city":"Springfield"}, at version 1:
/// let mut decoded = CustomerEvent::decode(stored)?;
/// assert_eq!(decoded.next(), Some(CustomerEvent::AddressUpdated {
///     customer_id: "c1".into(),
///     street: "Elm St 1".into(),
///     city: "Springfield".into(),
///     country: "USA".into(),
/// }));
/// # Ok(()) }
/// ```
///
/// Each is a pure function of the data. One that panics makes the event unreadable, and nothing
/// else. Tags and metadata stay as they were stored, so a query
/// finds an old event by its old tags only.
///
/// What is changed is read as JSON and written again, as serde does: numbers are then at most 64
/// bits wide. Events that no upcaster concerns, and those that are renamed only, keep their bytes.
#[derive(Clone, Default)]
pub struct Upcasters {
    types: BTreeMap<&'static str, Steps>,
}

/// What is done with the events of one type.
#[derive(Clone, Default)]
struct Steps {
    /// By the version they lead away from.
    versions: BTreeMap<u32, Step>,
    /// What is done with every version that no step leads away from.
    finally: Finally,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Finally {
    #[default]
    Keep,
    Drop,
    Rename(&'static str),
}

type Change = dyn Fn(Value) -> Result<Value, Failure> + Send + Sync;
type Split = dyn Fn(Object) -> Vec<Part> + Send + Sync;

#[derive(Clone)]
enum Step {
    /// To the next version.
    Change(Arc<Change>),
    Split {
        into: &'static [&'static str],
        split: Arc<Split>,
    },
}

impl Step {
    /// Whether it is the very same, and not just one that does the same.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Change(ours), Self::Change(theirs)) => Arc::ptr_eq(ours, theirs),
            (Self::Split { split: ours, .. }, Self::Split { split: theirs, .. }) => {
                Arc::ptr_eq(ours, theirs)
            }
            _ => false,
        }
    }
}

/// One of the events that an old one is split into.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    event_type: &'static str,
    schema_version: u32,
    data: Value,
}

impl Part {
    /// An event of this type, with data in this shape, which may be an older one itself.
    #[must_use]
    pub fn new(event_type: &'static str, schema_version: u32, data: impl Into<Value>) -> Self {
        Self { event_type, schema_version, data: data.into() }
    }
}

impl Upcasters {
    /// None: events have only ever had one shape.
    pub const NONE: &'static Self = &Self { types: BTreeMap::new() };

    /// Without any yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Events of this type at schema `version` become those of the next version by changing
    /// their data, a JSON object, in place.
    ///
    /// # Panics
    /// When something else is already said about this type and version: a mistake in the
    /// program. So do the others.
    #[must_use]
    pub fn upcast(
        self,
        event_type: &'static str,
        version: u32,
        change: impl Fn(&mut Object) + Send + Sync + 'static,
    ) -> Self {
        let change = move |data| {
            let mut object = as_object(data)?;
            change(&mut object);
            Ok(Value::Object(object))
        };
        self.step(event_type, version, Step::Change(Arc::new(change)))
    }

    /// The same between types of the program, as serde reads the old and writes the new one.
    ///
    /// ```
    /// # use annals::Upcasters;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Deserialize)]
    /// struct V1 { user_id: String, street: String, city: String, country: Option<String> }
    /// #[derive(Serialize)]
    /// struct V2 { customer_id: String, address: Address }
    /// #[derive(Serialize)]
    /// struct Address { street: String, city: String, country: String }
    ///
    /// let upcasters = Upcasters::new().upcast_typed("AddressUpdated", 1, |old: V1| V2 {
    ///     customer_id: old.user_id,
    ///     address: Address {
    ///         street: old.street,
    ///         city: old.city,
    ///         country: old.country.unwrap_or_else(|| "USA".into()),
    ///     },
    /// });
    /// ```
    #[must_use]
    pub fn upcast_typed<Old: DeserializeOwned, New: Serialize>(
        self,
        event_type: &'static str,
        version: u32,
        change: impl Fn(Old) -> New + Send + Sync + 'static,
    ) -> Self {
        let change = move |data| Ok(serde_json::to_value(change(serde_json::from_value(data)?))?);
        self.step(event_type, version, Step::Change(Arc::new(change)))
    }

    /// An event of this type at schema `version` becomes several others, or none, in its place:
    /// of the types named in `into`.
    #[must_use]
    pub fn split(
        self,
        event_type: &'static str,
        version: u32,
        into: &'static [&'static str],
        split: impl Fn(Object) -> Vec<Part> + Send + Sync + 'static,
    ) -> Self {
        self.step(event_type, version, Step::Split { into, split: Arc::new(split) })
    }

    /// Events of the type `old` are now of the type `new`, at the version to which the other
    /// upcasters have brought them.
    #[must_use]
    pub fn rename(self, old: &'static str, new: &'static str) -> Self {
        self.finally(old, Finally::Rename(new))
    }

    /// Events of this type mean nothing any more and are passed over.
    #[must_use]
    pub fn drop_type(self, event_type: &'static str) -> Self {
        self.finally(event_type, Finally::Drop)
    }

    /// These and all of `other`: for readers who meet events of several enums, each with
    /// [`Event::upcasters`](crate::Event::upcasters) of its own.
    ///
    /// The same upcaster may be in both.
    ///
    /// # Panics
    /// When the two say different things about the same type and version.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (event_type, theirs) in &other.types {
            for (version, step) in &theirs.versions {
                let ours = self.types.get(event_type).and_then(|ours| ours.versions.get(version));
                if !ours.is_some_and(|ours| ours.is(step)) {
                    self = self.step(event_type, *version, step.clone());
                }
            }
            let ours = self.types.get(event_type).map(|ours| ours.finally);
            if theirs.finally != Finally::Keep && ours != Some(theirs.finally) {
                self = self.finally(event_type, theirs.finally);
            }
        }
        self
    }

    fn step(mut self, event_type: &'static str, version: u32, step: Step) -> Self {
        assert!(
            (1..u32::MAX).contains(&version),
            "no shape of {event_type} has version {version}; they are counted from 1"
        );
        let steps = self.types.entry(event_type).or_default();
        let before = steps.versions.insert(version, step);
        assert!(before.is_none(), "two upcasters for version {version} of {event_type}; keep one");
        self
    }

    fn finally(mut self, event_type: &'static str, finally: Finally) -> Self {
        let steps = self.types.entry(event_type).or_default();
        let before = std::mem::replace(&mut steps.finally, finally);
        assert!(before == Finally::Keep, "{event_type} is renamed or dropped twice; keep one");
        self
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }
}

fn as_object(data: Value) -> Result<Object, Failure> {
    match data {
        Value::Object(object) => Ok(object),
        other => Err(format!("the data are not an object but {}", kind(&other)).into()),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

impl fmt::Debug for Upcasters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions = |steps: &Steps| steps.versions.keys().copied().collect::<Vec<_>>();
        f.debug_map()
            .entries(self.types.iter().map(|(name, steps)| (name, versions(steps))))
            .finish()
    }
}
