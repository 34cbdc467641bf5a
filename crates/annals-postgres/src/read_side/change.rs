//! How the tables of a projection change: in one transaction with its generations, and as soon as
//! nobody holds them.

use std::time::Duration;

use annals_core::{Activation, Fault, Generation, ReadSideError, Role, SubscriberName};
use sqlx_core::connection::Connection;
use sqlx_core::error::Error;
use sqlx_core::executor::Executor;
use sqlx_core::raw_sql::raw_sql;
use sqlx_postgres::PgConnection;
use tokio::time::{Instant, sleep};

use super::PostgresReadSide;
use super::ask::{Answered, is_meeting, read_side_error};
use super::generation::{activate_in, discard_in, find};
use super::tables::{self, ProjectionTable};
use crate::connections::Lent;

/// How long those are waited for who apply events …
const LOCK_PARTS: &str = "SET LOCAL lock_timeout = '10s'";
/// … and how long tables: whoever reads them meanwhile waits behind.
const LOCK_TABLES: &str = "SET LOCAL lock_timeout = '150ms'";
/// How soon they are tried again; it grows up to the second.
const TRY_AGAIN: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];
/// How long they are tried for.
const PATIENCE: Duration = Duration::from_secs(30);

const MAKING: &str = "making a projection's tables";

/// Has the transaction wait for those who work parts.
pub(super) async fn lock_parts_for_long(transaction: &mut PgConnection) -> Result<(), Error> {
    transaction.execute(raw_sql(LOCK_PARTS)).await.map(drop)
}

/// Has it wait for tables no longer than those who read them can bear.
pub(super) async fn lock_tables_for_short(transaction: &mut PgConnection) -> Result<(), Error> {
    transaction.execute(raw_sql(LOCK_TABLES)).await.map(drop)
}

/// What becomes of a projection's tables.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Prepare(Generation),
    Activate(Generation),
    Discard(Generation),
}

impl PostgresReadSide {
    /// Makes the tables of a generation, if there are none yet.
    pub(crate) async fn make_tables(
        &self,
        name: &SubscriberName,
        generation: Generation,
        tables: &[ProjectionTable],
    ) -> Result<(), ReadSideError> {
        self.change_tables(MAKING, name, Change::Prepare(generation), tables).await.map(drop)
    }

    /// Changes tables without making those who read them wait for long. Only what is to be
    /// activated can be [behind](Activation::Behind), each time that it is tried.
    pub(super) async fn change_tables(
        &self,
        doing: &'static str,
        name: &SubscriberName,
        change: Change,
        tables: &[ProjectionTable],
    ) -> Result<Activation, ReadSideError> {
        let changed = self.patiently(doing, async |mut connection| {
            let changed = self.change_on(&mut connection, name, change, tables).await;
            (connection, changed)
        });
        changed.await
    }

    /// Runs statements that want tables for themselves, again and again while others hold them.
    pub(super) async fn patiently<T, F, Asking>(
        &self,
        doing: &'static str,
        statements: F,
    ) -> Result<T, ReadSideError>
    where
        F: Fn(Lent) -> Asking,
        Asking: Future<Output = (Lent, Answered<T>)>,
    {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = TRY_AGAIN[0];
        loop {
            match self.shared.connections.read(&statements).await {
                Ok(changed) => return changed,
                Err(error) if is_meeting(&error) && Instant::now() < deadline => {
                    sleep(pause).await;
                    pause = (pause * 2).min(TRY_AGAIN[1]);
                }
                Err(error) => return Err(read_side_error(doing, error)),
            }
        }
    }

    async fn change_on(
        &self,
        connection: &mut PgConnection,
        name: &SubscriberName,
        change: Change,
        tables: &[ProjectionTable],
    ) -> Answered<Activation> {
        let mut transaction = connection.begin().await?;
        lock_parts_for_long(&mut transaction).await?;
        let changed = self.change_in(&mut transaction, name, change, tables).await?;
        match changed {
            Ok(Activation::Done) => transaction.commit().await?,
            Ok(Activation::Behind) | Err(_) => transaction.rollback().await?,
        }
        Ok(changed)
    }

    async fn change_in(
        &self,
        transaction: &mut PgConnection,
        name: &SubscriberName,
        change: Change,
        tables: &[ProjectionTable],
    ) -> Answered<Activation> {
        let schema = self.schema();
        let kept = match change {
            Change::Prepare(generation) => Some(generation),
            Change::Activate(generation) => {
                // It waits for whoever works it, and has found what its tables are called.
                let activated = activate_in(transaction, schema, name, generation).await?;
                if !matches!(activated, Ok(Activation::Done)) {
                    return Ok(activated);
                }
                Some(generation)
            }
            Change::Discard(generation) => {
                discard_in(transaction, schema, name, generation).await?;
                None
            }
        };
        let found = find(transaction, schema, name, kept).await?;
        let Some((number, role)) = found else {
            // What never enrolled has nothing to be discarded.
            let unknown = |_| Err(ReadSideError::Unknown(name.clone()));
            return Ok(kept.map_or(Ok(Activation::Done), unknown));
        };
        lock_tables_for_short(transaction).await?;
        tables::settle(transaction, schema, number).await?;
        let (Some(generation), Some(role)) = (kept, role) else {
            return Ok(Ok(Activation::Done));
        };
        let is_active = role == Role::Active;
        let made = tables::make(transaction, schema, number, generation, is_active, tables).await?;
        let made = made.map(|()| Activation::Done);
        Ok(made.map_err(|taken| ReadSideError::Unavailable(Fault::because(MAKING, taken))))
    }
}
