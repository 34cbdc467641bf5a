//! What a store holds, in figures: streams and totals.

use std::pin::Pin;

use async_trait::async_trait;
use futures_core::Stream;
use serde::Serialize;

use crate::error::ReadError;
use crate::{Category, Position, StreamId, Version};

/// The streams of a store, by name, as the consumer asks for them.
pub type StreamInfos = Pin<Box<dyn Stream<Item = Result<StreamInfo, ReadError>> + Send>>;

/// A store that can tell which streams it holds.
#[async_trait]
pub trait StreamCatalog: Send + Sync {
    /// The streams, ordered by name byte by byte, read as they are asked for.
    fn streams(&self, list: ListStreams) -> StreamInfos;

    /// The totals.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn stats(&self) -> Result<Stats, ReadError>;
}

/// Which streams to list.
///
/// ```
/// use annals_core::{Category, ListStreams, StreamId};
///
/// let accounts = ListStreams::all().category(Category::new("account")?);
/// let next_page = accounts.after(StreamId::new("account-0099")?);
/// # Ok::<(), annals_core::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ListStreams {
    /// Only streams of this category.
    pub category: Option<Category>,
    /// Only streams whose names come after this one.
    pub after: Option<StreamId>,
}

impl ListStreams {
    /// Every stream.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Only streams of `category`.
    #[must_use]
    pub fn category(mut self, category: Category) -> Self {
        self.category = Some(category);
        self
    }

    /// Only streams whose names come after `stream`, which need not exist.
    #[must_use]
    pub fn after(mut self, stream: StreamId) -> Self {
        self.after = Some(stream);
        self
    }

    /// Whether `stream` is to be listed.
    #[must_use]
    pub fn selects(&self, stream: &StreamId) -> bool {
        self.after.as_ref().is_none_or(|after| stream > after)
            && self.category.as_ref().is_none_or(|category| stream.category() == *category)
    }
}

/// One stream of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamInfo {
    /// The stream.
    pub stream: StreamId,
    /// The version of its last event, which is also how many events it has.
    pub version: Version,
    /// The position of its last event.
    pub last_position: Position,
}

/// The totals of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// How many events the log holds.
    pub events: u64,
    /// How many streams have events.
    pub streams: u64,
    /// The position of the last event; 0 when there is none.
    pub head: Position,
}
