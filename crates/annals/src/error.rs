//! Why loading or executing did not succeed, grouped by what the caller does about it.
//!
//! `Display` never repeats the source: print the chain through [`std::error::Error::source`].

use std::error::Error;
use std::fmt;

use annals_core::error::{AppendError, Conflict, ReadError};
use annals_core::{EventType, InvalidName, NewEvent, RecordedEvent, StreamId, Version};

use crate::{Denied, FieldErrors, NotOpen};

/// Why a command was not executed. Nothing was recorded, except perhaps after an append with
/// an unknown outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError<E> {
    /// The append failed for another reason than a conflict. Its own group says what to do;
    /// an unknown outcome has been repeated as often as the retry policy allows.
    #[error(transparent)]
    Append(AppendError),
    /// The command's id was given to another command before. Give each command its own.
    #[error("the command id {id} was used before, by another command; give each an id of its own")]
    CommandId {
        /// The id.
        id: String,
    },
    /// Others kept changing what it depends on. Try again later, or with more patience.
    #[error(
        "gave up after {attempts} attempts, because others kept changing what it depends on; \
         execute it again, or allow more attempts with `Annals::with_retry`"
    )]
    Conflict {
        /// How often the command was decided.
        attempts: u32,
        /// What stood against the last attempt.
        #[source]
        conflict: Box<Conflict>,
    },
    /// Whoever asked may not do this.
    #[error(transparent)]
    Denied(Denied),
    /// An event cannot be stored. Fix its type.
    #[error(transparent)]
    Encode(EncodeError),
    /// Whether it was recorded is not known. Execute it again under the same id; without one,
    /// look first.
    #[error(
        "whether it was recorded is not known; execute it again under the same `.id(..)`, or, if it \
         had none, look first"
    )]
    Indeterminate(#[source] AppendError),
    /// The command is wrong whatever the state: its own validation refused it. Fix the call.
    #[error(transparent)]
    Invalid(FieldErrors),
    /// The state could not be loaded. The inner error says what to do.
    #[error(transparent)]
    Load(LoadError),
    /// The command id, a stream, a tag or a type is no valid name. Use another.
    #[error(transparent)]
    Name(InvalidName),
    /// The state does not permit the command.
    #[error(transparent)]
    Refused(E),
    /// The stream takes no more events. The inner error says what to do.
    #[error(transparent)]
    Standing(NotOpen),
}

impl<E> ExecuteError<E> {
    /// The error's group in one word.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Append(error) | Self::Indeterminate(error) => error.code(),
            Self::Conflict { .. } => "conflict",
            Self::CommandId { .. } | Self::Encode(_) | Self::Invalid(_) | Self::Name(_) => {
                "invalid"
            }
            Self::Denied(_) => "denied",
            Self::Load(error) => error.code(),
            Self::Refused(_) | Self::Standing(_) => "refused",
        }
    }

    /// The same with another refusal.
    pub(crate) fn map<F>(self, map: impl FnOnce(E) -> F) -> ExecuteError<F> {
        match self {
            Self::Append(error) => ExecuteError::Append(error),
            Self::CommandId { id } => ExecuteError::CommandId { id },
            Self::Conflict { attempts, conflict } => ExecuteError::Conflict { attempts, conflict },
            Self::Denied(denied) => ExecuteError::Denied(denied),
            Self::Encode(error) => ExecuteError::Encode(error),
            Self::Indeterminate(error) => ExecuteError::Indeterminate(error),
            Self::Invalid(errors) => ExecuteError::Invalid(errors),
            Self::Load(error) => ExecuteError::Load(error),
            Self::Name(error) => ExecuteError::Name(error),
            Self::Refused(refusal) => ExecuteError::Refused(map(refusal)),
            Self::Standing(not_open) => ExecuteError::Standing(not_open),
        }
    }
}

impl<E> From<Denied> for ExecuteError<E> {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl<E> From<FieldErrors> for ExecuteError<E> {
    fn from(errors: FieldErrors) -> Self {
        Self::Invalid(errors)
    }
}

impl<E> From<InvalidName> for ExecuteError<E> {
    fn from(error: InvalidName) -> Self {
        Self::Name(error)
    }
}

impl<E> From<LoadError> for ExecuteError<E> {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl<E> From<EncodeError> for ExecuteError<E> {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

/// Why the events of a stream could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A stored event is not what the program takes it for.
    #[error(transparent)]
    Decode(Box<DecodeError>),
    /// The stream was deleted, softly: restore it, or load it as of an earlier moment.
    #[error("stream {0} is deleted; restore it, or load it as of an earlier version or moment")]
    Deleted(StreamId),
    /// An id makes no stream, or a value no tag to find events by. Use another.
    #[error(transparent)]
    Id(InvalidName),
    /// The store could not read. Its own group says what to do.
    #[error(transparent)]
    Read(ReadError),
    /// A stream was taken for two aggregates in one batch. Give each aggregate a category.
    #[error(
        "stream {0} belongs to two types of aggregates in one batch; give each type a category of \
         its own"
    )]
    TwoAggregates(StreamId),
}

