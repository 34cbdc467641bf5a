//! Problems on the wire: RFC 9457 documents.

use annals_core::{EventId, ExpectedVersion, Position, StreamId, Version};
use serde::Serialize;

use crate::Condition;

/// Why a request was not done, and what to do about it.
///
/// Programs look at `code`; people read `detail`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The code as a URI, as RFC 9457 wants it.
    #[serde(rename = "type")]
    pub uri: String,
    /// The kind of problem in a few words, always the same for the same code.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, and what to do about it.
    pub detail: String,
    /// The kind of problem in one word.
    pub code: &'static str,
    /// What the log held against an append.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Conflict>,
    /// The ids to repeat an append with when its outcome is unknown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_ids: Vec<EventId>,
}

impl Problem {
    /// The media type of the document.
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    /// A problem of the kind `code`.
    #[must_use]
    pub fn new(
        status: u16,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            uri: format!("urn:annals:problem:{code}"),
            title,
            status,
            detail: detail.into(),
            code,
            conflict: None,
            event_ids: Vec::new(),
        }
    }

    /// The document as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers always serialise")
    }
}

/// What was expected and what was found instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Conflict {
    /// An event matches a condition's query after the condition's position.
    Condition {
        /// The condition that does not hold.
        condition: Condition,
        /// The position of one event that breaks it.
        found: Position,
    },
    /// A stream is not at the version that was expected.
    Version {
        /// The stream.
        stream: StreamId,
        /// What the append demanded.
        expected: ExpectedVersion,
        /// Where the stream is.
        found: Version,
    },
}

impl Conflict {
    /// The wire form of `conflict`; `None` for a kind that this version of the API has no form
    /// for yet.
    #[must_use]
    pub fn of(conflict: &annals_core::Conflict) -> Option<Self> {
        match conflict {
            annals_core::Conflict::Condition { condition, found } => {
                Some(Self::Condition { condition: condition.into(), found: *found })
            }
            annals_core::Conflict::Version { stream, expected, found } => {
                Some(Self::Version { stream: stream.clone(), expected: *expected, found: *found })
            }
            _ => None,
        }
    }
}
