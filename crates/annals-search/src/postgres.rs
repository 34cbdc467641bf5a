//! An index in PostgreSQL, with its full-text search.

mod generations;
mod tables;

use std::error::Error as _;

use async_trait::async_trait;
use serde_json::Value;
use sqlx_core::error::Error;
use sqlx_core::query::query;
use sqlx_core::transaction::Transaction;
use sqlx_postgres::{PgPool, Postgres};

use crate::index::unavailable;
use crate::{EventEdits, Fields, Hits, IndexName, Search, SearchError, SearchIndex};

pub use generations::PostgresGenerations;
pub use tables::PostgresTables;

/// How often the same edits are applied when others apply edits of the same documents and each
/// waits for the other. One of them always goes on.
const ATTEMPTS: usize = 16;

/// An index in a PostgreSQL database, version 15 or newer, for any number of processes.
///
/// To have documents commit together with something else, a checkpoint for example, see
/// [`PostgresTables`].
#[derive(Clone, Debug)]
pub struct PostgresIndex {
    tables: PostgresTables,
    pool: PgPool,
}

impl PostgresIndex {
    /// Opens the index in this database; makes the tables when they are not there.
    ///
    /// # Errors
    /// [`SearchError::OtherFields`], or when the database is not available.
    pub async fn open(pool: PgPool, name: IndexName, fields: Fields) -> Result<Self, SearchError> {
        let index = Self { tables: PostgresTables::new(name, fields), pool };
        let mut transaction = index.begin().await?;
        index.tables.create_in(&mut transaction).await?;
        commit(transaction).await?;
        Ok(index)
    }

    async fn apply_once(&self, events: &[EventEdits]) -> Result<(), SearchError> {
        let mut transaction = self.begin().await?;
        let outcome = self.tables.apply_in(&mut transaction, events).await;
        if matches!(outcome, Ok(()) | Err(SearchError::Refused(_))) {
            commit(transaction).await?;
        }
        outcome
    }

    async fn begin(&self) -> Result<Transaction<'static, Postgres>, SearchError> {
        let connecting =
            |error| unavailable("connecting to the database of the search index", error);
        let mut transaction = self.pool.begin().await.map_err(connecting)?;
        // Compiling takes longer than any of these statements.
        query("SET LOCAL jit = off").execute(&mut *transaction).await.map_err(connecting)?;
        Ok(transaction)
    }
}

/// Whether the server ended a deadlock with this transaction, so that another one could go on.
fn is_deadlock(outcome: &Result<(), SearchError>) -> bool {
    let Err(SearchError::Unavailable(fault)) = outcome else { return false };
    let error = fault.source().and_then(|source| source.downcast_ref::<Error>());
    error
        .and_then(Error::as_database_error)
        .is_some_and(|error| error.code() == Some("40P01".into()))
}

async fn commit(transaction: Transaction<'_, Postgres>) -> Result<(), SearchError> {
    let committing = |error| unavailable("committing to the search index", error);
    transaction.commit().await.map_err(committing)
}

#[async_trait]
impl SearchIndex for PostgresIndex {
    async fn apply(&self, events: &[EventEdits]) -> Result<(), SearchError> {
        let mut outcome = self.apply_once(events).await;
        for _ in 1..ATTEMPTS {
            if !is_deadlock(&outcome) {
                break;
            }
            outcome = self.apply_once(events).await;
        }
        outcome
    }

    async fn search(&self, search: &Search) -> Result<Hits, SearchError> {
        let mut transaction = self.begin().await?;
        self.tables.search_in(&mut transaction, search).await
    }

    async fn document(&self, id: &str) -> Result<Option<Value>, SearchError> {
        let mut transaction = self.begin().await?;
        self.tables.document_in(&mut transaction, id).await
    }

    async fn refresh(&self) -> Result<(), SearchError> {
        Ok(())
    }

    async fn clear(&self) -> Result<(), SearchError> {
        let mut transaction = self.begin().await?;
        self.tables.clear_in(&mut transaction).await?;
        commit(transaction).await
    }
}
