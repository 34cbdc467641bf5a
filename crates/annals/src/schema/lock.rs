//! The lock: every shape that events were ever stored in.

use std::collections::BTreeMap;

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

/// Every shape that events were ever stored in: a file that the application keeps with its code,
/// `events.lock.json` by custom. Shapes are added to it, and never taken away.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lock {
    pub(crate) events: Shapes,
}

/// What the texts of locks and of schemas look like; a lock has no upcasters.
#[derive(Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) events: Shapes,
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
        let Self { events, upcasters } = serde_json::from_str(text)?;
        Ok(Self { events: events.into_canonical(), upcasters })
    }
}

impl Lock {
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
        Ok(Self { events: Written::from_json(text)?.events })
    }

    /// Its text, the same each time.
    #[must_use]
    pub fn to_json(&self) -> String {
        Written { events: self.events.clone(), upcasters: Routes::default() }.to_json()
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
