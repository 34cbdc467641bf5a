//! What is sent: the body of a message.

use annals::{
    ContentType, Data, EventId, EventType, Position, RecordedEvent, StreamId, Timestamp, Version,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

/// The three fields of Standard Webhooks, and where the event stands. Metadata is not sent: who
/// did it and why is for those inside.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    event_type: &'a EventType,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    id: EventId,
    stream: &'a StreamId,
    version: Version,
    position: Position,
    schema_version: u32,
}

/// The body of the message about an event: the same bytes whenever it is sent.
pub(crate) fn body(event: &RecordedEvent) -> Bytes {
    let data = json(&event.data);
    let body = Body {
        event_type: &event.event_type,
        timestamp: event.occurred_at,
        data,
        data_base64: data.is_none().then(|| STANDARD.encode(&event.data.bytes)),
        content_type: data.is_none().then(|| event.data.content_type.as_str()),
        id: event.id,
        stream: &event.stream,
        version: event.version,
        position: event.position,
        schema_version: event.schema_version,
    };
    let bytes = serde_json::to_vec(&body);
    bytes.expect("names, numbers and checked JSON always serialise").into()
}

/// The data if they are JSON, which no store has checked.
fn json(data: &Data) -> Option<&RawValue> {
    let says_so = data.content_type == ContentType::JSON;
    says_so.then(|| serde_json::from_slice(&data.bytes).ok()).flatten()
}
