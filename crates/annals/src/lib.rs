//! Event sourcing for Rust.
//!
//! An application records what happened, and derives everything else from it. This is a bank
//! account:
//!
//! ```
//! use annals::{Aggregate, Annals, Apply, Command, Event, MemoryStore, Version};
//!
//! #[derive(Debug, Event)]
//! enum AccountEvent {
//!     AccountOpened { owner: String },
//!     MoneyDeposited { amount: u64 },
//!     MoneyWithdrawn { amount: u64 },
//! }
//! use AccountEvent::*;
//!
//! /// What the events add up to.
//! #[derive(Debug, Default, Aggregate)]
//! #[aggregate(category = "account", event = AccountEvent)]
//! struct Account {
//!     balance: Option<u64>,
//! }
//!
//! impl Apply<AccountEvent> for Account {
//!     fn apply(&mut self, event: AccountEvent) {
//!         self.balance = match event {
//!             AccountOpened { .. } => Some(0),
//!             MoneyDeposited { amount } => self.balance.map(|held| held.saturating_add(amount)),
//!             MoneyWithdrawn { amount } => self.balance.map(|held| held.saturating_sub(amount)),
//!         };
//!     }
//! }
//!
//! /// What may be asked of an account, and may be refused.
//! #[derive(Clone)]
//! enum AccountCommand {
//!     Open { owner: String },
//!     Deposit { amount: u64 },
//!     Withdraw { amount: u64 },
//! }
//! use AccountCommand::*;
//!
//! #[derive(Debug, thiserror::Error)]
//! enum Refusal {
//!     #[error("the account is open already")]
//!     AlreadyOpen,
//!     #[error("only {held} is in the account")]
//!     InsufficientFunds { held: u64 },
//!     #[error("the account is not open; open it first")]
//!     NotOpen,
//!     #[error("that is more than an account can hold")]
//!     TooMuch,
//! }
//! use Refusal::*;
//!
//! impl Command<Account> for AccountCommand {
//!     type Error = Refusal;
//!
//!     fn decide(self, account: &Account) -> Result<Vec<AccountEvent>, Refusal> {
//!         match (self, account.balance) {
//!             (Open { owner }, None) => Ok(vec![AccountOpened { owner }]),
//!             (Open { .. }, Some(_)) => Err(AlreadyOpen),
//!             (_, None) => Err(NotOpen),
//!             (Deposit { amount }, Some(held)) if held.checked_add(amount).is_none() => Err(TooMuch),
//!             (Deposit { amount }, Some(_)) => Ok(vec![MoneyDeposited { amount }]),
//!             (Withdraw { amount }, Some(held)) if amount > held => Err(InsufficientFunds { held }),
//!             (Withdraw { amount }, Some(_)) => Ok(vec![MoneyWithdrawn { amount }]),
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bank = Annals::new(MemoryStore::new());
//! bank.execute("ACC_123", Open { owner: "Ada".into() }).await?;
//! bank.execute("ACC_123", Deposit { amount: 100 }).await?;
//! let receipt = bank.execute("ACC_123", Withdraw { amount: 50 }).await?;
//! assert_eq!((receipt.state.balance, receipt.version.get()), (Some(50), 3));
//!
//! let refused = bank.execute("ACC_123", Withdraw { amount: 60 }).await.unwrap_err();
//! assert_eq!(refused.to_string(), "only 50 is in the account");
//!
//! let before = bank.load_as_of::<Account>("ACC_123", Version::new(2)).await?;
//! assert_eq!(before.state.balance, Some(100));
//! # Ok(()) }
//! ```
//!
//! # The way of a command
//!
//! A [`Command`] is [executed](Annals::execute) on an [`Aggregate`], which is folded from the
//! [`Event`]s of one stream. What it decides is appended to the store, unless the stream has
//! changed meanwhile; then it decides again. [`Annals::load`] gives the aggregate as it is,
//! [`Annals::load_as_of`] as it was at any version or moment, and [`Annals::history`] what
//! happened to it.
//!
//! A rule that concerns several things at once is a [`Decision`]: it is decided on what a query
//! finds, in whatever streams, and is recorded only if nothing else has come that it depends on.
//!
//! More examples: an inventory under contention, a command that is refused in layers, an event in
//! two shapes, in [`shop`]; and rules that concern several streams, in [`dcb`].
//!
//! # The store
//!
//! Behind an [`Annals`] stands any [`EventStore`]: [`MemoryStore`] for tests and, with the
//! feature `sqlite`, which is on by default, `SqliteStore` for a file, and with the feature
//! `postgres`, `PostgresStore` for a database.

