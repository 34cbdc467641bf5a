//! The read side: checkpoints, rows and deliveries, in the log's database or in another one.
//!
//! `checkpoint` says who works a subscriber and how far it has come, `generation` how one
//! building of it gives way to the next, `deleting` how all of it goes; `rows` keeps rows beside the checkpoints, `delivery` the
//! queue of inboxes. A `projection` with statements of its own has `tables` of its own, and a
//! `projector` that runs it.

pub(crate) mod advance;
pub(crate) mod ask;
mod change;
mod checkpoint;
mod deleting;
mod delivery;
pub(crate) mod generation;
mod open;
pub(crate) mod projection;
pub(crate) mod projector;
pub(crate) mod rows;
mod select;
pub(crate) mod tables;

use std::sync::Arc;

use annals_core::Limits;
use sqlx_postgres::PgPool;

use crate::OpenError;
use crate::connections::Connections;
use crate::schema::SchemaName;

pub use open::ReadSideOptions;
pub use projection::{BoxError, PostgresProjection, PostgresRows};
pub use tables::{InvalidTableName, ProjectionTable, TableName};

/// What is derived from a log, in a PostgreSQL database: checkpoints
/// ([`CheckpointStore`](annals_core::CheckpointStore)), rows ([`RowStore`](annals_core::RowStore))
/// and deliveries ([`DeliveryQueue`](annals_core::DeliveryQueue)). Clones share it.
///
/// The database may be the log's or any other one. Rows and their checkpoint are committed in one
/// transaction: every event is applied exactly once.
///
/// ```no_run
/// use annals_core::RowStore;
/// use annals_postgres::PostgresReadSide;
///
/// # async fn show() -> Result<(), Box<dyn std::error::Error>> {
/// let read_side = PostgresReadSide::options().connect("postgres://app@localhost/reports").await?;
/// let balance = read_side.row(&"balances".parse()?, &"account-1".into()).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct PostgresReadSide {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connections: Connections,
    schema: SchemaName,
    limits: Limits,
    /// Whether rows and their checkpoint are acknowledged before they are on the disk.
    early: bool,
}

impl PostgresReadSide {
    /// Opens the read side in a database, making its tables in the schema `annals_read` when they
    /// are not there: `postgres://user:password@host:5432/database`.
    ///
    /// # Errors
    /// As [`ReadSideOptions::connect`].
    pub async fn connect(url: &str) -> Result<Self, OpenError> {
        Self::options().connect(url).await
    }

    /// How to open a read side otherwise.
    pub fn options() -> ReadSideOptions {
        ReadSideOptions::new()
    }

    /// The schema of its tables.
    #[must_use]
    pub fn schema(&self) -> &SchemaName {
        &self.shared.schema
    }

    /// The pool it takes its connections from.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        self.shared.connections.pool()
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.shared.connections
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Closes the pool: whatever is asked from then on is refused with
    /// [`Closed`](annals_core::ReadSideError::Closed).
    pub async fn close(&self) {
        self.shared.connections.close().await;
    }
}
