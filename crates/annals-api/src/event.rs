//! Events on the wire, in both directions.

use std::num::NonZeroU32;

use annals_core::{
    ContentType, Data, EventId, EventType, Fault, Limits, Metadata, Position, RecordedEvent,
    StreamId, Tag, Tags, Timestamp, Version,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// An event that is about to be appended.
///
/// Its data is either `data`, any JSON value, kept exactly as it is written; or `data_base64`,
/// any bytes, with their `content_type`. Without either it is `{}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    /// Its identity: send it, and the append can be repeated when its answer was lost.
    #[serde(default)]
    pub id: Option<EventId>,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// Which shape the data has, counted from 1.
    #[serde(default)]
    pub schema_version: Option<NonZeroU32>,
    /// What exactly happened, as JSON.
    #[serde(default, deserialize_with = "present")]
    pub data: Option<Box<RawValue>>,
    /// What exactly happened, as bytes in base64.
    #[serde(default)]
    pub data_base64: Option<String>,
    /// The media type of the data.
    #[serde(default)]
    pub content_type: Option<String>,
    /// How it came about: a JSON object.
    #[serde(default, deserialize_with = "present")]
    pub metadata: Option<Box<RawValue>>,
    /// Where it can be found besides its stream.
    #[serde(default)]
    pub tags: Vec<Tag>,
    /// When it happened in the world.
    #[serde(default)]
    pub occurred_at: Option<Timestamp>,
}

/// `null` is a JSON value like any other, so it must not be taken for "left out".
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

impl NewEvent {
    /// Reads one event, or an array of events, from JSON.
    ///
    /// # Errors
    /// [`Malformed`], when the text is not that, or has more events than `limits` allow.
    pub fn one_or_many(
        json: &[u8],
        limits: &Limits,
    ) -> Result<Vec<annals_core::NewEvent>, Malformed> {
        let is_array = json.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        if !is_array {
            let event: Self = serde_json::from_slice(json).map_err(Malformed::body)?;
            return Ok(vec![event.into_event()?]);
        }
        let events: Vec<&RawValue> = serde_json::from_slice(json).map_err(Malformed::body)?;
        within("append_events_max", limits.append_events_max, events.len())?;
        let events = events.iter().enumerate().map(|(index, json)| {
            let event: Self = parse(json, || format!("event [{index}]"))?;
            event.into_event()
        });
        events.collect()
    }

    /// The event it stands for; one without an id is given a new one.
    ///
    /// # Errors
    /// [`Malformed`], when its fields contradict each other.
    pub fn into_event(self) -> Result<annals_core::NewEvent, Malformed> {
        let data = data(self.data, self.data_base64, self.content_type.as_deref())?;
        let metadata = self
            .metadata
            .map(|json| Metadata::from_json(String::from(Box::<str>::from(json))))
            .transpose()?;
        Ok(annals_core::NewEvent {
            id: self.id.unwrap_or_else(EventId::generate),
            event_type: self.event_type,
            schema_version: self.schema_version.map_or(1, NonZeroU32::get),
            data,
            metadata: metadata.unwrap_or_default(),
            tags: self.tags,
            occurred_at: self.occurred_at,
        })
    }
}