mod aggregate;
mod batch;
mod cache;
mod command;
mod consistency;
mod context;
#[cfg(any(doc, doctest))]
pub mod dcb;
mod decide;
mod decision;
mod denied;
mod error;
mod event;
mod event_names;
mod execute;
mod field_errors;
mod fold;
mod handle;
mod history;
pub mod inbox;
mod load;
pub mod process;
mod projection;
mod reactor;
mod reading;
mod record;
mod refusal;
mod retention;
mod retry;
pub mod schema;
mod shape;
#[cfg(any(doc, doctest))]
pub mod shop;
mod snapshot;
mod standing;
#[cfg(feature = "testing")]
pub mod testing;
mod upcast;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use aggregate::{Aggregate, AggregateId, AnyId, Apply, Snapshotting, UnknownTypes};
pub use annals_macros::{Aggregate, DecisionModel, Event, fold};
pub use batch::{AnyRefusal, Batch, BatchError, Batched};
pub use command::Command;
pub use consistency::{ConsistencyToken, InvalidToken};
pub use context::Context;
pub use decide::{Decide, Decided};
pub use decision::{Decision, DecisionModel, DecisionModels};
pub use denied::Denied;
pub use error::{DecodeError, DecodeFault, EncodeError, EncodeFault, ExecuteError, LoadError};
pub use event::{Decoded, Event, EventShape};
pub use event_names::EventTypes;
pub use execute::{Execute, Executed};
pub use field_errors::{FieldError, FieldErrors};
pub use handle::Annals;
pub use history::{History, Recorded};
pub use inbox::{Dispatcher, Inbox, Inboxes, RunningInboxes};
pub use load::{AsOf, Loaded};
pub use process::ProcessManager;
pub use projection::{
    GenerationProgress, Keys, Lag, Live, OnPoison, Projecting, Projection, ProjectionState,
    ProjectionStatus, Projections, ReadModel, Rebuild, RebuildError, RunningProjection, Sink,
    Sinking, StatusError, WaitError,
};
pub use reactor::{ReactError, ReactErrorKind, Reacting, Reactor};
pub use reading::{CurrentEvents, CurrentNotices};
pub use record::{
    Change, Changed, IllegalTransition, Record, RecordError, Recordable, Recording, StateMachine,
    Transit, Transited, Transition, Unplaced,
};
pub use retention::{Retain, Retention, RetentionError, RetentionPolicy, RetentionRefusal};
pub use retry::RetryPolicy;
pub use snapshot::{Rebuilt, SnapshotPolicy, SnapshotsError, Tail};
pub use standing::{NotOpen, Standing};
pub use upcast::{Part, Upcasters};

pub use annals_core::{
    Activation, Advance, Attempt, CheckpointStore, Claim, Deleted, Delivery, DeliveryId,
    DeliveryInfo, DeliveryQueue, DeliveryState, Enqueue, Enrol, EventRef, Failure, Generation,
    GenerationInfo, InboxInfo, Lease, ListRows, NewDelivery, OnNewVersion, Parked, Partition,
    PartitionInfo, PoisonEvent, ProjectError, Projector, ReadSideError, Renewed, Role, Row,
    RowChange, RowFold, RowKey, RowStore, SelectDeliveries, Settled, Stretch, SubscriberInfo,
    SubscriberName, SubscriberState, Take, Then, UsedBy,
};
pub use annals_core::{
    Append, AppendCondition, AppendError, Category, Clock, Conflict, ContentType, Data, Direction,
    EventId, EventStore, EventStoreExt, EventStream, EventType, ExpectedVersion, Fault,
    Fingerprint, Ids, Invalid, InvalidName, InvalidTimestamp, Limits, ListStreams, ManualClock,
    MemoryReadSide, MemorySnapshots, MemoryStore, Metadata, NameFault, NewEvent, Notice, Panicked,
    Position, Query, QueryItem, RandomIds, Read, ReadError, Receipt, RecordedEvent, Scope,
    SelectSnapshots, SequentialIds, Snapshot, SnapshotError, SnapshotInfo, SnapshotInfos,
    SnapshotStore, Stats, StreamAppend, StreamCatalog, StreamId, StreamInfo, StreamInfos,
    StreamReceipt, Subscribe, SubscribeFrom, Subscription, SystemClock, Tag, Tags, Timestamp,
    Version,
};

#[cfg(feature = "postgres")]
pub use annals_postgres::{self as postgres, PostgresReadSide, PostgresStore};
#[cfg(feature = "sqlite")]
pub use annals_sqlite::{self as sqlite, SqliteReadSide, SqliteStore};
