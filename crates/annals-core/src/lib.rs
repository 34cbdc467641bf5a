//! The words and the store contract of Annals, and a store in memory.
//!
//! Everything else knows this crate; it knows nothing else. Follow an event through it:
//! [`NewEvent`] → [`Append`] → [`EventStore::append`] → [`RecordedEvent`] → [`Read`] or
//! [`Subscribe`].
//!
//! ```
//! use annals_core::{
//!     Data, EventStoreExt, EventType, ExpectedVersion, MemoryStore, NewEvent, Read, StreamId,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::new();
//! let account = StreamId::new("account-1")?;
//! let opened = NewEvent::new(EventType::new("AccountOpened")?, Data::json(r#"{"owner":"Ada"}"#));
//! store.append_to(account.clone(), ExpectedVersion::NoStream, [opened]).await?;
//!
//! let history = store.read_to_end(Read::stream(account)).await?;
//! assert_eq!(history[0].event_type.as_str(), "AccountOpened");
//! # Ok(()) }
//! ```

mod append;
mod catalog;
mod clock;
pub mod error;
mod event;
mod id;
mod limits;
mod memory;
mod metadata;
mod name;
mod panicked;
mod position;
mod query;
mod read;
mod read_side;
pub mod repeat;
mod snapshot;
mod store;
pub mod subscription;
mod timestamp;

pub use append::{Append, AppendCondition, Receipt, StreamAppend, StreamReceipt};
pub use catalog::{ListStreams, Stats, StreamCatalog, StreamInfo, StreamInfos};
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{AppendError, Conflict, Fault, Invalid, ReadError, ReadSideError, SnapshotError};
pub use event::{ContentType, Data, NewEvent, RecordedEvent, Tags};
pub use id::{EventId, Ids, RandomIds, SequentialIds};
pub use limits::Limits;
pub use memory::MemoryStore;
pub use metadata::Metadata;
pub use name::{
    Category, EventType, Fingerprint, InvalidName, NameFault, StreamId, SubscriberName, Tag,
};
pub use panicked::Panicked;
pub use position::{ExpectedVersion, Position, Version};
pub use query::{Query, QueryItem};
pub use read::{Direction, EventStream, Read, Scope};
pub use read_side::{
    Activation, Advance, Attempt, CheckpointStore, Claim, Deleted, Delivery, DeliveryId,
    DeliveryInfo, DeliveryQueue, DeliveryState, Enqueue, Enrol, EventRef, Failure, Generation,
    GenerationInfo, InboxInfo, Lease, ListRows, MemoryReadSide, NewDelivery, OnNewVersion, Parked,
    Partition, PartitionInfo, PoisonEvent, ProjectError, Projector, Renewed, Role, Row, RowChange,
    RowFold, RowKey, RowStore, SelectDeliveries, Settled, Stretch, SubscriberInfo, SubscriberState,
    Take, Then, UsedBy,
};
pub use snapshot::{
    MemorySnapshots, SelectSnapshots, Snapshot, SnapshotInfo, SnapshotInfos, SnapshotStore,
};
pub use store::{EventStore, EventStoreExt};
pub use subscription::{Notice, Subscribe, SubscribeFrom, Subscription};
pub use timestamp::{InvalidTimestamp, Timestamp};
