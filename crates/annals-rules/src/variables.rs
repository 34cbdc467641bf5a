//! What expressions look at: an event, its metadata, and rows.

use annals::{ContentType, RecordedEvent};
use serde_json::{Value, json};

use crate::expression::Variables;

impl Variables {
    /// The names of what is always there.
    pub(crate) const FIXED: &'static [&'static str] = &["event", "metadata"];
    /// The most bytes of an event's data, of its metadata, and of a row.
    pub(crate) const BYTES_MAX: usize = 256 << 10;

    /// An event and its metadata.
    ///
    /// # Errors
    /// When they are too large, or the data say that they are JSON and are not.
    pub(crate) fn of(event: &RecordedEvent) -> Result<Self, String> {
        let most = Self::BYTES_MAX;
        for (what, bytes) in
            [("data", event.data.bytes.len()), ("metadata", event.metadata.as_json().len())]
        {
            if bytes > most {
                return Err(format!(
                    "the event's {what} have {bytes} bytes; rules look at no more than {most}"
                ));
            }
        }
        let data = match event.data.content_type == ContentType::JSON {
            true => serde_json::from_slice(&event.data.bytes)
                .map_err(|error| format!("the event's data are no JSON: {error}"))?,
            false => Value::Null,
        };
        let mut variables = Self::new();
        variables.set("metadata", Value::Object(event.metadata.to_map()));
        variables.set(
            "event",
            json!({
                "id": event.id,
                "type": event.event_type,
                "schema_version": event.schema_version,
                "stream": event.stream,
                "stream_id": event.stream.id(),
                "category": event.stream.category(),
                "version": event.version,
                "position": event.position,
                "recorded_at": event.recorded_at.to_string(),
                "occurred_at": event.occurred_at.to_string(),
                "tags": event.tags.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "data": data,
            }),
        );
        Ok(variables)
    }
}
