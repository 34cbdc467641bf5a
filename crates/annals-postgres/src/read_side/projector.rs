//! How a projection with statements of its own is run: rows and checkpoint in one transaction.

use std::error::Error as StdError;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use annals_core::{
    CheckpointStore, Fault, Generation, Partition, PoisonEvent, ProjectError, Projector, Query,
    ReadSideError, RecordedEvent, Role, Stretch, SubscriberName, Timestamp,
};
use async_trait::async_trait;
use sqlx_core::connection::Connection;
use sqlx_core::error::Error;
use sqlx_core::executor::Executor;
use sqlx_core::raw_sql::raw_sql;
use sqlx_postgres::PgConnection;
use tokio::time::{Instant, sleep, timeout};

use super::PostgresReadSide;
use super::advance::Advances;
use super::ask::{fetch, is_meeting, read_side_error};
use super::checkpoint::fenced;
use super::generation::{activate_in, discard_in, find, lock_parts};
use super::projection::{BoxError, PostgresProjection, PostgresRows};
use super::tables::{self, Called};
use crate::connections::{LONG, no_answer};
use crate::fault::{is_connection_lost, is_of_other_server, sqlstate};
use crate::row::get;
use crate::sql::Sql;

/// How often a stretch is applied again that met others.
const MEETINGS_MAX: usize = 8;
/// How long those are waited for who apply events …
const LOCK_PARTS: &str = "SET LOCAL lock_timeout = '10s'";
/// … and how long tables: whoever reads them meanwhile waits behind.
const LOCK_TABLES: &str = "SET LOCAL lock_timeout = '150ms'";
/// How soon they are tried again; it grows up to the second.
const TRY_AGAIN: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];
/// How long they are tried for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A projection and its read side.
#[derive(Clone, Debug)]
pub(super) struct SqlProjector {
    read_side: PostgresReadSide,
    projection: Arc<dyn PostgresProjection>,
}

impl SqlProjector {
    pub(super) fn new(
        read_side: PostgresReadSide,
        projection: Arc<dyn PostgresProjection>,
    ) -> Self {
        Self { read_side, projection }
    }
}

#[async_trait]
impl Projector for SqlProjector {
    fn name(&self) -> &SubscriberName {
        self.projection.name()
    }

    fn version(&self) -> u32 {
        self.projection.version()
    }

    fn query(&self) -> Query {
        self.projection.query()
    }

    fn checkpoints(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(self.read_side.clone())
    }

    fn concerns(&self, event: &RecordedEvent, partition: Partition) -> bool {
        self.projection.concerns(event, partition)
    }

    async fn prepare(&self, generation: Generation) -> Result<(), ProjectError> {
        const DOING: &str = "making a projection's tables";
        self.change_tables(DOING, Change::Prepare(generation)).await
    }

    async fn project(&self, stretch: &Stretch) -> Result<(), ProjectError> {
        let mut meetings = 0;
        let mut how = How::Together;
        loop {
            match self.project_once(stretch, how).await {
                Ok(()) => return Ok(()),
                Err(Stumble::Met) if meetings < MEETINGS_MAX => meetings += 1,
                Err(Stumble::Met) => {
                    let fault = Fault::new("applying events: others stood in the way every time");
                    return Err(ReadSideError::Unavailable(fault).into());
                }
                Err(Stumble::OneOfThem) => how = How::OneByOne,
                Err(Stumble::For(error)) => return Err(error),
            }
        }
    }

    async fn activate(&self, generation: Generation, _now: Timestamp) -> Result<(), ProjectError> {
        self.change_tables("activating a projection's tables", Change::Activate(generation)).await
    }

    async fn discard(&self, generation: Generation) -> Result<(), ProjectError> {
        self.change_tables("dropping a projection's tables", Change::Discard(generation)).await
    }
}

/// Whether events are applied together, or it is to be found out which one cannot be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Together,
    OneByOne,
}

/// Why a stretch was not applied.
enum Stumble {
    /// Others stood in the way.
    Met,
    /// One of the events cannot be applied, and it is not known which.
    OneOfThem,
    For(ProjectError),
}

impl SqlProjector {
    async fn project_once(&self, stretch: &Stretch, how: How) -> Result<(), Stumble> {
        let mut connection = self.read_side.shared.connections.take().await.map_err(of_server)?;
        let applied = timeout(LONG, self.project_on(&mut connection, stretch, how)).await;
        let applied = applied.unwrap_or_else(|_| Err(of_server(no_answer(LONG))));
        if applied.is_ok() {
            self.read_side.shared.connections.give_back(connection);
        }
        // Otherwise it is closed, and with it the transaction ends.
        applied
    }

    async fn project_on(
        &self,
        connection: &mut PgConnection,
        stretch: &Stretch,
        how: How,
    ) -> Result<(), Stumble> {
        let schema = self.read_side.schema();
        let lease = &stretch.advance.lease;
        let mut transaction = connection.begin().await.map_err(of_server)?;
        // First: nobody else gets the part, and no table another name, before this has ended.
        const ADVANCE: &str =
            "SELECT {schema}.advance($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) IS NULL,
                    set_config('synchronous_commit', CASE WHEN $13 THEN 'off'
                               ELSE current_setting('synchronous_commit') END, true)";
        let columns = Advances::of(slice::from_ref(&stretch.advance));
        let advance =
            columns.bind(Sql::of(ADVANCE), stretch.advance.now).value(self.read_side.shared.early);
        let moved = fetch(&mut transaction, schema, advance).await.map_err(of_server)?;
        let moved = moved.first().map(|row| get::<bool>(row, 0)).transpose().map_err(of_server)?;
        if moved != Some(true) {
            transaction.rollback().await.map_err(of_server)?;
            return Err(Stumble::For(fenced(lease).into()));
        }
        let called =
            Called::find(&mut transaction, schema, lease.subscriber.as_str(), lease.generation);
        let called = called.await.map_err(of_server)?;
        let mut rows = PostgresRows::new(&mut transaction, &called);
        apply(&*self.projection, &mut rows, &stretch.events, how).await?;
        transaction.commit().await.map_err(of_server)
    }
}

