//! What can go wrong, grouped by what the caller does.

use std::error::Error;
use std::fmt;

use annals_core::{Fault, Invalid, Position};

use crate::{Fields, IndexName};

/// Why an index did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// What is stored is not what an index stores. Clear it, and apply the events again.
    #[error("the search index is damaged; clear it and apply the events again")]
    Corrupt(#[source] Fault),
    /// The call itself is wrong. Fix it.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is an index of this name where other fields can be searched. Take another name, and
    /// apply all events to it.
    #[error("index {index} is there and has other fields; take another name, and apply all events")]
    OtherFields {
        /// Its name.
        index: IndexName,
        /// The fields that can be searched in it.
        found: Fields,
    },
    /// Some documents cannot be as the events want them, however often that is tried; all others
    /// were applied. Park the events, or change what makes documents of them.
    #[error(
        "the index refuses documents; park their events, or change what makes documents of them"
    )]
    Refused(#[source] Refusals),
    /// The index cannot do it now. Apply the same again later: what was applied is passed over.
    #[error("the search index is not available; retry later")]
    Unavailable(#[source] Fault),
}

impl SearchError {
    /// The error's group in one word.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Corrupt(_) => "corrupt",
            Self::Invalid(_) => "invalid",
            Self::OtherFields { .. } => "other_search_fields",
            Self::Refused(_) => "document_refused",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

/// A document that an index cannot take.
#[derive(Debug)]
#[non_exhaustive]
pub struct Refused {
    /// Its id.
    pub id: String,
    /// The event that makes it so; the newest one, when the document was made of several.
    pub position: Position,
    /// What the index has against it.
    pub reason: Fault,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "document {:?} of the event at position {}", self.id, self.position)
    }
}

impl Error for Refused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.reason)
    }
}

/// The documents that an index refused: at least one.
#[derive(Debug)]
pub struct Refusals {
    first: Refused,
    others: Vec<Refused>,
}

impl Refusals {
    /// The one of the earliest event.
    #[must_use]
    pub fn first(&self) -> &Refused {
        &self.first
    }

    /// All of them, in the order of their events.
    pub fn iter(&self) -> impl Iterator<Item = &Refused> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.others.len() {
            0 => write!(f, "{}", self.first),
            others => write!(f, "{others} others and {}", self.first),
        }
    }
}

impl Error for Refusals {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.first.source()
    }
}

/// Refusals are told after everything else was done, so that one document stops no other.
pub(crate) fn unless_refused(mut refused: Vec<Refused>) -> Result<(), SearchError> {
    refused.sort_by_key(|refused| refused.position);
    let mut refused = refused.into_iter();
    let Some(first) = refused.next() else { return Ok(()) };
    Err(SearchError::Refused(Refusals { first, others: refused.collect() }))
}
