//! An index in an SQLite file, with FTS5.

mod generations;
mod tables;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use annals_core::Fault;
use async_trait::async_trait;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use serde_json::Value;

use crate::index::unavailable;
use crate::{EventEdits, Fields, Hits, IndexName, Search, SearchError, SearchIndex};

pub use generations::SqliteGenerations;
pub use tables::SqliteTables;

/// How long another process's transaction is waited for.
const BUSY_PATIENCE: Duration = Duration::from_secs(10);

/// An index in an SQLite file: nothing to run beside the application.
///
/// Several indices, and other tables, may be in one file; several processes may use it. To have
/// documents commit together with something else, a checkpoint for example, see [`SqliteTables`].
#[derive(Clone)]
pub struct SqliteIndex {
    tables: Arc<SqliteTables>,
    connection: Arc<Mutex<Connection>>,
}

impl SqliteIndex {
    /// Opens the index in this file; makes the file and the tables when they are not there.
    ///
    /// This touches the disk: in an async program call it before the work begins.
    ///
    /// # Errors
    /// [`SearchError::OtherFields`], or when the file cannot be opened.
    pub fn open(
        path: impl AsRef<Path>,
        name: IndexName,
        fields: Fields,
    ) -> Result<Self, SearchError> {
        let mut connection = connect(path.as_ref())?;
        let tables = SqliteTables::new(name, fields);
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(opening)?;
        tables.create_in(&transaction)?;
        transaction.commit().map_err(opening)?;
        Ok(Self { tables: Arc::new(tables), connection: Arc::new(Mutex::new(connection)) })
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&SqliteTables, &mut Connection) -> Result<T, SearchError> + Send + 'static,
    ) -> Result<T, SearchError> {
        let Self { tables, connection } = self.clone();
        let worked = tokio::task::spawn_blocking(move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&tables, &mut connection)
        });
        worked.await.map_err(ended)?
    }

    /// All or nothing, except that refused documents stop no others.
    async fn commit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&SqliteTables, &Transaction<'_>) -> Result<T, SearchError> + Send + 'static,
    ) -> Result<T, SearchError> {
        let committing = |error| unavailable("changing the search index", error);
        self.with(move |tables, connection| {
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(committing)?;
            let outcome = work(tables, &transaction);
            if matches!(outcome, Ok(_) | Err(SearchError::Refused(_))) {
                transaction.commit().map_err(committing)?;
            }
            outcome
        })
        .await
    }
}

fn connect(path: &Path) -> Result<Connection, SearchError> {
    let connection = Connection::open(path).map_err(opening)?;
    connection.busy_timeout(BUSY_PATIENCE).map_err(opening)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(opening)?;
    Ok(connection)
}

fn opening(error: rusqlite::Error) -> SearchError {
    fault("opening the file of the search index", error)
}

fn ended(error: tokio::task::JoinError) -> SearchError {
    unavailable("waiting for the search index's thread", error)
}

impl fmt::Debug for SqliteIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteIndex").field("tables", &self.tables).finish_non_exhaustive()
    }
}

#[async_trait]
impl SearchIndex for SqliteIndex {
    async fn apply(&self, events: &[EventEdits]) -> Result<(), SearchError> {
        let events = events.to_vec();
        self.commit(move |tables, transaction| tables.apply_in(transaction, &events)).await
    }

    async fn search(&self, search: &Search) -> Result<Hits, SearchError> {
        let search = search.clone();
        self.with(move |tables, connection| tables.search_in(connection, &search)).await
    }

    async fn document(&self, id: &str) -> Result<Option<Value>, SearchError> {
        let id = id.to_owned();
        self.with(move |tables, connection| tables.document_in(connection, &id)).await
    }

    async fn refresh(&self) -> Result<(), SearchError> {
        Ok(())
    }

    async fn clear(&self) -> Result<(), SearchError> {
        self.commit(|tables, transaction| tables.clear_in(transaction)).await
    }
}

fn fault(doing: &'static str, error: rusqlite::Error) -> SearchError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => SearchError::Corrupt(Fault::because(doing, error)),
        _ => unavailable(doing, error),
    }
}
