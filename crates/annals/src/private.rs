//! What derived code calls. Not for use by hand, and free to change.

use std::fmt::Display;

use annals_core::{ContentType, Data, EventType, NewEvent, RecordedEvent, Tag};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Event;
use crate::error::{DecodeError, DecodeFault, EncodeError, EncodeFault};

pub use {schemars, serde};

/// The data of an event without fields: `{}`.
#[derive(Debug, Serialize, Deserialize)]
pub struct NoFields {}

/// Makes the new event of a variant, whose name the derive has checked.
pub fn encode(
    event_type: &'static str,
    schema_version: u32,
    data: &impl Serialize,
    tags: &[(&'static str, &dyn Display)],
) -> Result<NewEvent, EncodeError> {
    let fail = |fault| EncodeError { event_type, fault };
    let data = Data::of(data).map_err(|error| fail(EncodeFault::Data(error)))?;
    let mut event = NewEvent::new(EventType::from_static(event_type), data);
    event.schema_version = schema_version;
    for &(key, value) in tags {
        let tag = Tag::of(key, value);
        let tag = tag.map_err(|source| fail(EncodeFault::Tag { key, source }))?;
        event = event.tagged(tag);
    }
    Ok(event)
}

/// Parses the stored data straight into the fields of its variant.
pub fn decode<T: DeserializeOwned>(
    stored: &RecordedEvent,
    schema_version: u32,
) -> Result<T, DecodeError> {
    if stored.schema_version != schema_version {
        let fault =
            DecodeFault::SchemaVersion { stored: stored.schema_version, known: schema_version };
        return Err(DecodeError::of(stored, fault));
    }
    if stored.data.content_type != ContentType::JSON {
        let content_type = stored.data.content_type.to_string();
        return Err(DecodeError::of(stored, DecodeFault::ContentType { content_type }));
    }
    serde_json::from_slice(&stored.data.bytes)
        .map_err(|error| DecodeError::of(stored, DecodeFault::Data(error)))
}

/// The error for a stored event whose type is none of `E`'s.
pub fn unknown<E: Event>(stored: &RecordedEvent) -> DecodeError {
    let known = E::SHAPES.iter().map(|shape| shape.name).collect();
    DecodeError::of(stored, DecodeFault::UnknownType { known })
}
