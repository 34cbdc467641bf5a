//! Connections that are kept at hand, and how long one is waited for.
//!
//! A pool asks the server for a sign of life whenever a connection is given back, which would
//! double the round trips of a short statement; so a few are kept. And a server that has lost its
//! power, or a way there that loses what is sent, never says so: whatever is asked has a limit.

use std::io;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::join_all;
use sqlx_core::connection::Connection;
use sqlx_core::error::Error;
use sqlx_core::pool::PoolConnection;
use sqlx_postgres::{PgConnection, PgPool, Postgres};
use tokio::runtime::{Builder, Handle};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::fault::{is_connection_lost, is_of_other_server};

/// How many idle connections are kept at hand; the pool has the others.
const KEPT: usize = 4;
/// How long the server may take for an answer, unless it is said otherwise …
const PATIENCE: Duration = Duration::from_secs(10);
/// … and a statement has this much longer, for it may use all of that up on the server.
const ROUND_TRIPS: Duration = Duration::from_secs(1);
/// How long a connection has for a sign of life at most; less when there is little patience.
const SIGN_OF_LIFE_MAX: Duration = Duration::from_secs(1);
/// How many idle connections are asked for one at once.
const TESTED_MAX: usize = 64;
/// How soon another connection is tried.
const TRY_AGAIN: Duration = Duration::from_millis(20);
/// What may rightly take long: reading much, on a server that has just given a sign of life.
pub(crate) const LONG: Duration = Duration::from_secs(30 * 60);

#[derive(Debug)]
pub(crate) struct Connections {
    pool: PgPool,
    parked: Arc<Mutex<Parked>>,
    /// How long a short statement may take.
    limit: Duration,
}

#[derive(Debug, Default)]
struct Parked {
    connections: Vec<PoolConnection<Postgres>>,
    /// How many wait for one of the pool, which cannot give them what is kept here.
    waiting: usize,
    /// Lets go of them when the pool is closed, which waits for them.
    closing: Option<AbortHandle>,
}

