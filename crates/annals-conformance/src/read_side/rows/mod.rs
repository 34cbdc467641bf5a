//! What [`RowStore`](annals_core::RowStore) says.

pub(super) mod committing;
pub(super) mod deleting;
pub(super) mod durable;
pub(super) mod generations;
pub(super) mod listing;
