//! How a stream stands: whether it may grow, and what its own events say about it.

use std::fmt;

use annals_core::{Data, RecordedEvent, StreamId, Version};
use serde::{Deserialize, Serialize};

use crate::error::{DecodeError, DecodeFault};

/// Whether a stream may grow, as the events of its retention say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Standing {
    /// It may.
    #[default]
    Open,
    /// It has been put aside; it takes no more events until it is restored.
    Archived,
    /// It has been closed; it never takes another event.
    Closed,
    /// It has been deleted, softly: it is not there for whoever loads it, until it is restored.
    Deleted,
}

/// A stream takes no more events.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotOpen {
    /// The stream.
    pub stream: StreamId,
    /// How it stands.
    pub standing: Standing,
}

impl fmt::Display for NotOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (standing, next) = match self.standing {
            Standing::Open => ("open", "try again"),
            Standing::Archived => ("archived", "restore it first"),
            Standing::Closed => ("closed for ever", "record it in another stream"),
            Standing::Deleted => ("deleted", "restore it first"),
        };
        write!(f, "stream {} is {standing}; {next}", self.stream)
    }
}

impl std::error::Error for NotOpen {}

/// What an event of a stream's retention says. Such events stand in the stream itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    Stands(Standing),
    /// Events before this version are not folded any more.
    Truncated {
        before: Version,
    },
}

pub(crate) const ARCHIVED: &str = "annals.StreamArchived";
pub(crate) const CLOSED: &str = "annals.StreamClosed";
pub(crate) const DELETED: &str = "annals.StreamDeleted";
pub(crate) const RESTORED: &str = "annals.StreamRestored";
pub(crate) const TRUNCATED: &str = "annals.StreamTruncated";
/// What says that a stream takes no more events.
pub(crate) const NOT_OPEN: [&str; 3] = [ARCHIVED, CLOSED, DELETED];
/// What all of them start with, and no event of a domain.
const PREFIX: &str = "annals.Stream";

#[derive(Serialize, Deserialize)]
struct Truncated {
    before: Version,
}

/// All of them.
pub(crate) const MARKERS: [&str; 5] = [ARCHIVED, CLOSED, DELETED, RESTORED, TRUNCATED];

impl Marker {
    /// What a stored event says about its stream; `None` for an event of the domain.
    pub(crate) fn of(stored: &RecordedEvent) -> Result<Option<Self>, DecodeError> {
        let name = stored.event_type.as_str();
        if !name.starts_with(PREFIX) {
            return Ok(None);
        }
        Ok(Some(match name {
            ARCHIVED => Self::Stands(Standing::Archived),
            CLOSED => Self::Stands(Standing::Closed),
            DELETED => Self::Stands(Standing::Deleted),
            RESTORED => Self::Stands(Standing::Open),
            TRUNCATED => {
                let data = serde_json::from_slice(&stored.data.bytes);
                let Truncated { before } =
                    data.map_err(|error| DecodeError::of(stored, DecodeFault::Data(error)))?;
                Self::Truncated { before }
            }
            _ => return Ok(None),
        }))
    }

    /// The type and data of the event that says it.
    pub(crate) fn event(self) -> (&'static str, Data) {
        let name = match self {
            Self::Stands(Standing::Archived) => ARCHIVED,
            Self::Stands(Standing::Closed) => CLOSED,
            Self::Stands(Standing::Deleted) => DELETED,
            Self::Stands(Standing::Open) => RESTORED,
            Self::Truncated { before } => {
                let data = Data::of(&Truncated { before });
                return (TRUNCATED, data.expect("a number is JSON"));
            }
        };
        (name, Data::json("{}"))
    }
}
