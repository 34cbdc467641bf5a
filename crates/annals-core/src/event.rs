//! Events: as a caller makes them, and as the log holds them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use crate::{EventId, EventType, Metadata, Position, StreamId, Tag, Timestamp, Version};

/// What an event says: bytes that the store passes through unparsed, and what they are (S10).
#[derive(Clone, PartialEq, Eq)]
pub struct Data {
    /// The format of the bytes.
    pub content_type: ContentType,
    /// The bytes.
    pub bytes: Bytes,
}

impl Data {
    /// Data in JSON, which is the default and the fastest.
    #[must_use]
    pub fn json(text: impl Into<Bytes>) -> Self {
        Self { content_type: ContentType::JSON, bytes: text.into() }
    }

    /// Serialises `value` as JSON.
    ///
    /// # Errors
    /// When `value` cannot be JSON, a map with keys that are not text for example.
    pub fn of(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        serde_json::to_vec(value).map(Self::json)
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) if self.content_type == ContentType::JSON => f.write_str(text),
            _ => write!(f, "{} bytes of {}", self.bytes.len(), self.content_type),
        }
    }
}

/// The media type of an event's data; JSON unless said otherwise.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct ContentType(Option<Arc<str>>);

impl ContentType {
    /// `application/json`.
    pub const JSON: Self = Self(None);
    /// The most bytes it may have.
    pub const BYTES_MAX: usize = 256;

    /// The media type `text`.
    ///
    /// # Errors
    /// When it is no valid [`EventType`]-like name: empty, too long, padded or with control
    /// characters.
    pub fn new(text: &str) -> Result<Self, crate::InvalidName> {
        if text == Self::JSON.as_str() {
            return Ok(Self::JSON);
        }
        let name = EventType::new(text)
            .map_err(|error| crate::InvalidName { kind: "content type", ..error })?;
        Ok(Self(Some(name.as_str().into())))
    }

    /// The media type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("application/json")
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// An event that is about to be appended.
///
/// ```
/// use annals_core::{Data, EventType, NewEvent, Tag};
///
/// let event = NewEvent::new(EventType::new("MoneyDeposited")?, Data::json(r#"{"amount":100}"#))
///     .tagged(Tag::new("branch:7")?);
/// assert_eq!(event.schema_version, 1);
/// # Ok::<(), annals_core::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Its identity; appending it twice writes it once (S7).
    pub id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// Which shape `data` has, counted from 1.
    pub schema_version: u32,
    /// What exactly happened.
    pub data: Data,
    /// How it came about.
    pub metadata: Metadata,
    /// Where it can be found besides its stream. Order and repeats are dropped when stored.
    pub tags: Vec<Tag>,
    /// When it happened in the world; `None` means when it was recorded.
    pub occurred_at: Option<Timestamp>,
}

impl NewEvent {
    /// An event with a fresh id, schema version 1, no metadata and no tags.
    #[must_use]
    pub fn new(event_type: EventType, data: Data) -> Self {
        Self {
            id: EventId::generate(),
            event_type,
            schema_version: 1,
            data,
            metadata: Metadata::empty(),
            tags: Vec::new(),
            occurred_at: None,
        }
    }

    /// The same with this id.
    #[must_use]
    pub fn with_id(mut self, id: EventId) -> Self {
        self.id = id;
        self
    }

    /// The same with this metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// The same with one more tag.
    #[must_use]
    pub fn tagged(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// The same, having happened at `moment`.
    #[must_use]
    pub fn occurred_at(mut self, moment: Timestamp) -> Self {
        self.occurred_at = Some(moment);
        self
    }

    /// The bytes that count towards the limit of an append.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let tags: usize = self.tags.iter().map(|tag| tag.as_str().len()).sum();
        self.data.bytes.len()
            + self.metadata.as_json().len()
            + self.event_type.as_str().len()
            + tags
    }
}

/// An event as the log holds it: immutable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Its place in the whole log.
    pub position: Position,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Its place in that stream.
    pub version: Version,
    /// Its identity.
    pub id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// Which shape `data` has, counted from 1.
    pub schema_version: u32,
    /// What exactly happened.
    pub data: Data,
    /// How it came about.
    pub metadata: Metadata,
    /// Where it can be found besides its stream, sorted, without repeats.
    pub tags: Tags,
    /// When it happened in the world.
    pub occurred_at: Timestamp,
    /// When the store recorded it (S9).
    pub recorded_at: Timestamp,
}

/// The tags of a recorded event: sorted, without repeats, cheap to clone.
///
/// ```
/// use annals_core::{Tag, Tags};
///
/// let tags = Tags::new(&[Tag::new("student:s1")?, Tag::new("course:c1")?]);
/// assert_eq!(tags.iter().collect::<Vec<_>>(), ["course:c1", "student:s1"]);
/// # Ok::<(), annals_core::InvalidName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Tags(
    /// A line each; names hold no line breaks.
    Option<Arc<str>>,
);

impl Tags {
    /// Sorts tags and drops repeats.
    #[must_use]
    pub fn new(tags: &[Tag]) -> Self {
        match tags {
            [] => Self(None),
            [tag] => Self(Some(tag.as_str().into())),
            tags => {
                let mut names: Vec<&str> = tags.iter().map(Tag::as_str).collect();
                names.sort_unstable();
                names.dedup();
                Self(Some(names.join("\n").into()))
            }
        }
    }

    /// Tags read back from a store, in the form of [`as_stored`](Self::as_stored).
    #[must_use]
    pub fn from_stored(lines: &str) -> Self {
        Self((!lines.is_empty()).then(|| lines.into()))
    }

    /// The tags in order, a line each; `None` when there are none.
    #[must_use]
    pub fn as_stored(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The tags in order.
    pub fn iter(&self) -> std::str::Lines<'_> {
        self.0.as_deref().unwrap_or_default().lines()
    }

    /// Whether `tag` is among them.
    #[must_use]
    pub fn contains(&self, tag: &Tag) -> bool {
        self.iter().any(|name| name == tag.as_str())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl<'a> IntoIterator for &'a Tags {
    type Item = &'a str;
    type IntoIter = std::str::Lines<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}
