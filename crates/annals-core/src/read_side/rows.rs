//! Rows beside checkpoints: what a projection without statements of its own is kept in.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Advance, Generation, Lease};
use crate::SubscriberName;
use crate::error::ReadSideError;

/// The key of a row within its projection: up to 512 bytes of text without NUL, compared byte by
/// byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(String);

impl RowKey {
    /// The most bytes it may have.
    pub const BYTES_MAX: usize = 512;

    /// The key with this text; it must fit into [`BYTES_MAX`](Self::BYTES_MAX), which is checked
    /// when it is written.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for RowKey {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A row as it is kept: JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores make it")]
pub struct Row {
    /// Its key.
    pub key: RowKey,
    /// Its value, JSON.
    pub value: Bytes,
}

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers make it")]
pub struct RowChange {
    /// Which row.
    pub key: RowKey,
    /// Its new value, JSON; `None` takes it away.
    pub value: Option<Bytes>,
}

/// Which rows, in the order of their keys, byte by byte.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers make it")]
pub struct ListRows {
    /// Only behind this key.
    pub after: Option<RowKey>,
    /// Only keys that begin like this.
    pub prefix: String,
    /// At most so many.
    pub limit: usize,
}

/// A database that keeps rows, each a JSON value under a key, and moves a checkpoint in the same
/// transaction.
#[async_trait]
pub trait RowStore: super::CheckpointStore {
    /// The rows with these keys that there are, in any order, in the generation that a lease is
    /// for. Whether the lease is lost shows when it commits.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn rows_of(&self, lease: &Lease, keys: &[RowKey]) -> Result<Vec<Row>, ReadSideError>;

    /// Writes rows into the generation of the lease, and moves the checkpoint, both or neither.
    /// Of several changes of one row the last stands.
    ///
    /// # Errors
    /// [`ReadSideError::Fenced`] as in [`advance`](super::CheckpointStore::advance), which also
    /// keeps a stretch from being written twice;
    /// [`ReadSideError::Invalid`] for what [`Limits::check_row`](crate::Limits::check_row)
    /// refuses. Nothing is written then.
    async fn commit_rows(
        &self,
        changes: Vec<RowChange>,
        advance: &Advance,
    ) -> Result<(), ReadSideError>;

    /// A row of the active generation.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn row(
        &self,
        subscriber: &SubscriberName,
        key: &RowKey,
    ) -> Result<Option<Row>, ReadSideError>;

    /// Rows of the active generation.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn rows(
        &self,
        subscriber: &SubscriberName,
        list: ListRows,
    ) -> Result<Vec<Row>, ReadSideError>;

    /// Drops rows of generations that are neither active, nor being built, nor named in `keep`,
    /// at most so many, and says how many they were: to be called until there are none.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn sweep_rows(
        &self,
        subscriber: &SubscriberName,
        keep: &[Generation],
        limit: usize,
    ) -> Result<usize, ReadSideError>;
}
