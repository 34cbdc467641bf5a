//! What [`CheckpointStore`](annals_core::CheckpointStore) says.

pub(super) mod advancing;
pub(super) mod deleting;
pub(super) mod durable;
pub(super) mod enrolling;
pub(super) mod generations;
pub(super) mod leases;
