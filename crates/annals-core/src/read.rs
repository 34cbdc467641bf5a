//! Reads: which events, in which order.

use std::pin::Pin;

use futures_core::Stream;

use crate::error::{Invalid, ReadError};
use crate::{Limits, Position, Query, RecordedEvent, StreamId, Timestamp, Version};

/// The events a read returns, one after the other, as the consumer asks for them (S8).
///
/// After an error the stream ends.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<RecordedEvent, ReadError>> + Send>>;

/// Which events to read. Bounds say which, [`direction`](Self::direction) says in which order.
///
/// ```
/// use annals_core::{Read, StreamId, Version};
///
/// let last_ten = Read::stream(StreamId::new("account-1")?).backward().limit(10);
/// let tail = Read::stream(StreamId::new("account-1")?).from_version(Version::new(101));
/// # Ok::<(), annals_core::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Read {
    /// What to read from.
    pub scope: Scope,
    /// Only events after this position.
    pub after: Position,
    /// Only events up to this position, it included.
    pub up_to: Position,
    /// Only events from this version on; for reads of one stream.
    pub from_version: Version,
    /// Only events up to this version, it included; for reads of one stream.
    pub to_version: Version,
    /// Only events recorded at this moment or before.
    pub as_at: Option<Timestamp>,
    /// In which order.
    pub direction: Direction,
    /// At most so many, the first ones in that order.
    pub limit: Option<u64>,
}

/// What a read reads from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a backend must answer both")]
pub enum Scope {
    /// The events of the log that match.
    Query(Query),
    /// One stream.
    Stream(StreamId),
}

/// The order of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Direction {
    /// Oldest first.
    #[default]
    Forward,
    /// Newest first.
    Backward,
}

impl Read {
    /// The whole log.
    #[must_use]
    pub fn all() -> Self {
        Self::query(Query::all())
    }

    /// One stream.
    #[must_use]
    pub fn stream(stream: StreamId) -> Self {
        Self::of(Scope::Stream(stream))
    }

    /// The events that match `query`.
    #[must_use]
    pub fn query(query: Query) -> Self {
        Self::of(Scope::Query(query))
    }

    fn of(scope: Scope) -> Self {
        Self {
            scope,
            after: Position::START,
            up_to: Position::END,
            from_version: Version::EMPTY,
            to_version: Version::END,
            as_at: None,
            direction: Direction::Forward,
            limit: None,
        }
    }

    /// Only events after `position`.
    #[must_use]
    pub fn after(mut self, position: Position) -> Self {
        self.after = position;
        self
    }

    /// Only events up to `position`, it included.
    #[must_use]
    pub fn up_to(mut self, position: Position) -> Self {
        self.up_to = position;
        self
    }

    /// Only events from `version` on; for reads of one stream.
    #[must_use]
    pub fn from_version(mut self, version: Version) -> Self {
        self.from_version = version;
        self
    }

    /// Only events up to `version`, it included; for reads of one stream.
    #[must_use]
    pub fn to_version(mut self, version: Version) -> Self {
        self.to_version = version;
        self
    }

    /// Only events recorded at `moment` or before: the log as it was then (S9).
    #[must_use]
    pub fn as_at(mut self, moment: Timestamp) -> Self {
        self.as_at = Some(moment);
        self
    }

    /// Newest first.
    #[must_use]
    pub fn backward(mut self) -> Self {
        self.direction = Direction::Backward;
        self
    }

    /// At most `count` events.
    #[must_use]
    pub fn limit(mut self, count: u64) -> Self {
        self.limit = Some(count);
        self
    }

    /// Checks everything that can be checked without the log; every store does so first (S8).
    ///
    /// # Errors
    /// [`Invalid`], naming the first fault found.
    pub fn check(&self, limits: &Limits) -> Result<(), Invalid> {
        match &self.scope {
            Scope::Stream(_) => Ok(()),
            Scope::Query(_) if self.has_version_bounds() => Err(Invalid::VersionsWithoutStream),
            Scope::Query(query) => limits.check_query(query),
        }
    }

    /// Whether `event` lies within scope and bounds; direction and limit aside.
    #[must_use]
    pub fn selects(&self, event: &RecordedEvent) -> bool {
        let in_scope = match &self.scope {
            Scope::Query(query) => query.matches(event),
            Scope::Stream(stream) => *stream == event.stream,
        };
        in_scope
            && (self.after < event.position && event.position <= self.up_to)
            && (self.from_version <= event.version && event.version <= self.to_version)
            && self.as_at.is_none_or(|moment| event.recorded_at <= moment)
    }

    fn has_version_bounds(&self) -> bool {
        self.from_version > Version::EMPTY || self.to_version < Version::END
    }
}