impl LoadError {
    /// The error's group in one word.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Decode(_) => "undecodable",
            Self::Deleted(_) => "refused",
            Self::Id(_) | Self::TwoAggregates(_) => "invalid",
            Self::Read(error) => error.code(),
        }
    }
}

impl From<DecodeError> for LoadError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(Box::new(error))
    }
}

impl From<InvalidName> for LoadError {
    fn from(error: InvalidName) -> Self {
        Self::Id(error)
    }
}

impl From<ReadError> for LoadError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// A stored event that the program cannot take for one of its own.
#[derive(Debug)]
pub struct DecodeError {
    /// The type it is stored under.
    pub event_type: EventType,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Its place there.
    pub version: Version,
    /// What is wrong with it.
    pub fault: DecodeFault,
}

impl DecodeError {
    pub(crate) fn of(stored: &RecordedEvent, fault: DecodeFault) -> Self {
        Self {
            event_type: stored.event_type.clone(),
            stream: stored.stream.clone(),
            version: stored.version,
            fault,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event_type, stream, version, fault } = self;
        write!(f, "{event_type} at version {version} of stream {stream} {fault}")
    }
}

impl Error for DecodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source()
    }
}

/// What is wrong with a stored event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeFault {
    /// Its data are not JSON.
    #[error("is not JSON but {content_type}; decode it with an `Event` written by hand")]
    ContentType {
        /// What they are instead.
        content_type: String,
    },
    /// Its data do not have the fields of the variant.
    #[error("does not have the fields of its variant; compare them with the stored JSON")]
    Data(#[source] serde_json::Error),
    /// Its schema version is another than the program's.
    #[error(
        "has schema version {stored}, but this program knows version {known}; {}",
        if stored < known {
            "write an upcaster from that version, and name it in `#[event(upcasters = ..)]`"
        } else {
            "run the program that wrote it, or set `#[event(version = ..)]`"
        }
    )]
    SchemaVersion {
        /// The version it is stored with.
        stored: u32,
        /// The version the program knows.
        known: u32,
    },
    /// No event of the program has its type.
    #[error(
        "is unknown here ({} are known); add a variant for it, or name one with \
         `#[event(name = \"..\")]`", known.join(", ")
    )]
    UnknownType {
        /// The types the program knows for this stream.
        known: Vec<&'static str>,
    },
    /// An upcaster cannot make of it what it should.
    #[error(
        "cannot be brought from version {version} of {event_type} to the next shape; mend that \
         upcaster"
    )]
    Upcast {
        /// The type that the upcaster is for.
        event_type: String,
        /// The version it leads away from.
        version: u32,
        /// What it said: [`Panicked`](annals_core::Panicked) when it panicked.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// An event that cannot be stored: a mistake in its type or a value that is no tag.
#[derive(Debug)]
pub struct EncodeError {
    /// The type of the event.
    pub event_type: String,
    /// What is wrong with it.
    pub fault: EncodeFault,
}

impl EncodeError {
    pub(crate) fn unreadable(new: &NewEvent, error: DecodeError) -> Self {
        let event_type = new.event_type.to_string();
        Self { event_type, fault: EncodeFault::Unreadable(Box::new(error)) }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.event_type, self.fault)
    }
}

impl Error for EncodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source()
    }
}

/// What is wrong with an event that is to be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeFault {
    /// Its own upcasters drop it, so that nobody would ever read it.
    #[error("is dropped by its own upcasters; take it out of `drop_type`, or do not record it")]
    Dropped,
    /// Its fields do not serialise.
    #[error("cannot be written as JSON; change the field that its source names")]
    Data(#[source] serde_json::Error),
    /// It is a variant that holds a text, a number, a list or nothing, which could get no field
    /// later, and no upcaster.
    #[error("holds a value that is not a JSON object; hold a struct, or name the field")]
    NoObject,
    /// A tag or the type of it is the framework's own.
    #[error("uses the name {name}, but names that start with `annals.` are reserved; use another")]
    Reserved {
        /// The name.
        name: String,
    },
    /// The name of its type is no valid name.
    #[error("has a name that no type of event can have; give it another")]
    Type(#[source] InvalidName),
    /// What was written cannot be read back: a number that is none, for example, which JSON
    /// cannot say, or a field that is read though it is not written.
    #[error(
        "would be stored so that it cannot be read again; mend the field that its source names"
    )]
    Unreadable(#[source] Box<DecodeError>),
    /// A tag of it is no valid tag.
    #[error("cannot be tagged with `{key}`; give the field a value that makes a tag")]
    Tag {
        /// The key of the tag.
        key: &'static str,
        /// What is wrong with the tag.
        #[source]
        source: InvalidName,
    },
}
