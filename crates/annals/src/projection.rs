//! Projections: read models made of events.
//!
//! A [`Projection`] says what becomes of rows because of events, and nothing else: no store, no
//! clock, no future. So it can be run inline, in the transaction of each append; async, behind a
//! checkpoint ([`Annals::project`](crate::Annals::project)); live, folded when somebody asks
//! ([`Annals::live`](crate::Annals::live)); and in memory, for which a read side in memory is
//! enough.
//!
//! Follow one through the files: `read_model.rs` keeps it as rows, `running.rs` is how it is
//! started and asked, `supervisor.rs` begins a worker for each part, `part.rs` is such a worker,
//! `gather.rs` reads its stretches and `heart.rs` keeps its lease.

mod apply;
mod deadline;
mod gather;
mod heart;
mod known;
mod live;
mod options;
mod part;
mod progress;
mod projections;
mod read_model;
mod running;
mod sink;
mod status;
mod supervisor;

use std::fmt;

use annals_core::{EventType, Query, QueryItem, RecordedEvent, RowKey};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Event;

#[cfg(feature = "testing")]
pub(crate) use apply::{Applying, row_of};
pub use live::Live;
pub use options::{OnPoison, Projecting, Rebuild};
pub use projections::Projections;
pub use read_model::ReadModel;
pub use running::{RebuildError, RunningProjection, StatusError, WaitError};
pub use sink::{Sink, Sinking};
pub use status::{GenerationProgress, Lag, ProjectionState, ProjectionStatus};

/// A read model: rows, each a value under a key, and what becomes of them because of events.
///
/// [`apply`](Self::apply) is total and pure: the same events make the same rows, in whatever way
/// the projection is run, and however often it is rebuilt.
///
/// ```
/// use annals::{Annals, Event, MemoryReadSide, MemoryStore, Projection, ReadModel, RecordedEvent, RowKey};
/// # use annals::{EventStoreExt, ExpectedVersion, StreamId};
/// use std::time::Duration;
///
/// #[derive(Debug, Event)]
/// enum AccountEvent {
///     MoneyDeposited { amount: u64 },
///     MoneyWithdrawn { amount: u64 },
///     AccountClosed,
/// }
/// use AccountEvent::*;
///
/// /// How much is in each account.
/// struct Balances;
///
/// impl Projection for Balances {
///     type Event = AccountEvent;
///     type Row = u64;
///     const NAME: &'static str = "balances";
///
///     fn apply(&self, _: &RowKey, held: Option<u64>, event: &AccountEvent, _: &RecordedEvent) -> Option<u64> {
///         match event {
///             MoneyDeposited { amount } => Some(held.unwrap_or(0) + amount),
///             MoneyWithdrawn { amount } => Some(held.unwrap_or(0).saturating_sub(*amount)),
///             AccountClosed => None,
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let bank = Annals::new(store.clone());
/// let balances = ReadModel::new(Balances, MemoryReadSide::new());
/// let running = bank.project(balances.clone()).start();
///
/// let deposited = MoneyDeposited { amount: 100 }.encode()?;
/// let receipt = store.append_to(StreamId::new("account-1")?, ExpectedVersion::Any, [deposited]).await?;
/// // Read your own write:
/// running.wait_for(receipt.last_position, Duration::from_secs(5)).await?;
/// assert_eq!(balances.get("1").await?, Some(100));
/// running.stop().await;
/// # Ok(()) }
/// ```
pub trait Projection: Send + Sync + 'static {
    /// The events that it is made of. Those of other types are passed over.
    type Event: Event + Sync;

    /// A row as the program knows it; it is kept as JSON.
    type Row: Serialize + DeserializeOwned + Send + Sync;

    /// What its rows and its checkpoint are kept under.
    const NAME: &'static str;

    /// To be counted up whenever the same events make other rows: what was made by the older
    /// version is rebuilt then, when that is [asked for](Projecting::rebuilding_new_versions).
    /// From 1 on: [0](annals_core::SubscriberInfo::INBOX_VERSION) is that of inboxes.
    const VERSION: u32 = 1;

    /// Which rows an event concerns: unless said otherwise the one under the id of its stream,
    /// `1` for an event in `account-1`.
    fn keys(&self) -> Keys<Self::Event> {
        Keys::stream_id()
    }

    /// What becomes of a row because of an event; `None` when there is no row, or shall be none.
    fn apply(
        &self,
        key: &RowKey,
        row: Option<Self::Row>,
        event: &Self::Event,
        recorded: &RecordedEvent,
    ) -> Option<Self::Row>;

    /// Which events it wants to see: unless said otherwise all of the types of
    /// [`Event`](Self::Event). What is said here is asked of the store, so that others are not
    /// even read.
    fn query(&self) -> Query {
        let types = Self::Event::SHAPES.iter().map(|shape| EventType::from_static(shape.name));
        Query::of(QueryItem::new().types(types))
    }
}

/// Which rows an event concerns.
pub struct Keys<E>(pub(crate) KeysOf<E>);

pub(crate) enum KeysOf<E> {
    /// The one under the id of the event's stream.
    StreamId,
    /// What this says.
    By(Box<KeysBy<E>>),
}

type KeysBy<E> = dyn Fn(&E, &RecordedEvent) -> Vec<RowKey> + Send + Sync;

impl<E> Keys<E> {
    /// The row under the id of the event's stream.
    #[must_use]
    pub fn stream_id() -> Self {
        Self(KeysOf::StreamId)
    }

    /// The rows under these keys; the same event always has the same. A key that is named twice
    /// counts once: an event is applied to a row once, also when somebody pays themselves.
    ///
    /// ```
    /// # use annals::{Event, Keys, RecordedEvent};
    /// # #[derive(Event)] enum Transfer { MoneyTransferred { from: String, to: String } }
    /// let both_accounts = Keys::by(|event: &Transfer, _: &RecordedEvent| match event {
    ///     Transfer::MoneyTransferred { from, to } => vec![from.into(), to.into()],
    /// });
    /// ```
    pub fn by<F>(keys: F) -> Self
    where
        F: Fn(&E, &RecordedEvent) -> Vec<RowKey> + Send + Sync + 'static,
    {
        Self(KeysOf::By(Box::new(keys)))
    }
}

impl<E> fmt::Debug for Keys<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            KeysOf::StreamId => "Keys::stream_id()",
            KeysOf::By(_) => "Keys::by(..)",
        })
    }
}
