//! What can go wrong with a feed, grouped by what the caller does about it.

use annals::{Fault, LoadError, ReadSideError};

/// Why a feed did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// Stored entries are not what they must be. Rebuild the feed.
    #[error("the feed is damaged; rebuild it")]
    Corrupt(#[source] Fault),
    /// The cursor is none, or was made for something else. Begin again without one.
    #[error(transparent)]
    Cursor(#[from] InvalidCursor),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LoadError),
    /// The feed has no tables yet, because its projection has never run.
    #[error("the feed {0} has no tables yet; start its projector first")]
    NotBegun(&'static str),
    /// The checkpoints cannot be read.
    #[error(transparent)]
    ReadSide(#[from] ReadSideError),
    /// What is asked for has more of something than a limit allows. Ask for less.
    #[error("{limit} is {max}, and this has {actual}; ask for less at once")]
    TooMuch {
        /// The name of the limit.
        limit: &'static str,
        /// The most that is allowed.
        max: usize,
        /// What was asked for.
        actual: usize,
    },
    /// The database does not answer. Retry later.
    #[error("the feed is not available; retry later")]
    Unavailable(#[source] Fault),
}

/// A text that is not a cursor for what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCursor {
    /// It is no cursor, or not a whole one.
    #[error("this is not a cursor; use the text of a page as it is, or begin again without one")]
    Damaged,
    /// It was made for another filter, or for the other order.
    #[error("this cursor belongs to another filter or order; begin again without one")]
    OtherFilter,
    /// It was made by another version of this program.
    #[error("this cursor is of another version; begin again without one")]
    OtherVersion,
}

pub(crate) fn within(limit: &'static str, max: usize, actual: usize) -> Result<(), FeedError> {
    if actual > max { Err(FeedError::TooMuch { limit, max, actual }) } else { Ok(()) }
}
