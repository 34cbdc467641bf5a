//! What every index does.

use annals_core::Generation;
use async_trait::async_trait;
use serde_json::Value;

use crate::{EventEdits, Hits, Search, SearchError};

/// Documents that are made of events and can be searched.
///
/// Whatever the order in which edits are applied, how often, and by how many at once: when all of
/// them were applied at least once, the documents are those that the events in their order make.
/// So a projection may repeat what it does not know to be done, and a process that has lost its
/// turn without knowing it does no harm.
#[async_trait]
pub trait SearchIndex: Send + Sync {
    /// Makes of the documents what the events want, and returns when that is stored.
    ///
    /// # Errors
    /// [`SearchError::Refused`] when some documents cannot be so; all others are. After any other
    /// error some edits may be applied and others not: apply the same again.
    async fn apply(&self, events: &[EventEdits]) -> Result<(), SearchError>;

    /// The documents that fit, best first; equally good ones in the order of their ids.
    ///
    /// What was applied is found after [`refresh`](Self::refresh) at the latest.
    ///
    /// # Errors
    /// When the search is beyond its limits, or the index is not available.
    async fn search(&self, search: &Search) -> Result<Hits, SearchError>;

    /// The document with this id, as it is now.
    ///
    /// # Errors
    /// When the index is not available.
    async fn document(&self, id: &str) -> Result<Option<Value>, SearchError>;

    /// Makes everything that was applied so far be found.
    ///
    /// # Errors
    /// When the index is not available.
    async fn refresh(&self) -> Result<(), SearchError>;

    /// Forgets all documents and the positions of all edits, to begin again from the first event.
    ///
    /// # Errors
    /// When the index is not available.
    async fn clear(&self) -> Result<(), SearchError>;
}

/// The name of an index: a lower-case letter, then lower-case letters, digits, `_` and `-`, at
/// most [`BYTES_MAX`](Self::BYTES_MAX) of them. It is a name in every engine, and none can carry SQL
/// or a path.
///
/// ```
/// use annals_search::IndexName;
///
/// let products = IndexName::new("products")?;
/// assert!(IndexName::new("products/_all").is_err());
/// # Ok::<(), annals_search::InvalidIndexName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IndexName(String);

/// A text that cannot name an index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot name an index; use at most {max} lower-case letters, digits, `_` and `-`, a \
     letter first",
    max = IndexName::BYTES_MAX
)]
pub struct InvalidIndexName(String);

impl IndexName {
    /// The most bytes it may have. With what is put behind it, it is a name in PostgreSQL.
    pub const BYTES_MAX: usize = 40;

    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidIndexName`], which says what a name may be.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidIndexName> {
        let name = name.into();
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
        let valid = name.len() <= Self::BYTES_MAX
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(inside);
        if valid { Ok(Self(name)) } else { Err(InvalidIndexName(name)) }
    }

    /// The name of one generation of it: `products-2`.
    #[must_use]
    pub fn generation(&self, generation: Generation) -> Self {
        Self(format!("{}-{generation}", self.0))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for IndexName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error of the engine, as the index not being available.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn unavailable(
    doing: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> SearchError {
    SearchError::Unavailable(annals_core::Fault::because(doing, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_indices_carry_neither_sql_nor_paths() {
        for name in ["p", "products-2", "products_2", &"a".repeat(40)] {
            assert_eq!(IndexName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "1a", "-a", "_all", "a\"b", "a/b", "a,b", "a*", "A", "ä", &"a".repeat(41)]
        {
            let error = IndexName::new(name).unwrap_err();
            assert!(error.to_string().contains("lower-case"), "{error}");
        }
    }
}