/// What a request says that cannot be meant, although it is JSON of the right form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Nothing says which deliveries are meant.
    #[error("this would concern every delivery; say which, or mean it with `all`")]
    AllDeliveries,
    /// `data_base64` is not base64.
    #[error("`data_base64` is not base64 with padding")]
    Base64(#[source] base64::DecodeError),
    /// An event has both kinds of data.
    #[error("an event has both `data` and `data_base64`; send one of them")]
    DataTwice,
    /// A part of the request is not valid for any store.
    #[error(transparent)]
    Invalid(#[from] annals_core::Invalid),
    /// The request, or a part of it, is not JSON, or has unknown or missing fields.
    #[error("{place} is not what it must be")]
    Json {
        /// The part.
        place: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Deliveries are to be skipped, and nobody says why.
    #[error("`reason` is empty; say why, for whoever asks later")]
    NoReason,
    /// `data` is said to be something other than JSON.
    #[error("`data` is JSON, but `content_type` is {0}; send its bytes as `data_base64`")]
    NotJson(ContentType),
}

impl Malformed {
    pub(crate) fn body(source: serde_json::Error) -> Self {
        Self::Json { place: "the body".to_owned(), source }
    }
}

/// Reads a part of a request; `place` says which, should it be wrong.
pub(crate) fn parse<'a, T: Deserialize<'a>>(
    json: &'a RawValue,
    place: impl FnOnce() -> String,
) -> Result<T, Malformed> {
    serde_json::from_str(json.get()).map_err(|source| Malformed::Json { place: place(), source })
}

/// Checks a number before so many things are made, which take much more memory than their text.
/// The store checks again.
pub(crate) fn within(limit: &'static str, max: usize, actual: usize) -> Result<(), Malformed> {
    if actual > max {
        return Err(annals_core::Invalid::LimitExceeded { limit, max, actual }.into());
    }
    Ok(())
}

impl From<annals_core::InvalidName> for Malformed {
    fn from(error: annals_core::InvalidName) -> Self {
        Self::Invalid(error.into())
    }
}

fn data(
    json: Option<Box<RawValue>>,
    base64: Option<String>,
    content_type: Option<&str>,
) -> Result<Data, Malformed> {
    let content_type = content_type.map_or(Ok(ContentType::JSON), ContentType::new)?;
    let bytes = match (json, base64) {
        (Some(_), Some(_)) => return Err(Malformed::DataTwice),
        (None, Some(base64)) => STANDARD.decode(base64).map_err(Malformed::Base64)?.into(),
        (_, None) if !is_json(&content_type) => return Err(Malformed::NotJson(content_type)),
        (Some(json), None) => String::from(Box::<str>::from(json)).into(),
        (None, None) => "{}".into(),
    };
    Ok(Data { content_type, bytes })
}

fn is_json(content_type: &ContentType) -> bool {
    let text = content_type.as_str();
    text == ContentType::JSON.as_str() || text.ends_with("+json")
}

/// An event as the log holds it.
///
/// Data that is one JSON value is written as `data`, byte for byte as it was appended. All
/// other data is written as `data_base64`. `content_type` is left out when it is
/// `application/json`.
#[derive(Debug, Serialize)]
pub struct Event<'a> {
    /// Its place in the whole log.
    pub position: Position,
    /// The stream it belongs to.
    pub stream: &'a StreamId,
    /// Its place in that stream.
    pub version: Version,
    /// Its identity.
    pub id: EventId,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: &'a EventType,
    /// Which shape the data has.
    pub schema_version: u32,
    /// What exactly happened, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
    /// What exactly happened, as bytes in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
    /// The media type of the data, unless it is `application/json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<&'a str>,
    /// How it came about.
    pub metadata: &'a RawValue,
    /// Where it can be found besides its stream.
    pub tags: &'a Tags,
    /// When it happened in the world.
    pub occurred_at: Timestamp,
    /// When the store recorded it.
    pub recorded_at: Timestamp,
}

impl<'a> Event<'a> {
    /// The wire form of `event`.
    ///
    /// # Errors
    /// When its metadata is not JSON, which every store checked when it was appended: the store
    /// is damaged.
    pub fn of(event: &'a RecordedEvent) -> Result<Self, Fault> {
        let metadata = serde_json::from_slice(event.metadata.as_json()).map_err(|error| {
            Fault::because(
                format!("reading the metadata of the event at {}", event.position),
                error,
            )
        })?;
        let content_type = &event.data.content_type;
        let data = raw_json(&event.data);
        Ok(Self {
            position: event.position,
            stream: &event.stream,
            version: event.version,
            id: event.id,
            event_type: &event.event_type,
            schema_version: event.schema_version,
            data,
            data_base64: data.is_none().then(|| STANDARD.encode(&event.data.bytes)),
            content_type: (*content_type != ContentType::JSON).then(|| content_type.as_str()),
            metadata,
            tags: &event.tags,
            occurred_at: event.occurred_at,
            recorded_at: event.recorded_at,
        })
    }

    /// The event as one JSON object, exact to the byte; it may span lines.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("names, numbers and checked JSON always serialise")
    }

    /// The event as JSON on one line.
    ///
    /// Line breaks between the tokens of `data` and `metadata` become spaces, which is the same
    /// JSON; line breaks within texts are always escaped already.
    #[must_use]
    pub fn to_json_line(&self) -> Vec<u8> {
        let mut line = self.to_json();
        for byte in &mut line {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        line
    }
}

/// The data as a JSON value, when that loses nothing: padding around a value would be lost.
fn raw_json(data: &Data) -> Option<&RawValue> {
    if !is_json(&data.content_type) {
        return None;
    }
    let value: &RawValue = serde_json::from_slice(&data.bytes).ok()?;
    (value.get().len() == data.bytes.len()).then_some(value)
}
