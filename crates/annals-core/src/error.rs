//! Errors, grouped by what the caller does about them.
//!
//! `Display` never repeats the source: print an error with all its reasons through [`Chain`].

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use crate::read_side::UsedBy;
use crate::{
    AppendCondition, EventId, ExpectedVersion, InvalidName, Position, StreamId, SubscriberName,
    Version,
};

/// Why an append was not acknowledged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The store was closed. Open it again.
    #[error("the store is closed; open it again")]
    Closed,
    /// The log has moved on. Reload, decide again, append again.
    #[error(transparent)]
    Conflict(Box<Conflict>),
    /// Stored bytes are not what they must be. Stop, and have the store checked.
    #[error("the store is damaged; stop, and have it checked")]
    Corrupt(#[source] Fault),
    /// It is not known whether the append was stored. Repeat it with the same event ids.
    #[error("the outcome is unknown; repeat the append with the same event ids")]
    Indeterminate(#[source] Fault),
    /// The call itself is wrong. Fix it.
    #[error(transparent)]
    Invalid(Invalid),
    /// The store cannot do it now; nothing was written. Retry later.
    #[error("the store is not available; retry later")]
    Unavailable(#[source] Fault),
    /// The store can never do it. Use another store or another way.
    #[error("this store does not support {0}")]
    Unsupported(&'static str),
    /// An in-transaction reactor or an inline projection would not have it; nothing was written.
    #[error("{by} does not allow it")]
    Vetoed {
        /// Who.
        by: SubscriberName,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl AppendError {
    /// The error's group in one word, as used in the network API and in `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Conflict(_) => "conflict",
            Self::Corrupt(_) => "corrupt",
            Self::Indeterminate(_) => "indeterminate",
            Self::Invalid(_) => "invalid",
            Self::Unavailable(_) => "unavailable",
            Self::Unsupported(_) => "unsupported",
            Self::Vetoed { .. } => "vetoed",
        }
    }
}

/// Why events could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The store was closed. Open it again.
    #[error("the store is closed; open it again")]
    Closed,
    /// Stored bytes are not what they must be. Stop, and have the store checked.
    #[error("the store is damaged; stop, and have it checked")]
    Corrupt(#[source] Fault),
    /// The call itself is wrong. Fix it.
    #[error(transparent)]
    Invalid(Invalid),
    /// The store cannot do it now. Retry later.
    #[error("the store is not available; retry later")]
    Unavailable(#[source] Fault),
    /// The store can never do it. Use another store or another way.
    #[error("this store does not support {0}")]
    Unsupported(&'static str),
}

impl ReadError {
    /// The error's group in one word, as used in the network API and in `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Corrupt(_) => "corrupt",
            Self::Invalid(_) => "invalid",
            Self::Unavailable(_) => "unavailable",
            Self::Unsupported(_) => "unsupported",
        }
    }
}

/// Why a snapshot could not be saved, loaded, listed or dropped.
///
/// Whoever only wanted to save time goes on without the snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The store was closed. Open it again.
    #[error("the store is closed; open it again")]
    Closed,
    /// Stored bytes are not what they must be. Drop the snapshot, or have the store checked.
    #[error("the stored snapshots are damaged; drop them, or have the store checked")]
    Corrupt(#[source] Fault),
    /// The call itself is wrong. Fix it.
    #[error(transparent)]
    Invalid(Invalid),
    /// The store cannot do it now. Retry later, or go on without snapshots.
    #[error("the store is not available; retry later")]
    Unavailable(#[source] Fault),
    /// The store can never do it. Use another store or another way.
    #[error("this store does not support {0}")]
    Unsupported(&'static str),
}

impl SnapshotError {
    /// The error's group in one word, as used in the network API and in `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Corrupt(_) => "corrupt",
            Self::Invalid(_) => "invalid",
            Self::Unavailable(_) => "unavailable",
            Self::Unsupported(_) => "unsupported",
        }
    }
}

/// Why the read side did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadSideError {
    /// The read side was closed. Open it again.
    #[error("the read side is closed; open it again")]
    Closed,
    /// Stored bytes are not what they must be. Rebuild what is derived, or have the database
    /// checked.
    #[error("the read side is damaged; rebuild what is derived, or have the database checked")]
    Corrupt(#[source] Fault),
    /// Somebody else works this part now, or its generation is gone. Stop, and claim it again.
    #[error("somebody else works this part of {0} now; claim it again")]
    Fenced(SubscriberName),
    /// Somebody uses the subscriber that is to be deleted. Do what it says, and try again.
    #[error("{subscriber} cannot be deleted now: {by}")]
    InUse {
        /// Which one.
        subscriber: SubscriberName,
        /// Who uses it, and what to do about it.
        by: UsedBy,
    },
    /// The call itself is wrong. Fix it.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// What is stored was made by another version of the code.
    #[error(
        "{subscriber} was made by version {stored} of its code, and this is version {asked}; \
         rebuild it, or run the other version"
    )]
    OtherVersion {
        /// Whose.
        subscriber: SubscriberName,
        /// The version that made it.
        stored: u32,
        /// The version that asks.
        asked: u32,
    },
    /// The read side cannot do it now. Retry later.
    #[error("the read side is not available; retry later")]
    Unavailable(#[source] Fault),
    /// There is no such subscriber, or no such generation or part of it.
    #[error("{0} is not known here, or no longer in this generation; enrol it first")]
    Unknown(SubscriberName),
    /// The read side can never do it. Use another one or another way.
    #[error("this read side does not support {0}")]
    Unsupported(&'static str),
}

impl ReadSideError {
    /// The error's group in one word, as used in the network API and in `docs/errors`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Corrupt(_) => "corrupt",
            Self::Fenced(_) => "fenced",
            Self::InUse { .. } => "in_use",
            Self::Invalid(_) => "invalid",
            Self::OtherVersion { .. } => "other_version",
            Self::Unavailable(_) => "unavailable",
            Self::Unknown(_) => "unknown_subscriber",
            Self::Unsupported(_) => "unsupported",
        }
    }
}

impl From<ReadError> for SnapshotError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Closed => Self::Closed,
            ReadError::Corrupt(fault) => Self::Corrupt(fault),
            ReadError::Invalid(invalid) => Self::Invalid(invalid),
            ReadError::Unavailable(fault) => Self::Unavailable(fault),
            ReadError::Unsupported(what) => Self::Unsupported(what),
        }
    }
}