async fn apply(
    projection: &dyn PostgresProjection,
    rows: &mut PostgresRows<'_>,
    events: &[RecordedEvent],
    how: How,
) -> Result<(), Stumble> {
    if how == How::Together && events.len() > 1 {
        let applied = projection.apply_all(rows, events).await;
        return applied.map_err(|error| stumble(error, None));
    }
    for event in events {
        let applied = projection.apply(rows, event).await;
        applied.map_err(|error| stumble(error, Some(event)))?;
    }
    Ok(())
}

/// What an error of a projection means.
fn stumble(error: BoxError, event: Option<&RecordedEvent>) -> Stumble {
    match of_moment(&*error) {
        Some(true) => return Stumble::Met,
        Some(false) => {
            let fault = Fault::because("applying events", error);
            return Stumble::For(ReadSideError::Unavailable(fault).into());
        }
        None => {}
    }
    match (error.downcast::<PoisonEvent>(), event) {
        (Ok(poison), _) => Stumble::For((*poison).into()),
        (Err(error), Some(event)) => Stumble::For(PoisonEvent::new(event, error).into()),
        (Err(_), None) => Stumble::OneOfThem,
    }
}

/// Whether only the moment is wrong; if so, whether it may be right at once.
pub(crate) fn of_moment(error: &(dyn StdError + Send + Sync + 'static)) -> Option<bool> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<Error>() {
            return of_moment_in_sql(error);
        }
        next = error.source();
    }
    None
}

fn of_moment_in_sql(error: &Error) -> Option<bool> {
    if is_meeting(error) {
        return Some(true);
    }
    let is_of_server = |code: &str| ["53", "57", "58"].iter().any(|class| code.starts_with(class));
    let is_unavailable = is_connection_lost(error)
        || is_of_other_server(error)
        || sqlstate(error).is_some_and(is_of_server)
        || matches!(error, Error::PoolClosed | Error::PoolTimedOut | Error::WorkerCrashed);
    is_unavailable.then_some(false)
}

fn of_server(error: Error) -> Stumble {
    match is_meeting(&error) {
        true => Stumble::Met,
        false => Stumble::For(read_side_error("applying events", error).into()),
    }
}

/// What becomes of a projection's tables.
#[derive(Clone, Copy)]
enum Change {
    Prepare(Generation),
    Activate(Generation),
    Discard(Generation),
}

impl SqlProjector {
    /// Changes tables as soon as nobody holds them, without making others wait for long.
    async fn change_tables(&self, doing: &'static str, change: Change) -> Result<(), ProjectError> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = TRY_AGAIN[0];
        let connections = &self.read_side.shared.connections;
        loop {
            let changed = connections.read(async |mut connection| {
                let changed = self.change_on(&mut connection, change).await;
                (connection, changed)
            });
            match changed.await {
                Ok(changed) => return changed.map_err(ProjectError::from),
                Err(error) if is_meeting(&error) && Instant::now() < deadline => {
                    sleep(pause).await;
                    pause = (pause * 2).min(TRY_AGAIN[1]);
                }
                Err(error) => return Err(read_side_error(doing, error).into()),
            }
        }
    }

    async fn change_on(
        &self,
        connection: &mut PgConnection,
        change: Change,
    ) -> Result<Result<(), ReadSideError>, Error> {
        let mut transaction = connection.begin().await?;
        transaction.execute(raw_sql(LOCK_PARTS)).await?;
        let changed = self.change_in(&mut transaction, change).await?;
        match changed {
            Ok(()) => transaction.commit().await?,
            Err(_) => transaction.rollback().await?,
        }
        Ok(changed)
    }

    async fn change_in(
        &self,
        transaction: &mut PgConnection,
        change: Change,
    ) -> Result<Result<(), ReadSideError>, Error> {
        let (schema, name) = (self.read_side.schema(), self.name());
        match change {
            Change::Prepare(_) => {}
            Change::Activate(generation) => {
                // Whoever works it has found what its tables are called.
                lock_parts(transaction, schema, name, generation).await?;
                if let Err(error) = activate_in(transaction, schema, name, generation).await? {
                    return Ok(Err(error));
                }
            }
            Change::Discard(generation) => {
                discard_in(transaction, schema, name, generation).await?;
            }
        }
        let (generation, found) = match change {
            Change::Prepare(generation) | Change::Activate(generation) => {
                (generation, find(transaction, schema, name, Some(generation)).await?)
            }
            Change::Discard(generation) => {
                (generation, find(transaction, schema, name, None).await?)
            }
        };
        let Some((number, role)) = found else {
            return Ok(match change {
                Change::Discard(_) => Ok(()),
                _ => Err(ReadSideError::Unknown(name.clone())),
            });
        };
        transaction.execute(raw_sql(LOCK_TABLES)).await?;
        tables::settle(transaction, schema, number).await?;
        let Some(role) = role else { return Ok(Ok(())) };
        let (is_active, tables) = (role == Role::Active, self.projection.tables());
        let made =
            tables::make(transaction, schema, number, generation, is_active, &tables).await?;
        Ok(made.map_err(|taken| {
            ReadSideError::Unavailable(Fault::because("making a projection's tables", taken))
        }))
    }
}
