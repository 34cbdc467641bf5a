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
    /// The streams, ordered by name byte by byte: those of `category`, or all.
    fn streams(&self, category: Option<Category>) -> StreamInfos;

    /// The totals.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn stats(&self) -> Result<Stats, ReadError>;
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
