//! How far the log can be read: up to the first transaction that has appended and is still open.

use std::sync::Arc;
use std::time::Duration;

use annals_core::{Fault, Position, ReadError};
use sqlx_core::error::Error;
use sqlx_core::query::query;
use sqlx_core::query_as::query_as;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::{PgConnection, Postgres};
use tokio::time::{Instant, sleep, timeout_at};

use crate::connections::Connections;
use crate::fault::read_error;
use crate::number::position;
use crate::row::get;
use crate::schema::SchemaName;

/// How soon to look again when a transaction holds the watermark back; it grows up to the second.
const LOOK_AGAIN: [Duration; 2] = [Duration::from_micros(500), Duration::from_millis(50)];

/// How far the log is, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Every event at or before it can be read, and none will ever be added there.
    pub(crate) head: Position,
    /// The last event that is committed. It stands behind the head when a transaction that began
    /// to append earlier is still open.
    pub(crate) newest: Position,
    /// No event will ever be added at or before it.
    pub(crate) bound: Position,
    /// No event of a transaction that had appended before stands behind it.
    pub(crate) ceiling: Position,
}

/// A transaction that has appended and is still open: it holds the watermark back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blocker {
    /// The process id of its session on the server; 0 for a prepared transaction.
    pub pid: i32,
    /// How long it has been open.
    pub age: Duration,
    /// What the session calls itself.
    pub application: String,
    /// `active`, `idle in transaction`, …
    pub state: String,
    /// The statement it runs, or ran last, as far as this user may see it; at most 200 characters.
    pub query: String,
}

impl std::fmt::Display for Blocker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pid, age, application, state, query } = self;
        let age = age.as_secs_f64();
        write!(
            f,
            "process {pid} ({application:?}, {state}) has appended in a transaction that is open \
             for {age:.1} s; its last statement: {query}"
        )
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Watermark {
    connections: Arc<Connections>,
    schema: SchemaName,
    patience: Duration,
}

impl Watermark {
    pub(crate) fn new(
        connections: Arc<Connections>,
        schema: SchemaName,
        patience: Duration,
    ) -> Self {
        Self { connections, schema, patience }
    }

    pub(crate) async fn now(&self) -> Result<Mark, ReadError> {
        let mark = self.connections.read(async |mut connection| {
            let mark = self.look(&mut connection).await;
            (connection, mark)
        });
        mark.await.map_err(|error| read_error("finding the head of the log", error))
    }

    async fn look(&self, connection: &mut PgConnection) -> Result<Mark, Error> {
        let select =
            self.schema.statement("SELECT head, newest, bound, ceiling FROM {schema}.watermark()");
        let row = query(select).fetch_one(connection).await?;
        Ok(Mark {
            head: position(get(&row, 0)?),
            newest: position(get(&row, 1)?),
            bound: position(get(&row, 2)?),
            ceiling: position(get(&row, 3)?),
        })
    }

    /// What a standby must have replayed to have everything that is committed now.
    pub(crate) async fn wal_end(&self) -> Result<String, ReadError> {
        let end = self.connections.read(async |mut connection| {
            let select = self.schema.statement("SELECT {schema}.wal_end()::text");
            let end = query_scalar(select).fetch_one(&mut *connection).await;
            (connection, end)
        });
        end.await.map_err(|error| read_error("asking how far the write-ahead log is", error))
    }

    /// Waits until everything that is committed now, as far as `up_to`, can be read.
    ///
    /// # Errors
    /// `Unavailable` with the transactions that stand in the way, when patience has run out.
    pub(crate) async fn covering(&self, up_to: Position) -> Result<Mark, ReadError> {
        let now = self.now().await?;
        let wanted = now.newest.min(up_to);
        self.bound_at(wanted, now).await
    }

    /// Waits until every transaction that has appended by now has ended: whatever is committed
    /// afterwards is recorded afterwards, so that the past is complete (S9).
    ///
    /// # Errors
    /// As [`covering`](Self::covering).
    pub(crate) async fn past(&self) -> Result<Mark, ReadError> {
        let now = self.now().await?;
        self.bound_at(now.ceiling, now).await
    }

    async fn bound_at(&self, wanted: Position, mut mark: Mark) -> Result<Mark, ReadError> {
        let deadline = Instant::now() + self.patience;
        let mut pause = LOOK_AGAIN[0];
        while mark.bound < wanted {
            if timeout_at(deadline, sleep(pause)).await.is_err() {
                return Err(self.stalled().await);
            }
            pause = (pause * 2).min(LOOK_AGAIN[1]);
            mark = self.now().await?;
        }
        Ok(mark)
    }

    async fn stalled(&self) -> ReadError {
        let doing = format!("waiting {:?} for the log's watermark", self.patience);
        match self.blockers().await {
            Ok(blockers) if !blockers.is_empty() => {
                let who: Vec<_> = blockers.iter().map(ToString::to_string).collect();
                ReadError::Unavailable(Fault::because(doing, who.join("; ")))
            }
            Ok(_) => ReadError::Unavailable(Fault::new(doing)),
            Err(error) => error,
        }
    }

    /// Who holds the watermark back, the oldest first.
    pub(crate) async fn blockers(&self) -> Result<Vec<Blocker>, ReadError> {
        type Row = (i32, Option<i64>, Option<String>, Option<String>, Option<String>);
        let select =
            "SELECT coalesce(m.pid, 0),
                    (extract(epoch FROM clock_timestamp() - a.xact_start) * 1000000)::bigint,
                    a.application_name, a.state, left(a.query, 200)
             FROM {schema}.marks(coalesce(pg_sequence_last_value('{schema}.positions'::regclass), 0)) m
             LEFT JOIN pg_stat_activity a ON a.pid = m.pid
             ORDER BY m.floor";
        let rows = self.connections.read(async |mut connection| {
            let rows = query_as::<Postgres, Row>(self.schema.statement(select));
            let rows = rows.fetch_all(&mut *connection).await;
            (connection, rows)
        });
        let rows =
            rows.await.map_err(|error| read_error("looking for open transactions", error))?;
        let blocker = |(pid, age, application, state, query): Row| Blocker {
            pid,
            age: Duration::from_micros(age.unwrap_or_default().max(0).unsigned_abs()),
            application: application.unwrap_or_default(),
            state: state.unwrap_or_else(|| "prepared".to_owned()),
            query: query.unwrap_or_default(),
        };
        Ok(rows.into_iter().map(blocker).collect())
    }
}
