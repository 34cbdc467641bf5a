//! The lock: every shape that events were ever stored in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::canonical::canonical;
use crate::upcast::Routes;

/// Schemas by the type of event and the schema version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Shapes(BTreeMap<String, BTreeMap<u32, Value>>);

impl Shapes {
    pub(crate) fn get(&self, event_type: &str, version: u32) -> Option<&Value> {
        self.0.get(event_type)?.get(&version)
    }

    /// The newest shape of a type.
    pub(crate) fn newest(&self, event_type: &str) -> Option<(u32, &Value)> {
        self.0.get(event_type)?.last_key_value().map(|(version, schema)| (*version, schema))
    }

    pub(crate) fn insert(&mut self, event_type: &str, version: u32, schema: &Value) {
        self.0.entry(event_type.to_owned()).or_default().insert(version, canonical(schema));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u32, &Value)> {
        self.0.iter().flat_map(|(event_type, versions)| {
            versions.iter().map(move |(version, schema)| (event_type.as_str(), *version, schema))
        })
    }

    fn into_canonical(mut self) -> Self {
        for schema in self.0.values_mut().flat_map(BTreeMap::values_mut) {
            *schema = canonical(schema);
        }
        self
    }
}

/// The keys of the tags that events have, by their type and schema version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct TagKeys(BTreeMap<String, BTreeMap<u32, BTreeSet<String>>>);

impl TagKeys {
    pub(crate) fn of(&self, event_type: &str, version: u32) -> impl Iterator<Item = &str> {
        let keys = self.0.get(event_type).and_then(|versions| versions.get(&version));
        keys.into_iter().flatten().map(String::as_str)
    }

    pub(crate) fn add<'a>(
        &mut self,
        event_type: &str,
        version: u32,
        keys: impl IntoIterator<Item = &'a str>,
    ) {
        for key in keys {
            let versions = self.0.entry(event_type.to_owned()).or_default();
            versions.entry(version).or_default().insert(key.to_owned());
        }
    }

    /// Forgets those of one type and version.
    pub(crate) fn remove(&mut self, event_type: &str, version: u32) {
        if let Some(versions) = self.0.get_mut(event_type) {
            versions.remove(&version);
        }
        self.0.retain(|_, versions| !versions.is_empty());
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Every shape that events were ever stored in: a file that the application keeps with its code,
/// `events.lock.json` by custom. Shapes are added to it, and never taken away.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lock {
    pub(crate) events: Shapes,
    pub(crate) tags: TagKeys,
}

/// What the texts of locks and of schemas look like; a lock has no upcasters.
#[derive(Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) events: Shapes,
    #[serde(default, skip_serializing_if = "TagKeys::is_empty")]
    pub(crate) tags: TagKeys,
    #[serde(default, skip_serializing_if = "Routes::is_empty")]
    pub(crate) upcasters: Routes,
}

impl Written {
    /// The same text each time.
    pub(crate) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("schemas are JSON");
        text.push('\n');
        text
    }

    pub(crate) fn from_json(text: &str) -> serde_json::Result<Self> {
        let Self { events, tags, upcasters } = serde_json::from_str(text)?;
        Ok(Self { events: events.into_canonical(), tags, upcasters })
    }
}

/// A shape that a program writes, and that a lock has not, or not as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Unlocked {
    /// The type of the events.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The schema version they are written with.
    #[serde(rename = "schema_version")]
    pub version: u32,
    /// That it is new, or what has changed.
    pub what: &'static str,
}

impl fmt::Display for Unlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {} {}", self.event_type, self.version, self.what)
    }
}

impl Lock {
    /// What `locked`, which has all of this one, has more.
    pub(super) fn lacking(&self, locked: &Self) -> Vec<Unlocked> {
        let unlocked = locked.events.iter().filter_map(|(event_type, version, schema)| {
            let tags = |lock: &Self| -> Vec<String> {
                lock.tags.of(event_type, version).map(str::to_owned).collect()
            };
            let what = match self.events.get(event_type, version) {
                None => "is new",
                Some(before) if before != schema => "has become wider",
                Some(_) if tags(self) != tags(locked) => "has more tags",
                Some(_) => return None,
            };
            Some(Unlocked { event_type: event_type.to_owned(), version, what })
        });
        unlocked.collect()
    }

    /// One without any shape.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the text of a lock.
    ///
    /// # Errors
    /// When it is not the JSON of a lock.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        let Written { events, tags, .. } = Written::from_json(text)?;
        Ok(Self { events, tags })
    }

    /// Its text, the same each time.
    #[must_use]
    pub fn to_json(&self) -> String {
        let Self { events, tags } = self.clone();
        Written { events, tags, upcasters: Routes::default() }.to_json()
    }

    /// Whether events of this type and schema version are in it.
    #[must_use]
    pub fn contains(&self, event_type: &str, version: u32) -> bool {
        self.events.get(event_type, version).is_some()
    }

    /// The types and schema versions in it, sorted.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, u32)> {
        self.events.iter().map(|(event_type, version, _)| (event_type, version))
    }
}
