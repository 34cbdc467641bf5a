//! Partitions are made before the log needs them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use annals_core::Position;
use sqlx_core::error::Error;
use sqlx_core::query_as::query_as;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::Postgres;
use tokio::time::timeout;

use crate::append::Outcome;
use crate::connections::{Connections, no_answer};
use crate::fault::chain;
use crate::number::stored_position;
use crate::schema::SchemaName;

/// A log that is not partitioned never gets there.
const NEVER: i64 = i64::MAX;

/// What a store knows of the partitions of its log.
#[derive(Debug)]
pub(crate) struct Ahead {
    connections: Arc<Connections>,
    schema: SchemaName,
    /// When the log gets to this position it has entered a partition with one empty partition
    /// behind it, and is due for more.
    due: AtomicI64,
}

impl Ahead {
    pub(crate) fn new(connections: Arc<Connections>, schema: SchemaName) -> Self {
        Self { connections, schema, due: AtomicI64::new(NEVER) }
    }

    /// Finds out whether the log is partitioned, and makes what is due.
    pub(crate) async fn begin(&self) -> Result<(), Error> {
        match self.extend().await {
            // One that may only read, or one from before whose rights were not renewed: no reason
            // not to open the log.
            Err(error @ Error::Database(_)) => {
                tracing::warn!(
                    error = %chain(&error),
                    "this user cannot make partitions ahead of the log; if it is one that \
                     appends, run the script of `annals migrate --role` again"
                );
                Ok(())
            }
            extended => extended.map(drop),
        }
    }

    /// As [`reached`](Self::reached), with what became of a group.
    pub(crate) fn appended(self: &Arc<Self>, outcomes: &[Outcome]) {
        let stored = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok());
        if let Some(last) = stored.map(|receipt| receipt.last_position).max() {
            self.reached(last);
        }
    }

    /// Tells how far the log is. Costs nothing unless it has entered another partition.
    pub(crate) fn reached(self: &Arc<Self>, position: Position) {
        let due = self.due.load(Ordering::Relaxed);
        if stored_position(position) < due {
            return;
        }
        // One of the appends that see it sees to it.
        if self.due.compare_exchange(due, NEVER, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tokio::spawn(Arc::clone(self).extend_aside(position));
        }
    }

    async fn extend_aside(self: Arc<Self>, position: Position) {
        if let Err(error) = self.extend().await {
            tracing::warn!(
                error = %chain(&error),
                "no partitions could be made ahead of the log; run `annals partitions extend` as \
                 its owner"
            );
            // Again after a while: there are two more to go.
            self.due.fetch_min(stored_position(position) + 4_096 * 256, Ordering::Relaxed);
        }
    }

    /// Makes the partitions that are due. Whether the log is partitioned.
    pub(crate) async fn extend(&self) -> Result<bool, Error> {
        let limit = self.connections.limit();
        let extended = timeout(limit, self.extend_by_one_connection()).await;
        extended.unwrap_or_else(|_| Err(no_answer(limit)))
    }

    async fn extend_by_one_connection(&self) -> Result<bool, Error> {
        let mut connection = self.connections.take().await?;
        // A log that was never partitioned does not have the function.
        let exists = "SELECT to_regprocedure('{schema}.extend_partitions()') IS NOT NULL";
        let exists: bool =
            query_scalar(self.schema.statement(exists)).fetch_one(&mut *connection).await?;
        let (every, until) = match exists {
            false => (None, None),
            true => {
                let extend = "SELECT every, until FROM {schema}.extend_partitions()";
                query_as::<Postgres, (Option<i64>, Option<i64>)>(self.schema.statement(extend))
                    .fetch_one(&mut *connection)
                    .await?
            }
        };
        self.connections.give_back(connection);
        let (Some(every), Some(until)) = (every, until) else { return Ok(false) };
        self.due.store((until - 2 * every) * 4_096, Ordering::Relaxed);
        Ok(true)
    }
}
