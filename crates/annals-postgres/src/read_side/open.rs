//! Opening a read side: its options and its connections.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use annals_core::Limits;
use sqlx_core::pool::PoolOptions;
use sqlx_postgres::{PgConnectOptions, PgPool, Postgres};

use super::{PostgresReadSide, Shared};
use crate::check::check_server;
use crate::connections::Connections;
use crate::fault::OpenError;
use crate::schema::{SchemaName, Tables};

const TABLES: Tables = Tables {
    version_table: "read_side_version",
    migrations: &[include_str!("schema/0001_read_side.sql")],
};

/// How to open a read side. Start from [`PostgresReadSide::options`].
///
/// ```no_run
/// use annals_postgres::{PostgresReadSide, PostgresStore};
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::connect("postgres://app@localhost/app").await?;
/// // In the log's database, and over the same pool.
/// let read_side = PostgresReadSide::options().over(store.pool().clone()).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing until the read side is opened"]
pub struct ReadSideOptions {
    schema: SchemaName,
    limits: Limits,
    patience: Duration,
    early: bool,
    migrate: bool,
    connections: u32,
}

impl ReadSideOptions {
    pub(super) fn new() -> Self {
        Self {
            schema: SchemaName::from_static("annals_read"),
            limits: Limits::DEFAULT,
            patience: Duration::from_secs(10),
            early: false,
            migrate: true,
            connections: 8,
        }
    }

    /// The schema of the tables; `annals_read` by default. It may be that of a log: the tables
    /// have other names.
    pub fn schema(mut self, schema: SchemaName) -> Self {
        self.schema = schema;
        self
    }

    /// How large a row may be ([`Limits::check_row`]); [`Limits::DEFAULT`] by default.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long to wait for the server before giving up with `Unavailable`; 10 seconds by default.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Whether rows and their checkpoint are acknowledged before they are on the disk
    /// (`synchronous_commit = off`); not so by default.
    ///
    /// A crash of the server, or another one that takes over, then loses the last of them, rows
    /// and checkpoint together, and they are made again; but who has read them, or
    /// [waited](annals_core::PartitionInfo::position) for them, has seen what is not there for a
    /// moment. Deliveries and leases are always on the disk.
    pub fn acknowledge_rows_before_fsync(mut self, early: bool) -> Self {
        self.early = early;
        self
    }

    /// Whether to make or migrate the tables when needed; so by default. Without, opening fails
    /// unless they are as this build needs them.
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// How many connections a pool of its own has at most; 8 by default, and at least 2.
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = connections.max(2);
        self
    }

    /// Connects to a database, as in `postgres://user:password@host:5432/database`, with a pool of
    /// its own.
    ///
    /// # Errors
    /// [`OpenError`], when the server cannot be reached, is too old, or has tables that must not
    /// be used as they are.
    pub async fn connect(self, url: &str) -> Result<PostgresReadSide, OpenError> {
        let options = PgConnectOptions::from_str(url).map_err(OpenError::Connect)?;
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name("annals read side"),
        };
        let pool = PoolOptions::<Postgres>::new()
            .max_connections(self.connections)
            .acquire_timeout(Duration::from_secs(5))
            .test_before_acquire(false)
            .connect_lazy_with(options);
        self.over(pool).await
    }

    /// Uses a pool of the application, or a store's. Each call takes a connection for as long as
    /// it lasts; up to four idle ones are kept at hand.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn over(self, pool: PgPool) -> Result<PostgresReadSide, OpenError> {
        let mut connection = pool.acquire().await.map_err(OpenError::Connect)?;
        check_server(&mut connection).await?;
        match self.migrate {
            true => TABLES.migrate(&mut connection, &self.schema).await?,
            false => TABLES.check(&mut connection, &self.schema).await?,
        }
        drop(connection);
        let Self { schema, limits, patience, early, .. } = self;
        let connections = Connections::new(pool).patient(patience);
        Ok(PostgresReadSide { shared: Arc::new(Shared { connections, schema, limits, early }) })
    }

    /// The SQL that opening would run to make or migrate the tables; empty when they are as this
    /// build needs them. Changes nothing.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn pending_migrations(&self, pool: &PgPool) -> Result<Vec<String>, OpenError> {
        let mut connection = pool.acquire().await.map_err(OpenError::Connect)?;
        check_server(&mut connection).await?;
        TABLES.pending(&mut connection, &self.schema).await
    }
}