impl From<ReadError> for AppendError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Closed => Self::Closed,
            ReadError::Corrupt(fault) => Self::Corrupt(fault),
            ReadError::Invalid(invalid) => Self::Invalid(invalid),
            ReadError::Unavailable(fault) => Self::Unavailable(fault),
            ReadError::Unsupported(what) => Self::Unsupported(what),
        }
    }
}

impl From<Conflict> for AppendError {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(Box::new(conflict))
    }
}

impl From<Invalid> for AppendError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<Invalid> for ReadError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<Invalid> for SnapshotError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// What the log held against an append (S6): always a true conflict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// An event matches a condition's query after the condition's position.
    #[error(
        "an event at position {found} matches an append condition that allows none after position \
         {}; read again and decide again", condition.after
    )]
    Condition {
        /// The condition that does not hold.
        condition: AppendCondition,
        /// The position of one event that breaks it.
        found: Position,
    },
    /// A stream is not at the version that was expected.
    #[error(
        "stream {stream} was expected to be at {expected} but is at version {found}; read it again \
         and decide again"
    )]
    Version {
        /// The stream.
        stream: StreamId,
        /// What the append demanded.
        expected: ExpectedVersion,
        /// Where the stream is.
        found: Version,
    },
}

/// What is wrong with a call. Repeating it unchanged never helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// An append names the same event id twice.
    #[error("event id {id} occurs twice in the append; give each event its own id")]
    IdTwice {
        /// The id.
        id: EventId,
    },
    /// Some of an append's event ids are in the log already, but not as this append.
    #[error(
        "event id {id} is already stored at position {position}, but not by this append; repeat an \
         append unchanged, or give new events new ids"
    )]
    IdsPartlyStored {
        /// One id that is stored.
        id: EventId,
        /// Where it is stored.
        position: Position,
    },
    /// Something is larger than the store accepts (S8).
    #[error("{actual} is more than {limit} = {max}; send less at once")]
    LimitExceeded {
        /// The name of the limit, a field of [`Limits`](crate::Limits).
        limit: &'static str,
        /// Its value.
        max: usize,
        /// What was asked for.
        actual: usize,
    },
    /// Metadata is not a JSON object.
    #[error("metadata must be a JSON object")]
    Metadata,
    /// A name is not valid.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// An append has no events.
    #[error("the append has no events; add at least one")]
    NoEvents,
    /// A subscriber's work is divided into no parts.
    #[error("work cannot be divided into 0 partitions; use 1 or more")]
    NoPartitions,
    /// A text has the character NUL, which not every database can keep.
    #[error("{0} has the character NUL; leave it out")]
    Nul(
        /// Which text.
        &'static str,
    ),
    /// An append names the same stream twice.
    #[error("stream {stream} occurs twice in the append; put its events together")]
    StreamTwice {
        /// The stream.
        stream: StreamId,
    },
    /// A read gives bounds by version, but not of one stream.
    #[error("version bounds need a read of one stream; use positions instead")]
    VersionsWithoutStream,
}

/// What a store was doing when it failed, and why it failed.
#[derive(Debug)]
pub struct Fault {
    doing: Cow<'static, str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault without a deeper reason. `doing` reads like "reading stream account-1".
    #[must_use]
    pub fn new(doing: impl Into<Cow<'static, str>>) -> Self {
        Self { doing: doing.into(), source: None }
    }

    /// A fault with its reason.
    #[must_use]
    pub fn because(
        doing: impl Into<Cow<'static, str>>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { doing: doing.into(), source: Some(source.into()) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// An error and its sources, outermost first, on one line.
///
/// ```
/// use annals_core::error::Chain;
/// use annals_core::{Fault, ReadError};
///
/// let error = ReadError::Unavailable(Fault::because("reading events", "disk on fire"));
/// assert_eq!(
///     Chain(&error).to_string(),
///     "the store is not available; retry later: reading events: disk on fire"
/// );
/// ```
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
