//! What becomes of a subscriber that nobody runs any more.

use crate::Timestamp;

/// What went with a subscriber that was [deleted](super::CheckpointStore::delete).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores make it")]
pub struct Deleted {
    /// Events that it had parked.
    pub parked: u64,
    /// Rows of the read side, of all generations.
    pub rows: u64,
    /// Deliveries, however they stood.
    pub deliveries: u64,
    /// Tables of its own, as they were called, by name.
    pub tables: Vec<String>,
}

/// Who uses a subscriber that is to be deleted, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsedBy {
    /// Appends run it, in their transactions.
    #[error(
        "appends run it; open no store with it any more, end it with \
         `PostgresReadSide::end_inline` where it is on PostgreSQL, and try again a minute later"
    )]
    Appends,
    /// Somebody makes deliveries of it.
    #[error(
        "{deliveries} of its deliveries are being made; stop whoever runs it, or wait until \
         {until} if it has died"
    )]
    Deliveries {
        /// How many.
        deliveries: u64,
        /// When the last of them is overdue.
        until: Timestamp,
    },
    /// Somebody works one of its parts.
    #[error("{owner} works it; stop it there, or wait until {until} if it has died")]
    Owner {
        /// Who.
        owner: String,
        /// Until when its lease lasts, unless it is renewed.
        until: Timestamp,
    },
    /// It was deleted in part, and then somebody started it again.
    #[error("it was started again before all of it was gone; stop it, and delete it again")]
    Restarted,
}
