//! What [`DeliveryQueue`](annals_core::DeliveryQueue) says.

pub(super) mod by_hand;
pub(super) mod deleting;
pub(super) mod durable;
pub(super) mod enqueuing;
pub(super) mod lanes;
pub(super) mod model;
pub(super) mod settling;
pub(super) mod storm;
pub(super) mod taking;
mod words;
