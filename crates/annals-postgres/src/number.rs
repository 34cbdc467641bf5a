//! The contract's numbers are unsigned and stay below `i64::MAX`; PostgreSQL's are signed.

use annals_core::{Position, Version};

pub(crate) fn position(stored: i64) -> Position {
    Position::new(stored.unsigned_abs())
}

pub(crate) fn version(stored: i64) -> Version {
    Version::new(stored.unsigned_abs())
}

pub(crate) fn stored_position(position: Position) -> i64 {
    position.get().cast_signed()
}

pub(crate) fn stored_version(version: Version) -> i64 {
    version.get().cast_signed()
}

/// A length as PostgreSQL's `integer`; everything counted here is bounded by a limit far below.
pub(crate) fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}
