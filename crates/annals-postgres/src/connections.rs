//! Connections that are kept at hand: a pool asks the server for a sign of life whenever one is
//! given back, which would double the round trips of a short statement.

use std::sync::Mutex;

use sqlx_core::error::Error;
use sqlx_core::pool::PoolConnection;
use sqlx_postgres::{PgPool, Postgres};

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

    /// Gives back a connection whose statements have all been answered. One that is not given
    /// back goes to the pool, which looks whether it still works.
    pub(crate) fn give_back(&self, connection: PoolConnection<Postgres>) {
        let mut idle = self.idle.lock().expect("nobody panics while holding the connections");
        if idle.len() < KEPT {
            idle.push(connection);
        }
    }

    /// After a connection broke: the idle ones have probably ended with it.
    pub(crate) fn distrust(&self) {
        let idle = std::mem::take(
            &mut *self.idle.lock().expect("nobody panics while holding the connections"),
        );
        for connection in idle {
            // Closed by the server already, or to be closed by it when it sees the socket go.
            drop(connection.detach());
        }
    }
}
