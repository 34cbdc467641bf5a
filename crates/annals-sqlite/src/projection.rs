//! Projections in SQL: tables of an application's own, made of events.

mod projector;
mod rows;
mod table;

use std::error::Error;
use std::fmt;

use annals_core::{Query, RecordedEvent, SubscriberName};

pub use projector::SqlProjector;
pub(crate) use projector::{apply, guarded, poison};
pub use rows::SqliteRows;
pub use table::{InvalidTableName, ProjectionTable, TableName};
pub(crate) use table::{Tables, activate, drop_tables, prepare};

/// What goes wrong in an application's own code.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// A projection whose rows are in tables of its own, in plain SQL: any other program can read
/// them, and they stay when Annals goes.
///
/// Its tables and its checkpoint change in one transaction, so each event is applied exactly
/// once. It runs behind the log, where a runner of the framework drives its
/// [projector](crate::SqliteReadSide::projection), or [inline](crate::Inline::projection), in the
/// transaction of each append.
///
/// In statements, `{balances}` stands for the table `balances` of the generation that is being
/// worked: a rebuild makes `balances__2` beside the table that is read, and puts it in the place of
/// that one when it has caught up. All else in braces is left as it is.
///
/// ```
/// use annals_core::{
///     EventType, Query, QueryItem, RecordedEvent, SubscriberName,
/// };
/// use annals_sqlite::{ProjectionTable, SqliteProjection, SqliteRows, TableName};
/// # use annals_core::{
/// #     Advance, CheckpointStore, Claim, Data, Enrol, EventId, Generation, Metadata, OnNewVersion,
/// #     Position, Projector, StreamId, Stretch, Tags, Timestamp, Version,
/// # };
/// # use annals_sqlite::SqliteReadSide;
///
/// #[derive(Debug)]
/// struct Balances {
///     name: SubscriberName,
/// }
///
/// impl SqliteProjection for Balances {
///     fn name(&self) -> &SubscriberName {
///         &self.name
///     }
///
///     fn version(&self) -> u32 {
///         1
///     }
///
///     fn query(&self) -> Query {
///         Query::of(QueryItem::new().event_type(EventType::from_static("MoneyDeposited")))
///     }
///
///     fn tables(&self) -> Vec<ProjectionTable> {
///         vec![ProjectionTable::new(
///             TableName::from_static("balances"),
///             "CREATE TABLE {balances} (account TEXT PRIMARY KEY, amount INTEGER NOT NULL)",
///         )]
///     }
///
///     fn apply(
///         &self,
///         rows: &SqliteRows<'_>,
///         event: &RecordedEvent,
///     ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///         let amount: i64 = std::str::from_utf8(&event.data.bytes)?.parse()?;
///         rows.execute(
///             "INSERT INTO {balances} VALUES (?1, ?2)
///              ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
///             (event.stream.as_str(), amount),
///         )?;
///         Ok(())
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("derived.db");
/// # let name: SubscriberName = "balances".parse()?;
/// # let (now, until) = (Timestamp::EPOCH, Timestamp::MAX);
/// # let event = RecordedEvent {
/// #     position: Position::new(1), stream: StreamId::new("account-1")?, version: Version::FIRST,
/// #     id: EventId::from_bytes([1; 16]), event_type: EventType::from_static("MoneyDeposited"),
/// #     schema_version: 1, data: Data::json("100"), metadata: Metadata::empty(),
/// #     tags: Tags::default(), occurred_at: now, recorded_at: now,
/// # };
///
/// let read_side = SqliteReadSide::open(&path)?;
/// let balances = read_side.projection(Balances { name });
/// # let subscriber = balances.name().clone();
/// # read_side.enrol(Enrol {
/// #     subscriber: subscriber.clone(), version: 1, partitions: 1, after: Position::START,
/// #     on_new_version: OnNewVersion::Refuse, now,
/// # }).await?;
/// # let claim = Claim {
/// #     subscriber, generation: Generation::FIRST, partition: 0, owner: "me".into(), now, until,
/// # };
/// # let lease = read_side.claim(claim).await?.expect("nobody else has it");
/// # let advance = Advance { lease, to: event.position, events: 1, parked: Vec::new(), now };
/// # let stretch = Stretch { events: vec![event], advance };
///
/// // What its runner does:
/// balances.prepare(Generation::FIRST).await?;
/// balances.project(&stretch).await?;
///
/// let connection = rusqlite::Connection::open(&path)?;
/// let amount: i64 = connection.query_row(
///     "SELECT amount FROM balances WHERE account = 'account-1'",
///     [],
///     |row| row.get(0),
/// )?;
/// assert_eq!(amount, 100);
/// # Ok(()) }
/// ```
pub trait SqliteProjection: Send + Sync + fmt::Debug {
    /// The projection's name.
    fn name(&self) -> &SubscriberName;

    /// The version of its code and of its tables: whoever changes what it makes of events counts
    /// it up, and it is built anew.
    fn version(&self) -> u32;

    /// Which events concern it.
    fn query(&self) -> Query;

    /// Its tables. One that refers to another stands behind it.
    fn tables(&self) -> Vec<ProjectionTable>;

    /// Applies an event: a function of its tables and the event, and of nothing else.
    ///
    /// It must not end the transaction that it runs in. When it panics, that is an error.
    ///
    /// # Errors
    /// When it cannot be applied. What it has written of it is undone.
    fn apply(&self, rows: &SqliteRows<'_>, event: &RecordedEvent) -> Result<(), BoxError>;
}
