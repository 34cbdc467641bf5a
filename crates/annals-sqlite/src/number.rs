//! The contract's numbers are unsigned and stay below `i64::MAX`; SQLite's are signed.

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
