//! Projections and inboxes that were deleted, on the wire.

use annals_core::SubscriberName;
use serde::Serialize;

/// What went with a projection or an inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deleted {
    /// Its name.
    pub name: SubscriberName,
    /// Events that it had put aside.
    pub parked: u64,
    /// Rows, of all its generations.
    pub rows: u64,
    /// Deliveries, however they stood.
    pub deliveries: u64,
    /// Tables of its own, which were dropped.
    pub tables: Vec<String>,
}

impl Deleted {
    /// What went, on the wire.
    #[must_use]
    pub fn of(name: SubscriberName, deleted: annals_core::Deleted) -> Self {
        let annals_core::Deleted { parked, rows, deliveries, tables } = deleted;
        Self { name, parked, rows, deliveries, tables }
    }
}
