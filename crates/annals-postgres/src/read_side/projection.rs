//! Projections with statements of their own: what an application implements.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use annals_core::{Partition, PoisonEvent, Projector, Query, RecordedEvent, SubscriberName};
use async_trait::async_trait;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::PgConnection;

use super::PostgresReadSide;
use super::projector::SqlProjector;
use super::tables::{Called, ProjectionTable};

/// Whatever went wrong.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A projection that writes tables of its own with its own statements, in the transaction that
/// moves its checkpoint: every event is applied exactly once.
///
/// ```no_run
/// use annals_core::{EventType, Query, QueryItem, RecordedEvent, SubscriberName};
/// use annals_postgres::{
///     BoxError, PostgresProjection, PostgresReadSide, PostgresRows, ProjectionTable,
/// };
/// use async_trait::async_trait;
/// use sqlx_core::query::query;
///
/// #[derive(Debug)]
/// struct OpenedPerDay {
///     name: SubscriberName,
/// }
///
/// #[async_trait]
/// impl PostgresProjection for OpenedPerDay {
///     fn name(&self) -> &SubscriberName {
///         &self.name
///     }
///     fn version(&self) -> u32 {
///         1
///     }
///     fn query(&self) -> Query {
///         Query::of(QueryItem::new().event_type(EventType::from_static("AccountOpened")))
///     }
///     fn tables(&self) -> Vec<ProjectionTable> {
///         let create = "CREATE TABLE {opened} (day date PRIMARY KEY, accounts bigint NOT NULL)";
///         vec![ProjectionTable::new("opened", create)]
///     }
///     async fn apply(
///         &self,
///         rows: &mut PostgresRows<'_>,
///         event: &RecordedEvent,
///     ) -> Result<(), BoxError> {
///         let upsert = rows.sql(
///             "INSERT INTO {opened} AS o VALUES (to_timestamp($1)::date, 1)
///              ON CONFLICT (day) DO UPDATE SET accounts = o.accounts + 1",
///         );
///         let seconds = event.occurred_at.as_micros() / 1_000_000;
///         query(upsert).bind(seconds as f64).execute(rows.connection()).await?;
///         Ok(())
///     }
/// }
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let read_side = PostgresReadSide::connect("postgres://app@localhost/app").await?;
/// let projector = read_side.projection(OpenedPerDay { name: "opened-per-day".parse()? });
/// # Ok(()) }
/// ```
#[async_trait]
pub trait PostgresProjection: Send + Sync + fmt::Debug + 'static {
    /// Its name.
    fn name(&self) -> &SubscriberName;

    /// The version of its code: whoever changes what it makes of events, or its tables, counts it
    /// up.
    fn version(&self) -> u32;

    /// Which events concern it.
    fn query(&self) -> Query;

    /// Its tables, and how each is made.
    fn tables(&self) -> Vec<ProjectionTable>;

    /// Applies an event. What has been done is rolled back when it fails; an error of the server
    /// should be returned as it is, since one for which only the moment is wrong (a deadlock, a
    /// lost connection) is tried again, and every other one says that the event cannot be applied.
    /// One that is passed over says so too: nothing of a transaction stays in which a statement
    /// has failed.
    ///
    /// # Errors
    /// When the event cannot be applied.
    async fn apply(
        &self,
        rows: &mut PostgresRows<'_>,
        event: &RecordedEvent,
    ) -> Result<(), BoxError>;

    /// Applies the events of a stretch in their order. Unless said otherwise, one after the other;
    /// a projection that can write many at once (`unnest`) saves round trips. When that fails,
    /// they are applied one after the other all the same, which shows the one that cannot be.
    ///
    /// # Errors
    /// When they cannot be applied.
    async fn apply_all(
        &self,
        rows: &mut PostgresRows<'_>,
        events: &[RecordedEvent],
    ) -> Result<(), BoxError> {
        for event in events {
            let applied = self.apply(rows, event).await;
            applied.map_err(|source| PoisonEvent::new(event, source))?;
        }
        Ok(())
    }

    /// Whether an event may concern this part. Unless said otherwise, an event belongs to the
    /// part that its stream belongs to; then no two streams may write the same row, or they must
    /// do it with statements that can be in any order.
    fn concerns(&self, event: &RecordedEvent, partition: Partition) -> bool {
        partition.owns(event.stream.as_str())
    }
}

/// The tables of a projection, in the transaction in which events are applied.
#[derive(Debug)]
pub struct PostgresRows<'c> {
    connection: &'c mut PgConnection,
    called: &'c [Called],
}

impl<'c> PostgresRows<'c> {
    pub(crate) fn new(connection: &'c mut PgConnection, called: &'c [Called]) -> Self {
        Self { connection, called }
    }

    /// The connection, inside the transaction: to end it is not the projection's business.
    pub fn connection(&mut self) -> &mut PgConnection {
        self.connection
    }

    /// A statement: `{balances}` becomes the name that the projection's table `balances` has in
    /// the generation that is worked. What else stands in braces stays. Values do not belong into
    /// the text; bind them.
    #[must_use]
    pub fn sql(&self, template: &'static str) -> AssertSqlSafe<String> {
        AssertSqlSafe(Called::put_into(template, self.called))
    }
}

impl PostgresReadSide {
    /// The projection, with its tables in this database, for whoever runs it.
    pub fn projection<P: PostgresProjection>(
        &self,
        projection: P,
    ) -> impl Projector + Clone + use<P> {
        SqlProjector::new(self.clone(), Arc::new(projection))
    }
}
