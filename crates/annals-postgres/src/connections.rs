//! Connections that are kept at hand: a pool asks the server for a sign of life whenever one is
//! given back, which would double the round trips of a short statement.

use std::sync::Mutex;

use sqlx_core::connection::Connection;
use sqlx_core::error::Error;
use sqlx_core::pool::PoolConnection;
use sqlx_postgres::{PgPool, Postgres};

use crate::fault::is_connection_lost;

/// How many idle connections are kept at hand; the pool has the others.
const KEPT: usize = 4;

#[derive(Debug)]
pub(crate) struct Connections {
    pool: PgPool,
    idle: Mutex<Vec<PoolConnection<Postgres>>>,
}

impl Connections {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool, idle: Mutex::default() }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(crate) async fn take(&self) -> Result<PoolConnection<Postgres>, Error> {
        let idle = self.idle.lock().expect("nobody panics while holding the connections").pop();
        match idle {
            Some(connection) => Ok(connection),
            None => self.pool.acquire().await,
        }
    }

    /// Runs statements that only read; again on another connection when the first one turns out
    /// to be broken, as all are after the server was restarted.
    pub(crate) async fn read<T, F, Reading>(&self, statements: F) -> Result<T, Error>
    where
        F: Fn(PoolConnection<Postgres>) -> Reading,
        Reading: Future<Output = (PoolConnection<Postgres>, Result<T, Error>)>,
    {
        let (mut connection, mut outcome) = statements(self.take().await?).await;
        if outcome.as_ref().is_err_and(is_connection_lost) {
            (connection, outcome) = statements(self.take_tested().await?).await;
        }
        if outcome.is_ok() {
            self.give_back(connection);
        }
        outcome
    }

    /// A connection that has just answered: for trying again after another was found broken.
    pub(crate) async fn take_tested(&self) -> Result<PoolConnection<Postgres>, Error> {
        let idle = std::mem::take(
            &mut *self.idle.lock().expect("nobody panics while holding the connections"),
        );
        // The pool looks whether they still work.
        drop(idle);
        loop {
            let mut connection = self.pool.acquire().await?;
            match connection.ping().await {
                Ok(()) => return Ok(connection),
                // The pool runs out of broken ones, and then makes new ones or says why not.
                Err(_) => drop(connection.detach()),
            }
        }
    }

    /// Gives back a connection whose statements have all been answered. One that is not given
    /// back goes to the pool, which looks whether it still works.
    pub(crate) fn give_back(&self, connection: PoolConnection<Postgres>) {
        let mut idle = self.idle.lock().expect("nobody panics while holding the connections");
        if idle.len() < KEPT && !self.pool.is_closed() {
            idle.push(connection);
        }
    }

    /// Closes the pool, which waits until every connection is back: those kept here too.
    pub(crate) async fn close(&self) {
        // Calling it marks the pool as closed, so that no more are kept.
        let closing = self.pool.close();
        self.idle.lock().expect("nobody panics while holding the connections").clear();
        closing.await;
    }
}
