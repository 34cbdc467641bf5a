//! Drives a projection in SQL: rows and checkpoint in one transaction.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use annals_core::{
    Activation, CheckpointStore, Fault, Generation, Panicked, PoisonEvent, ProjectError, Projector,
    Query, ReadSideError, RecordedEvent, Stretch, SubscriberName, Timestamp,
};
use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode};

use super::table::{prepare, role_in};
use super::{BoxError, SqliteProjection, SqliteRows, Tables};
use crate::SqliteReadSide;
use crate::read_side::advance;

/// A projection in SQL and the file where its tables are: what a runner drives. Made by
/// [`SqliteReadSide::projection`]. Clones share it.
#[derive(Clone, Debug)]
pub struct SqlProjector {
    projection: Arc<dyn SqliteProjection>,
    read_side: SqliteReadSide,
}

impl SqliteReadSide {
    /// A projection in SQL with its tables in this file, for a runner to drive.
    #[must_use]
    pub fn projection(&self, projection: impl SqliteProjection + 'static) -> SqlProjector {
        SqlProjector { projection: Arc::new(projection), read_side: self.clone() }
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

    async fn prepare(&self, generation: Generation) -> Result<(), ProjectError> {
        let projection = Arc::clone(&self.projection);
        self.read_side
            .write("making a projection's tables", move |connection| {
                let (name, generation) = (projection.name(), generation.get());
                let Some((subscriber, role)) = role_in(connection, name.as_str(), generation)?
                else {
                    return Ok(Err(ReadSideError::Unknown(name.clone()).into()));
                };
                let made = prepare(connection, subscriber, generation, role, &projection.tables())?;
                let refused = |error| {
                    let fault = Fault::because(format!("making the tables of {name}"), error);
                    ReadSideError::Unavailable(fault).into()
                };
                Ok(made.map_err(refused))
            })
            .await
    }

    async fn project(&self, stretch: &Stretch) -> Result<(), ProjectError> {
        let (projection, stretch) = (Arc::clone(&self.projection), stretch.clone());
        self.read_side
            .write("applying events to a projection's tables", move |connection| {
                project(connection, &*projection, &stretch)
            })
            .await
    }

    async fn activate(
        &self,
        generation: Generation,
        now: Timestamp,
    ) -> Result<Activation, ProjectError> {
        Ok(self.read_side.activate(self.projection.name(), generation, now).await?)
    }

    async fn discard(&self, generation: Generation) -> Result<(), ProjectError> {
        Ok(self.read_side.discard(self.projection.name(), generation).await?)
    }
}

fn project(
    connection: &Connection,
    projection: &dyn SqliteProjection,
    stretch: &Stretch,
) -> rusqlite::Result<Result<(), ProjectError>> {
    // First, since whoever has lost the part has nothing to write.
    if let Err(refused) = advance(connection, &stretch.advance)? {
        return Ok(Err(refused.into()));
    }
    let (name, generation) = (projection.name(), stretch.advance.lease.generation.get());
    let Some((_, role)) = role_in(connection, name.as_str(), generation)? else {
        return Ok(Err(ReadSideError::Fenced(name.clone()).into()));
    };
    let tables = Tables::of(&projection.tables(), generation, role);
    for event in &stretch.events {
        if let Err(error) = apply(connection, projection, &tables, event) {
            return Ok(Err(poison(event, error)));
        }
    }
    Ok(Ok(()))
}

/// Applies an event. It is foreign code, and must not take the writing thread with it.
pub(crate) fn apply(
    connection: &Connection,
    projection: &dyn SqliteProjection,
    tables: &Tables,
    event: &RecordedEvent,
) -> Result<(), BoxError> {
    let rows = SqliteRows::new(connection, tables);
    guarded(connection, || projection.apply(&rows, event))
}

/// Runs foreign code inside a transaction that it must neither end nor leave by a panic.
pub(crate) fn guarded(
    connection: &Connection,
    run: impl FnOnce() -> Result<(), BoxError>,
) -> Result<(), BoxError> {
    let ran = Panicked::catch(run).unwrap_or_else(|panicked| Err(panicked.into()));
    if ran.is_ok() && connection.is_autocommit() {
        return Err(EndedTransaction.into());
    }
    ran
}

/// A transaction that only whoever began it may end was ended inside.
#[derive(Debug)]
struct EndedTransaction;

impl fmt::Display for EndedTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it ended the transaction that it ran in; leave that to whoever began it")
    }
}

impl Error for EndedTransaction {}

/// What an event that was not applied means: that it is poison, unless it was the file's fault.
pub(crate) fn poison(event: &RecordedEvent, error: BoxError) -> ProjectError {
    const DOING: &str = "applying an event";
    match fault_of_the_file(&*error) {
        Some(ErrorCode::DatabaseCorrupt) => {
            ReadSideError::Corrupt(Fault::because(DOING, error)).into()
        }
        Some(_) => ReadSideError::Unavailable(Fault::because(DOING, error)).into(),
        None => PoisonEvent::new(event, error).into(),
    }
}

/// What is wrong with the file, if that is what an error or one of its sources says.
fn fault_of_the_file(error: &(dyn Error + 'static)) -> Option<ErrorCode> {
    let code = match error.downcast_ref::<rusqlite::Error>() {
        Some(error) => error.sqlite_error_code(),
        // An error that wraps another one transparently has only the other's source.
        None => error.downcast_ref::<rusqlite::ffi::Error>().map(|error| error.code),
    };
    code.filter(is_of_the_file).or_else(|| fault_of_the_file(error.source()?))
}

fn is_of_the_file(code: &ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::DiskFull
            | ErrorCode::CannotOpen
    )
}

#[cfg(test)]
mod tests {
    use annals_core::{
        Data, EventId, EventType, Metadata, Position, StreamId, Tags, Timestamp, Version,
    };

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Own {
        #[error("the table cannot be written")]
        Wrapped(#[source] rusqlite::Error),
        #[error(transparent)]
        Transparent(#[from] rusqlite::Error),
    }

    fn event() -> RecordedEvent {
        RecordedEvent {
            position: Position::new(1),
            stream: StreamId::from_static("a-1"),
            version: Version::FIRST,
            id: EventId::from_bytes([1; 16]),
            event_type: EventType::from_static("Made"),
            schema_version: 1,
            data: Data::json("1"),
            metadata: Metadata::empty(),
            tags: Tags::new(&[]),
            occurred_at: Timestamp::EPOCH,
            recorded_at: Timestamp::EPOCH,
        }
    }

    /// Also in an error of the application's own.
    #[test]
    fn a_fault_of_the_file_poisons_no_event() {
        let sqlite = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        let wrapped: [fn(rusqlite::Error) -> BoxError; 3] = [
            Into::into,
            |error| Own::Wrapped(error).into(),
            |error| Own::Transparent(error).into(),
        ];
        for wrap in wrapped {
            let told = |code| poison(&event(), wrap(sqlite(code)));
            let full = told(rusqlite::ffi::SQLITE_FULL);
            assert!(
                matches!(full, ProjectError::ReadSide(ReadSideError::Unavailable(_))),
                "{full:?}"
            );
            let damaged = told(rusqlite::ffi::SQLITE_CORRUPT);
            assert!(
                matches!(damaged, ProjectError::ReadSide(ReadSideError::Corrupt(_))),
                "{damaged:?}"
            );
            let refused = told(rusqlite::ffi::SQLITE_CONSTRAINT);
            assert!(matches!(refused, ProjectError::Poison(_)), "{refused:?}");
        }
    }
}
