//! The read side: where what is derived from the log is kept.
//!
//! Three capabilities, each a trait, so that a database says in types what it can do:
//! [`CheckpointStore`] keeps how far every subscriber has come, and who works it;
//! [`RowStore`] keeps rows beside those checkpoints; [`DeliveryQueue`] keeps what inboxes still
//! have to do. What drives a subscriber is in the framework, and knows a [`Projector`].
//!
//! The present moment is always the caller's, from its clock, so that a test can hold it still.
//! Clocks of several processes may differ by less than a lease lasts; correctness never rests on
//! them but on the [fence](Lease::fence) of a lease.

mod checkpoint;
mod deleting;
mod delivery;
mod fold;
mod memory;
mod projector;
mod rows;
mod shared;

pub use checkpoint::{
    Activation, Advance, CheckpointStore, Claim, Enrol, Failure, Generation, GenerationInfo, Lease,
    OnNewVersion, Parked, Partition, PartitionInfo, Renewed, Role, SubscriberInfo, SubscriberState,
};
pub use deleting::{Deleted, UsedBy};
pub use delivery::{
    Attempt, Delivery, DeliveryId, DeliveryInfo, DeliveryQueue, DeliveryState, Enqueue, EventRef,
    InboxInfo, NewDelivery, SelectDeliveries, Settled, Take, Then,
};
pub use fold::{PoisonEvent, RowFold};
pub(crate) use memory::Inline;
pub use memory::MemoryReadSide;
pub use projector::{ProjectError, Projector, Stretch};
pub use rows::{ListRows, Row, RowChange, RowKey, RowStore};
