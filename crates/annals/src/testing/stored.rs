//! Events as they are stored, written down in a test.

use annals_core::{Data, EventType, Metadata, NewEvent, Tag};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    r#type: String,
    #[serde(default = "first")]
    schema_version: u32,
    #[serde(default = "no_fields")]
    data: Value,
    #[serde(default)]
    metadata: Map<String, Value>,
    #[serde(default)]
    tags: Vec<String>,
}

fn first() -> u32 {
    1
}

fn no_fields() -> Value {
    json!({})
}

/// The event that a JSON object describes.
#[track_caller]
pub(super) fn event(described: &Value) -> NewEvent {
    let stored = match Stored::deserialize(described) {
        Ok(stored) => stored,
        Err(error) => panic!(
            "{described} does not describe a stored event: {error}; write {{\"type\": .., \
             \"schema_version\": .., \"data\": {{..}}, \"tags\": [..], \"metadata\": {{..}}}}, \
             of which only the type must be there"
        ),
    };
    let name = |error| panic!("{described} does not describe a stored event: {error}");
    let data = Data::json(stored.data.to_string());
    let mut event = NewEvent::new(EventType::new(stored.r#type).unwrap_or_else(name), data);
    event.schema_version = stored.schema_version;
    event.metadata = Metadata::new(stored.metadata).expect("a map is a JSON object");
    for tag in stored.tags {
        let name = |error| panic!("{described} does not describe a stored event: {error}");
        event = event.tagged(Tag::new(tag).unwrap_or_else(name));
    }
    event
}
