//! How a projection with statements of its own is run: rows and checkpoint in one transaction.

use std::error::Error as StdError;
use std::slice;
use std::sync::Arc;

use annals_core::{
    Activation, CheckpointStore, Fault, Generation, Partition, PoisonEvent, ProjectError,
    Projector, Query, ReadSideError, RecordedEvent, Stretch, SubscriberName, Timestamp,
};
use async_trait::async_trait;
use sqlx_core::connection::Connection;
use sqlx_core::error::{DatabaseError, Error};
use sqlx_postgres::PgConnection;
use tokio::time::timeout;

use super::PostgresReadSide;
use super::advance::Advances;
use super::ask::{fetch, is_code_of_meeting, is_meeting, read_side_error};
use super::change::Change;
use super::checkpoint::fenced;
use super::projection::{BoxError, PostgresProjection, PostgresRows};
use super::tables::Called;
use crate::connections::{LONG, no_answer};
use crate::fault::{code, is_connection_lost, is_of_other_server, sqlstate};
use crate::foreign::{checked, is_of_failed};
use crate::row::get;
use crate::sql::Sql;

/// How often a stretch is applied again that met others.
const MEETINGS_MAX: usize = 8;
/// A projection and its read side.
#[derive(Clone, Debug)]
pub(crate) struct SqlProjector {
    read_side: PostgresReadSide,
    projection: Arc<dyn PostgresProjection>,
}

impl SqlProjector {
    pub(crate) fn new(
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
        let tables = self.projection.tables();
        Ok(self.read_side.make_tables(self.name(), generation, &tables).await?)
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

    async fn activate(
        &self,
        generation: Generation,
        _now: Timestamp,
    ) -> Result<Activation, ProjectError> {
        const DOING: &str = "activating a projection's tables";
        let (change, tables) = (Change::Activate(generation), self.projection.tables());
        Ok(self.read_side.change_tables(DOING, self.name(), change, &tables).await?)
    }

    async fn discard(&self, generation: Generation) -> Result<(), ProjectError> {
        const DOING: &str = "dropping a projection's tables";
        let change = Change::Discard(generation);
        let discarded = self.read_side.change_tables(DOING, self.name(), change, &[]).await;
        Ok(discarded.map(drop)?)
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
        let committed = transaction.commit().await;
        committed.map_err(|error| match stretch.events.last() {
            // Which event it was is not said: the runner goes on with those before the last.
            Some(last) if is_of_constraint(&error) => {
                Stumble::For(PoisonEvent::new(last, error).into())
            }
            _ => of_server(error),
        })
    }
}

/// Whether it is one of a constraint, which may be looked at as late as at the commit.
fn is_of_constraint(error: &Error) -> bool {
    sqlstate(error).is_some_and(|code| code.starts_with("23"))
}

async fn apply(
    projection: &dyn PostgresProjection,
    rows: &mut PostgresRows<'_>,
    events: &[RecordedEvent],
    how: How,
) -> Result<(), Stumble> {
    if how == How::Together && events.len() > 1 {
        let applied = projection.apply_all(rows, events).await;
        let applied = checked(applied, rows.connection()).await;
        return applied.map_err(|error| stumble(error, None));
    }
    for event in events {
        let applied = projection.apply(rows, event).await;
        let applied = checked(applied, rows.connection()).await;
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
        None if event.is_none() && is_of_failed(&*error) => return Stumble::OneOfThem,
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
        // An error that wraps another one transparently has only the other's source.
        if let Some(error) = error.downcast_ref::<Box<dyn DatabaseError>>() {
            return of_moment_at_server(code(&**error)?);
        }
        next = error.source();
    }
    None
}

fn of_moment_in_sql(error: &Error) -> Option<bool> {
    let is_unavailable = is_connection_lost(error)
        || is_of_other_server(error)
        || matches!(error, Error::PoolClosed | Error::PoolTimedOut | Error::WorkerCrashed);
    sqlstate(error).and_then(of_moment_at_server).or(is_unavailable.then_some(false))
}

fn of_moment_at_server(code: &str) -> Option<bool> {
    if is_code_of_meeting(code) {
        return Some(true);
    }
    ["53", "57", "58"].iter().any(|class| code.starts_with(class)).then_some(false)
}

fn of_server(error: Error) -> Stumble {
    match is_meeting(&error) {
        true => Stumble::Met,
        false => Stumble::For(read_side_error("applying events", error).into()),
    }
}
