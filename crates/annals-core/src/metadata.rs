//! Metadata: a JSON object beside an event's data.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::Invalid;

/// A JSON object that says how an event came about.
///
/// Kept as the text it was given (S10), parsed only when asked. The framework's own keys are
/// the constants below.
///
/// ```
/// use annals_core::Metadata;
/// use serde_json::json;
///
/// let metadata = Metadata::new(json!({ "actor": "teller-7" }))?.with(Metadata::REASON, "refund");
/// assert_eq!(metadata.get("actor"), Some(json!("teller-7")));
/// # Ok::<(), annals_core::Invalid>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata(Bytes);

impl Metadata {
    /// Key of the conversation that the event belongs to.
    pub const CORRELATION: &'static str = "correlation";
    /// Key of the id of the event or command that directly caused the event.
    pub const CAUSATION: &'static str = "causation";
    /// Key of who did it.
    pub const ACTOR: &'static str = "actor";
    /// Key of why it was done.
    pub const REASON: &'static str = "reason";

    /// The metadata `{}`.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Bytes::new())
    }

    /// Metadata of anything that serialises to a JSON object.
    ///
    /// # Errors
    /// [`Invalid::Metadata`] when it serialises to something else, or not at all.
    pub fn new(object: impl Serialize) -> Result<Self, Invalid> {
        match serde_json::to_value(object) {
            Ok(Value::Object(map)) => Ok(Self::from_map(&map)),
            _ => Err(Invalid::Metadata),
        }
    }

    /// Metadata of the text of a JSON object.
    ///
    /// # Errors
    /// [`Invalid::Metadata`] when the text is not one JSON object.
    pub fn from_json(json: impl Into<Bytes>) -> Result<Self, Invalid> {
        let json = json.into();
        let map: Map<String, Value> =
            serde_json::from_slice(&json).map_err(|_| Invalid::Metadata)?;
        Ok(if map.is_empty() { Self::empty() } else { Self(json) })
    }

    /// Metadata read back from a store, which checked it when it was appended.
    #[must_use]
    pub fn from_stored(json: Bytes) -> Self {
        Self(json)
    }

    /// The text of the JSON object.
    #[must_use]
    pub fn as_json(&self) -> &[u8] {
        if self.0.is_empty() { b"{}" } else { &self.0 }
    }

    /// Whether it is `{}`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key, when there is one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value> {
        self.to_map().remove(key)
    }

    /// All keys and values; empty when a store handed back text that is no JSON object.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        serde_json::from_slice(self.as_json()).unwrap_or_default()
    }

    /// The same with `key` set to `value`.
    #[must_use]
    pub fn with(&self, key: &str, value: impl Into<Value>) -> Self {
        let mut map = self.to_map();
        map.insert(key.to_owned(), value.into());
        Self::from_map(&map)
    }

    fn from_map(map: &Map<String, Value>) -> Self {
        if map.is_empty() {
            return Self::empty();
        }
        let json = serde_json::to_vec(map).expect("a map of JSON values always serialises");
        Self(json.into())
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_json()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_objects_are_metadata() {
        for text in ["", "[]", "1", "null", "{", "{} {}", "\u{0}"] {
            assert!(matches!(Metadata::from_json(text), Err(Invalid::Metadata)), "{text:?}");
        }
        assert!(matches!(Metadata::new(json!([1])), Err(Invalid::Metadata)));
    }

    #[test]
    fn the_text_is_kept_as_given() {
        let text = "{ \"b\": 1,  \"a\": 2 }";
        assert_eq!(Metadata::from_json(text).unwrap().as_json(), text.as_bytes());
        assert_eq!(Metadata::from_json("{ }").unwrap(), Metadata::empty());
    }
}
