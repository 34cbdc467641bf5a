//! Upcasting: how events in older shapes are read.
//!
//! Stored bytes never change. What a newer program makes of them is decided here, each time
//! they are read.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use annals_core::{ContentType, Data, EventType, RecordedEvent};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{DecodeError, DecodeFault};

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
/// Each is a pure function of the data. Tags and metadata stay as they were stored, so a query
/// finds an old event by its old tags only.
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

#[derive(Clone, Default)]
enum Finally {
    #[default]
    Keep,
    Drop,
    Rename(&'static str),
}

#[derive(Clone)]
enum Step {
    /// To the next version.
    Change(Arc<dyn Fn(Value) -> Result<Value, Failure> + Send + Sync>),
    Split {
        into: &'static [&'static str],
        split: Arc<dyn Fn(Object) -> Vec<Part> + Send + Sync>,
    },
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

/// What became of a stored event.
pub(crate) enum Upcasted {
    /// No upcaster concerns it.
    AsStored,
    /// These, in its place.
    Became(Vec<RecordedEvent>),
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

    /// These and all of `other`: for readers who meet events of several enums.
    ///
    /// What both say is taken once, if it is the same enum's.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (event_type, steps) in &other.types {
            self.types.entry(event_type).or_insert_with(|| steps.clone());
        }
        self
    }

    fn step(mut self, event_type: &'static str, version: u32, step: Step) -> Self {
        let steps = self.types.entry(event_type).or_default();
        let before = steps.versions.insert(version, step);
        assert!(before.is_none(), "two upcasters for version {version} of {event_type}; keep one");
        self
    }

    fn finally(mut self, event_type: &'static str, finally: Finally) -> Self {
        let steps = self.types.entry(event_type).or_default();
        let before = std::mem::replace(&mut steps.finally, finally);
        assert!(
            matches!(before, Finally::Keep),
            "{event_type} is renamed or dropped twice; keep one"
        );
        self
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// The types under which events may be stored that are read as events of this type, itself
    /// included.
    #[must_use]
    pub fn stored_types(&self, event_type: &str) -> Vec<String> {
        let mut found = vec![event_type.to_owned()];
        let mut next = 0;
        while let Some(target) = found.get(next).cloned() {
            let sources = self.types.iter().filter(|(_, steps)| steps.lead_to(&target));
            for (source, _) in sources {
                if !found.iter().any(|known| known == source) {
                    found.push((*source).to_owned());
                }
            }
            next += 1;
        }
        found
    }

    /// What an event stored under this type and schema version has become, each with its
    /// schema version; `None` when that depends on what it says.
    #[must_use]
    pub fn leads_from(&self, event_type: &str, version: u32) -> Option<(String, u32)> {
        let steps = self.types.get(event_type)?;
        let mut version = version;
        loop {
            match steps.versions.get(&version) {
                Some(Step::Change(_)) => version += 1,
                Some(Step::Split { .. }) => return None,
                None => break,
            }
        }
        match steps.finally {
            Finally::Keep => Some((event_type.to_owned(), version)),
            Finally::Drop => None,
            Finally::Rename(new) => {
                self.leads_from(new, version).or(Some((new.to_owned(), version)))
            }
        }
    }

    /// # Errors
    /// When the data are not JSON or an upcaster cannot read them.
    pub(crate) fn apply(&self, stored: &RecordedEvent) -> Result<Upcasted, DecodeError> {
        let concerned = || {
            let steps = self.types.get(stored.event_type.as_str())?;
            let finally = !matches!(steps.finally, Finally::Keep);
            (finally || steps.versions.contains_key(&stored.schema_version)).then_some(())
        };
        if concerned().is_none() {
            return Ok(Upcasted::AsStored);
        }
        self.run(stored).map(Upcasted::Became).map_err(|fault| DecodeError::of(stored, fault))
    }

    fn run(&self, stored: &RecordedEvent) -> Result<Vec<RecordedEvent>, DecodeFault> {
        if stored.data.content_type != ContentType::JSON {
            let content_type = stored.data.content_type.to_string();
            return Err(DecodeFault::ContentType { content_type });
        }
        let data = serde_json::from_slice(&stored.data.bytes).map_err(DecodeFault::Data)?;
        let mut done = Vec::new();
        self.walk(stored.event_type.as_str(), stored.schema_version, data, &mut done, 0)?;
        let as_recorded = |(event_type, schema_version, data): (String, u32, Value)| {
            let data = Data::of(&data).map_err(DecodeFault::Data)?;
            let event_type = EventType::from_stored(event_type);
            Ok(RecordedEvent { event_type, schema_version, data, ..stored.clone() })
        };
        done.into_iter().map(as_recorded).collect()
    }

    /// Follows the steps from one type and version to where no step leads on.
    fn walk(
        &self,
        event_type: &str,
        mut version: u32,
        mut data: Value,
        done: &mut Vec<(String, u32, Value)>,
        depth: u32,
    ) -> Result<(), DecodeFault> {
        /// Longer than any history of renames, and short enough to notice a circle.
        const DEPTH_MAX: u32 = 64;
        let fault = |version, source| DecodeFault::Upcast {
            event_type: event_type.to_owned(),
            version,
            source,
        };
        if depth > DEPTH_MAX {
            return Err(fault(version, "renames and splits lead in a circle".into()));
        }
        let Some(steps) = self.types.get(event_type) else {
            done.push((event_type.to_owned(), version, data));
            return Ok(());
        };
        while let Some(step) = steps.versions.get(&version) {
            match step {
                Step::Change(change) => {
                    data = change(data).map_err(|source| fault(version, source))?;
                    version += 1;
                }
                Step::Split { into, split } => {
                    let object = as_object(data).map_err(|source| fault(version, source))?;
                    for part in split(object) {
                        if !into.contains(&part.event_type) {
                            let source =
                                format!("it makes {}, which is not announced", part.event_type);
                            return Err(fault(version, source.into()));
                        }
                        self.walk(
                            part.event_type,
                            part.schema_version,
                            part.data,
                            done,
                            depth + 1,
                        )?;
                    }
                    return Ok(());
                }
            }
        }
        match steps.finally {
            Finally::Keep => done.push((event_type.to_owned(), version, data)),
            Finally::Drop => {}
            Finally::Rename(new) => self.walk(new, version, data, done, depth + 1)?,
        }
        Ok(())
    }
}

impl Steps {
    fn lead_to(&self, target: &str) -> bool {
        let renamed = matches!(self.finally, Finally::Rename(new) if new == target);
        let split =
            |step: &Step| matches!(step, Step::Split { into, .. } if into.contains(&target));
        renamed || self.versions.values().any(split)
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
