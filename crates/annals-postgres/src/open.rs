//! Opening a store: its options, its connections, and what is checked first.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use annals_core::{Clock, Limits};
use sqlx_core::pool::PoolOptions;
use sqlx_postgres::{PgConnectOptions, PgPool, Postgres};

use crate::PostgresStore;
use crate::append::GROUP_EVENTS_MAX;
use crate::check::{check_sequence, check_server, settle};
use crate::fault::OpenError;
use crate::schema::{self, SchemaName};

/// How to open a store. Start from [`PostgresStore::options`].
///
/// ```no_run
/// use annals_postgres::{PostgresStore, SchemaName};
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::options()
///     .schema(SchemaName::new("ledger")?)
///     .connect("postgres://app@localhost/app")
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing until the store is opened"]
pub struct Options {
    pub(crate) schema: SchemaName,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) limits: Limits,
    pub(crate) patience: Duration,
    pub(crate) poll: Duration,
    pub(crate) lanes: usize,
    pub(crate) replica: Option<PgPool>,
    migrate: bool,
    connections: u32,
}

impl Options {
    pub(crate) fn new() -> Self {
        Self {
            schema: SchemaName::default(),
            clock: None,
            limits: Limits::DEFAULT,
            patience: Duration::from_secs(10),
            poll: Duration::from_millis(100),
            lanes: 2,
            replica: None,
            migrate: true,
            connections: 16,
        }
    }

    /// The schema of the store's tables; `annals` by default.
    pub fn schema(mut self, schema: SchemaName) -> Self {
        self.schema = schema;
        self
    }

    /// Where `recorded_at` comes from; the server's clock by default, which all processes share.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// What the store accepts; [`Limits::DEFAULT`] by default. An append can have at most 4,096
    /// events here.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long to wait before giving up; 10 seconds by default. A read waits for transactions that
    /// are still open, and an append for those that hold its streams or conditions: then the
    /// answer is `Unavailable`. An append whose outcome is unknown is repeated: then it is
    /// `Indeterminate`. A server that does not answer a short statement for a second longer than
    /// this is taken for lost.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How often subscriptions look for new events when no notification tells of them: of
    /// transactions of the application, or behind a pooler that cannot `LISTEN`; 100 ms by
    /// default.
    pub fn poll(mut self, interval: Duration) -> Self {
        self.poll = interval;
        self
    }

    /// How many groups of appends may be under way at once; 2 by default.
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.lanes = lanes.max(1);
        self
    }

    /// How many connections the store's own pool has at most; 16 by default, and at least 8.
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = connections.max(8);
        self
    }

    /// Reads the log from a replica: what a query or a subscription asks for. It has what the
    /// primary had when the read began, or the read waits for it. Streams are read from the
    /// primary, so that decisions are made on what is.
    pub fn replica(mut self, pool: PgPool) -> Self {
        self.replica = Some(pool);
        self
    }

    /// Whether to make or migrate the tables when needed; so by default. Without, opening fails
    /// unless they are as this build needs them, and the user needs no rights to change them.
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// Connects to a database, as in `postgres://user:password@host:5432/database`, with a pool
    /// of the store's own.
    ///
    /// # Errors
    /// [`OpenError`], when the server cannot be reached, is too old, or holds a store that must
    /// not be used as it is.
    pub async fn connect(self, url: &str) -> Result<PostgresStore, OpenError> {
        let options = PgConnectOptions::from_str(url).map_err(OpenError::Connect)?;
        self.connect_with(options).await
    }

    /// The same with the driver's options.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_with(self, options: PgConnectOptions) -> Result<PostgresStore, OpenError> {
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name("annals"),
        };
        let pool = PoolOptions::<Postgres>::new()
            .max_connections(self.connections)
            .acquire_timeout(Duration::from_secs(5))
            .test_before_acquire(false)
            .connect_lazy_with(options);
        self.over(pool).await
    }

    /// Uses a pool of the application. The store takes a connection for each
    /// [lane](Self::lanes), at most six for waiting, watching and telling, two for saving
    /// snapshots, and one for each read while a page of it is fetched; up to four idle ones it keeps at hand. To be told of other
    /// processes' appends it has one more of its own, outside the pool. Whoever holds a connection
    /// while waiting for an append needs the pool to be larger than that.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn over(self, pool: PgPool) -> Result<PostgresStore, OpenError> {
        if self.limits.append_events_max > GROUP_EVENTS_MAX {
            let (given, max) = (self.limits.append_events_max, GROUP_EVENTS_MAX);
            return Err(OpenError::Limits { given, max });
        }
        let mut connection = pool.acquire().await.map_err(OpenError::Connect)?;
        check_server(&mut connection).await?;
        if self.migrate {
            schema::LOG.migrate(&mut connection, &self.schema).await?;
        } else {
            schema::LOG.check(&mut connection, &self.schema).await?;
        }
        settle(&mut connection, &self.schema).await?;
        check_sequence(&mut connection, &self.schema).await?;
        drop(connection);
        let store = PostgresStore::start(self, pool);
        store.shared().ahead.begin().await?;
        Ok(store)
    }

    /// The SQL that opening would run to make or migrate the tables; empty when they are as
    /// this build needs them. Changes nothing.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn pending_migrations(&self, pool: &PgPool) -> Result<Vec<String>, OpenError> {
        let mut connection = pool.acquire().await.map_err(OpenError::Connect)?;
        check_server(&mut connection).await?;
        schema::LOG.pending(&mut connection, &self.schema).await
    }
}
