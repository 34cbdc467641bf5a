//! Where an event stands: its version in a stream, its position in the log.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An event's place in the whole log.
///
/// Positions are strictly increasing, gaps are allowed, and nothing follows from their
/// distance: compare them, keep them, never calculate with them. They stay below `i64::MAX`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct Position(u64);

impl Position {
    /// Before the first event.
    pub const START: Self = Self(0);
    /// At or after every event there can ever be.
    pub const END: Self = Self(i64::MAX.unsigned_abs());

    /// The position with this number, held to at most [`END`](Self::END).
    #[must_use]
    pub const fn new(number: u64) -> Self {
        if number > Self::END.0 { Self::END } else { Self(number) }
    }

    /// The number, for storing it elsewhere.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<u64> for Position {
    fn from(number: u64) -> Self {
        Self::new(number)
    }
}

impl From<Position> for u64 {
    fn from(position: Position) -> Self {
        position.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

/// An event's place in its stream: 1, 2, 3 …; 0 is the empty stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct Version(u64);

impl Version {
    /// The version of a stream without events.
    pub const EMPTY: Self = Self(0);
    /// The version of a stream's first event.
    pub const FIRST: Self = Self(1);
    /// At or after every version there can ever be.
    pub const END: Self = Self(i64::MAX.unsigned_abs());

    /// The version with this number, held to at most [`END`](Self::END).
    #[must_use]
    pub const fn new(number: u64) -> Self {
        if number > Self::END.0 { Self::END } else { Self(number) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The version of the event after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.0.saturating_add(1))
    }
}

impl From<u64> for Version {
    fn from(number: u64) -> Self {
        Self::new(number)
    }
}

impl From<Version> for u64 {
    fn from(version: Version) -> Self {
        version.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// What an append demands of a stream before it writes to it.
///
/// ```
/// use annals_core::{ExpectedVersion, Version};
///
/// assert!(ExpectedVersion::NoStream.accepts(Version::EMPTY));
/// assert!(!ExpectedVersion::Exact(Version::new(3)).accepts(Version::new(4)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "these four are the contract")]
pub enum ExpectedVersion {
    /// Nothing: append whatever the stream holds.
    Any,
    /// The stream's last event has this version; `Exact(0)` is the empty stream.
    Exact(Version),
    /// The stream has no events yet.
    NoStream,
    /// The stream has at least one event.
    StreamExists,
}

impl ExpectedVersion {
    /// Whether a stream that is at `found` fulfils the demand.
    #[must_use]
    pub fn accepts(self, found: Version) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(version) => found == version,
            Self::NoStream => found == Version::EMPTY,
            Self::StreamExists => found > Version::EMPTY,
        }
    }
}

impl fmt::Display for ExpectedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any version"),
            Self::Exact(version) => write!(f, "version {version}"),
            Self::NoStream => f.write_str("no stream"),
            Self::StreamExists => f.write_str("an existing stream"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_from_outside_are_held_to_the_end() {
        let position: Position = serde_json::from_str(&u64::MAX.to_string()).unwrap();
        assert_eq!(position, Position::END);
        let version: Version = serde_json::from_str(&u64::MAX.to_string()).unwrap();
        assert_eq!(version, Version::END);
        assert_eq!(serde_json::to_string(&Version::new(7)).unwrap(), "7");
    }
}
