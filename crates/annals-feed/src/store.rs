//! Where entries are kept, and what can be asked of them there.

use std::fmt;

use annals::{Position, Timestamp};
use async_trait::async_trait;
use serde::Serialize;

use crate::entry::Place;
use crate::{Entry, FeedError, Filter};

/// In which order entries are read: by when they happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Order {
    /// The newest first.
    #[default]
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

/// Which of the entries that a filter finds.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the feed makes it")]
pub struct Slice {
    /// In which order.
    pub order: Order,
    /// Only those behind this place, in that order.
    pub after: Option<Place>,
    /// At most so many.
    pub limit: usize,
}

/// What entries are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CountBy {
    /// Who did it.
    Actor,
    /// In which category.
    Category,
    /// In which stream.
    Stream,
    /// What happened.
    Type,
}

/// How many entries have something in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "a key and its count")]
pub struct Count {
    /// What they have in common; `None` for those without an actor.
    pub key: Option<String>,
    /// How many they are.
    pub count: u64,
}

/// So many entries within a quarter of an hour, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a quarter and its count")]
pub struct Quarter {
    /// When it begins.
    pub begins: Timestamp,
    /// How many entries are in it.
    pub count: u64,
}

/// A place where the entries of one feed are kept. Filters have been checked, and can match.
#[async_trait]
pub trait EntryStore: Send + Sync + fmt::Debug {
    /// Entries in their order.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn slice(&self, filter: &Filter, slice: Slice) -> Result<Vec<Entry>, FeedError>;

    /// How many entries there are of each, most first, equals by their key; at most so many.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn count(
        &self,
        filter: &Filter,
        by: CountBy,
        limit: usize,
    ) -> Result<Vec<Count>, FeedError>;

    /// How many entries there are in each quarter of an hour that has any, the first ones first.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn quarters(&self, filter: &Filter) -> Result<Vec<Quarter>, FeedError>;

    /// The first entry of each type, in their order; at most so many.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn firsts(&self, filter: &Filter, limit: usize) -> Result<Vec<Entry>, FeedError>;

    /// Up to where the log is in it.
    ///
    /// # Errors
    /// When the checkpoints cannot be read.
    async fn reached(&self) -> Result<Position, FeedError>;
}

/// How long a quarter of an hour is.
pub(crate) const QUARTER_MICROS: i64 = 15 * 60 * 1_000_000;