impl Connections {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool, parked: Arc::default(), limit: PATIENCE + ROUND_TRIPS }
    }

    pub(crate) fn patient(mut self, patience: Duration) -> Self {
        self.limit = patience + ROUND_TRIPS;
        self
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// How long a short statement may take.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    pub(crate) async fn take(&self) -> Result<Lent, Error> {
        self.take_by(Instant::now() + self.limit).await
    }

    pub(crate) async fn take_by(&self, deadline: Instant) -> Result<Lent, Error> {
        if self.pool.is_closed() {
            return Err(Error::PoolClosed);
        }
        self.acquire(deadline).await
    }

    async fn acquire(&self, deadline: Instant) -> Result<Lent, Error> {
        let _waiting = {
            let mut parked = self.parked();
            if let Some(connection) = parked.connections.pop() {
                return Ok(Lent(Some(connection)));
            }
            parked.waiting += 1;
            WaitsForPool(self)
        };
        let acquired = timeout_at(deadline, self.pool.acquire()).await;
        acquired.unwrap_or(Err(Error::PoolTimedOut)).map(|connection| Lent(Some(connection)))
    }

    /// Runs statements that only read; again on another connection when the first one turns out
    /// to be broken, as all are after the server was restarted, or does not answer.
    pub(crate) async fn read<T, F, Reading>(&self, statements: F) -> Result<T, Error>
    where
        F: Fn(Lent) -> Reading,
        Reading: Future<Output = (Lent, Result<T, Error>)>,
    {
        self.read_within(self.limit, statements).await
    }

    /// The same for statements that may take so long at once. On a server that is there they may
    /// take long the second time.
    pub(crate) async fn read_within<T, F, Reading>(
        &self,
        limit: Duration,
        statements: F,
    ) -> Result<T, Error>
    where
        F: Fn(Lent) -> Reading,
        Reading: Future<Output = (Lent, Result<T, Error>)>,
    {
        let outcome = self.answered(limit, statements(self.take().await?)).await;
        if !outcome.as_ref().is_err_and(is_connection_lost) {
            return outcome;
        }
        self.answered(LONG, statements(self.take_tested().await?)).await
    }

    async fn answered<T>(
        &self,
        limit: Duration,
        reading: impl Future<Output = (Lent, Result<T, Error>)>,
    ) -> Result<T, Error> {
        let (connection, outcome) = timeout(limit, reading).await.map_err(|_| no_answer(limit))?;
        match &outcome {
            Ok(_) => self.give_back(connection),
            Err(error) => self.put_away(connection, error),
        }
        outcome
    }

    /// A connection that has just answered: for trying again after another was found broken.
    pub(crate) async fn take_tested(&self) -> Result<Lent, Error> {
        self.take_tested_by(Instant::now() + self.limit).await
    }

    pub(crate) async fn take_tested_by(&self, deadline: Instant) -> Result<Lent, Error> {
        self.test_idle().await;
        loop {
            let mut connection = self.acquire(deadline).await?;
            let Err(error) = connection.answers(self.sign_of_life()).await else {
                return Ok(connection);
            };
            drop(connection);
            if timeout_at(deadline, sleep(TRY_AGAIN)).await.is_err() {
                return Err(error);
            }
        }
    }

    /// Closes the idle connections that do not answer any more: where one is broken, others are.
    async fn test_idle(&self) {
        let parked = std::mem::take(&mut self.parked().connections);
        let idle = std::iter::from_fn(|| self.pool.try_acquire()).take(TESTED_MAX);
        join_all(parked.into_iter().chain(idle).map(|idle| self.test(Lent(Some(idle))))).await;
    }

    fn sign_of_life(&self) -> Duration {
        SIGN_OF_LIFE_MAX.min(self.limit / 5)
    }

    async fn test(&self, mut connection: Lent) {
        if connection.answers(self.sign_of_life()).await.is_ok() {
            self.give_back(connection);
        }
    }

    /// Gives back a connection whose statements have all been answered.
    pub(crate) fn give_back(&self, mut connection: Lent) {
        let Some(connection) = connection.0.take() else { return };
        let mut parked = self.parked();
        let is_wanted = parked.waiting == 0 && parked.connections.len() < KEPT;
        if !is_wanted || self.pool.is_closed() {
            // To the pool.
            return in_a_runtime(|| drop(connection));
        }
        parked.connections.push(connection);
        // It may have ended with the runtime of whoever was here before.
        if parked.closing.as_ref().is_none_or(AbortHandle::is_finished) {
            parked.closing = Some(self.let_go_when_closed());
        }
    }

    /// Lets go of a connection whose statement failed: to the pool, which looks whether it still
    /// works; or closes it. One to a standby works, and yet is of no use: by way of the same
    /// address there may be a primary already.
    pub(crate) fn put_away(&self, mut connection: Lent, error: &Error) {
        if is_connection_lost(error) || is_of_other_server(error) {
            return;
        }
        if let Some(connection) = connection.0.take() {
            in_a_runtime(|| drop(connection));
        }
    }

    fn let_go_when_closed(&self) -> AbortHandle {
        // Neither keeps the pool.
        let (closed, parked) = (self.pool.close_event(), Arc::downgrade(&self.parked));
        let closing = tokio::spawn(async move {
            closed.await;
            if let Some(parked) = parked.upgrade() {
                of(&parked).connections.clear();
            }
        });
        closing.abort_handle()
    }

    /// Closes the pool, which waits until it has all connections back: those kept here too, but
    /// not for ever those of a server that does not answer.
    pub(crate) async fn close(&self) {
        // Calling it marks the pool as closed, so that no more are kept.
        let closing = self.pool.close();
        self.let_go();
        if timeout(self.limit, closing).await.is_err() {
            tracing::warn!("some connections are still in use; they are closed as they come back");
        }
    }

    /// Lets go of the connections that are kept here.
    pub(crate) fn let_go(&self) {
        let parked = std::mem::take(&mut self.parked().connections);
        in_a_runtime(|| drop(parked));
    }

    fn parked(&self) -> MutexGuard<'_, Parked> {
        of(&self.parked)
    }
}

fn of(parked: &Mutex<Parked>) -> MutexGuard<'_, Parked> {
    parked.lock().expect("nobody panics while holding the connections")
}

impl Drop for Connections {
    fn drop(&mut self) {
        if let Some(closing) = self.parked().closing.take() {
            closing.abort();
        }
        self.let_go();
    }
}

/// Counts somebody as one who waits for a connection of the pool.
struct WaitsForPool<'c>(&'c Connections);

impl Drop for WaitsForPool<'_> {
    fn drop(&mut self) {
        self.0.parked().waiting -= 1;
    }
}

/// A connection in use. Unless it is given back it is closed: whoever stopped to wait for an answer
/// has left it in the middle of one, and a pool would wait for that.
#[derive(Debug)]
pub(crate) struct Lent(Option<PoolConnection<Postgres>>);

impl Lent {
    async fn answers(&mut self, limit: Duration) -> Result<(), Error> {
        timeout(limit, self.ping()).await.unwrap_or_else(|_| Err(no_answer(limit)))
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.0.as_ref().expect("it is there until it is given back")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("it is there until it is given back")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            in_a_runtime(|| drop(connection.detach()));
        }
    }
}

pub(crate) fn no_answer(limit: Duration) -> Error {
    let text = format!("the server has not answered within {limit:?}");
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, text))
}

/// Lets go of what a pool starts tasks for, wherever that happens: where there is no runtime,
/// they end unbegun, and the connection is closed.
fn in_a_runtime(let_go: impl FnOnce()) {
    let runtime = match Handle::try_current() {
        Ok(_) => return let_go(),
        // At the end of a thread, which is too late for anything.
        Err(error) if error.is_thread_local_destroyed() => None,
        Err(_) => Builder::new_current_thread().build().ok(),
    };
    let let_go = ManuallyDrop::new(let_go);
    if let Some(runtime) = runtime {
        let _inside = runtime.enter();
        ManuallyDrop::into_inner(let_go)();
    }
}
