//! Every input has a named limit with a default (S8).

use crate::error::Invalid;
use crate::{Append, NewEvent, Query, RowChange, RowKey, Snapshot};

/// What a store accepts. Names themselves are bounded by their own `BYTES_MAX`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Events of one append.
    pub append_events_max: usize,
    /// Bytes of one append: data, metadata, types and tags of its events together.
    pub append_bytes_max: usize,
    /// Streams of one append.
    pub append_streams_max: usize,
    /// Conditions of one append.
    pub append_conditions_max: usize,
    /// Bytes of one event's data.
    pub event_data_bytes_max: usize,
    /// Bytes of one event's metadata.
    pub event_metadata_bytes_max: usize,
    /// Tags of one event.
    pub event_tags_max: usize,
    /// Items of one query.
    pub query_items_max: usize,
    /// Types, tags, categories and streams of one item of a query together.
    pub query_item_terms_max: usize,
    /// Bytes of one snapshot's state.
    pub snapshot_bytes_max: usize,
}

impl Limits {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        append_events_max: 4_096,
        append_bytes_max: 16 * 1024 * 1024,
        append_streams_max: 512,
        append_conditions_max: 64,
        event_data_bytes_max: 4 * 1024 * 1024,
        event_metadata_bytes_max: 64 * 1024,
        event_tags_max: 64,
        query_items_max: 64,
        query_item_terms_max: 128,
        snapshot_bytes_max: 16 * 1024 * 1024,
    };

    /// Checks the sizes of an append.
    ///
    /// # Errors
    /// [`Invalid::LimitExceeded`], naming the limit.
    pub fn check_append(&self, append: &Append) -> Result<(), Invalid> {
        within("append_streams_max", self.append_streams_max, append.streams.len())?;
        within("append_conditions_max", self.append_conditions_max, append.conditions.len())?;
        within("append_events_max", self.append_events_max, append.events().count())?;
        append.events().try_for_each(|event| self.check_event(event))?;
        within("append_bytes_max", self.append_bytes_max, append.bytes())?;
        append.conditions.iter().try_for_each(|condition| self.check_query(&condition.query))
    }

    /// Checks the sizes of a query.
    ///
    /// # Errors
    /// [`Invalid::LimitExceeded`], naming the limit.
    pub fn check_query(&self, query: &Query) -> Result<(), Invalid> {
        within("query_items_max", self.query_items_max, query.items().len())?;
        query.items().iter().try_for_each(|item| {
            let terms =
                item.types.len() + item.tags.len() + item.categories.len() + item.streams.len();
            within("query_item_terms_max", self.query_item_terms_max, terms)
        })
    }

    /// Checks the size of a snapshot; every store of snapshots does so before it writes.
    ///
    /// # Errors
    /// [`Invalid::LimitExceeded`], naming the limit.
    pub fn check_snapshot(&self, snapshot: &Snapshot) -> Result<(), Invalid> {
        within("snapshot_bytes_max", self.snapshot_bytes_max, snapshot.state.len())
    }

    /// Checks a row that is to be written; every store of rows does so before it writes.
    ///
    /// # Errors
    /// [`Invalid::LimitExceeded`], naming the limit, or [`Invalid::Nul`].
    pub fn check_row(&self, change: &RowChange) -> Result<(), Invalid> {
        let key = change.key.as_str();
        within("row_key_bytes_max", RowKey::BYTES_MAX, key.len())?;
        without_nul("a row's key", key)?;
        let value = change.value.as_ref().map_or(0, |value| value.len());
        within("snapshot_bytes_max", self.snapshot_bytes_max, value)
    }

    fn check_event(&self, event: &NewEvent) -> Result<(), Invalid> {
        within("event_data_bytes_max", self.event_data_bytes_max, event.data.bytes.len())?;
        let metadata = event.metadata.as_json().len();
        within("event_metadata_bytes_max", self.event_metadata_bytes_max, metadata)?;
        within("event_tags_max", self.event_tags_max, event.tags.len())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

pub(crate) fn within(limit: &'static str, max: usize, actual: usize) -> Result<(), Invalid> {
    if actual > max { Err(Invalid::LimitExceeded { limit, max, actual }) } else { Ok(()) }
}

/// PostgreSQL has no such text.
pub(crate) fn without_nul(what: &'static str, text: &str) -> Result<(), Invalid> {
    if text.contains('\0') { Err(Invalid::Nul(what)) } else { Ok(()) }
}
