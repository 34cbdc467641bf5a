//! What the writer does when no append waits: saving and dropping snapshots.
//!
//! Snapshots can be made again, and so nobody who appends pays for them. They go through the one
//! thread that writes, or they would fight with it for the file's write lock; but behind the
//! appends, in transactions of their own that wait neither for the disk nor for another process.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use annals_core::{Fault, Snapshot, SnapshotError, SnapshotInfo};
use rusqlite::{Connection, ErrorCode, Result};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::fault::is_damage;
use crate::snapshot;
use crate::writer::{Failure, Transaction};

/// How long a chore lets every append go before it. Then it is done between two groups of them,
/// one at a time, or it would wait for ever behind callers that never pause.
const PATIENCE: Duration = Duration::from_millis(100);
/// How soon a chore is tried again that found the file locked by another process.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);
/// What `PRAGMA synchronous` says when every commit is synced.
const FULL: i64 = 2;

/// Something to do whose caller waits.
pub(crate) struct Chore {
    pub(crate) task: Task,
    /// How many snapshots it dropped.
    pub(crate) answer: oneshot::Sender<std::result::Result<u64, SnapshotError>>,
    /// When it was asked for.
    pub(crate) since: Instant,
    /// Its place in the queue, a permit for each of its bytes, free again when it is answered.
    pub(crate) _room: OwnedSemaphorePermit,
}

pub(crate) enum Task {
    /// Drops these, but not what has taken their places meanwhile.
    Drop(Vec<SnapshotInfo>),
    Save(Snapshot),
}

/// The chores that wait, in the order they were asked for. Those that wait when the writer stops
/// are dropped, and their callers hear that the store is closed.
#[derive(Default)]
pub(crate) struct Chores {
    waiting: VecDeque<Chore>,
    /// How long a chore may be kept from the file by another process.
    busy_timeout: Duration,
    retry_at: Option<Instant>,
    /// A group of appends was stored since the last chore.
    had_a_group: bool,
}

impl Chores {
    pub(crate) fn new(busy_timeout: Duration) -> Self {
        Self { busy_timeout, ..Self::default() }
    }

    pub(crate) fn add(&mut self, chore: Chore) {
        self.waiting.push_back(chore);
    }

    /// An overdue chore may come before the next group.
    pub(crate) fn group_is_done(&mut self) {
        self.had_a_group = true;
    }

    /// How long to wait for an append before doing a chore; none when there is no chore.
    pub(crate) fn pause(&self) -> Option<Duration> {
        self.waiting.front()?;
        let retry_at = self.retry_at.map(|at| at.saturating_duration_since(Instant::now()));
        Some(retry_at.unwrap_or(Duration::ZERO))
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.pause() == Some(Duration::ZERO)
    }

    /// Whether a chore has waited for so long that appends must wait for it.
    pub(crate) fn is_overdue(&self) -> bool {
        let first = self.waiting.front().filter(|_| self.had_a_group);
        first.is_some_and(|chore| chore.since.elapsed() > PATIENCE) && self.is_ready()
    }

    /// Does the first chore and answers its caller. Fails when nothing may be written any more.
    pub(crate) fn do_one(&mut self, connection: &Connection) -> std::result::Result<(), Failure> {
        self.retry_at = None;
        let Some(chore) = self.waiting.pop_front() else { return Ok(()) };
        self.had_a_group = false;
        let done = without_waiting(connection, self.busy_timeout, || perform(connection, &chore));
        match done {
            Ok(Err(Failure::Begin(error))) if self.may_retry(&chore, &error) => {
                self.retry_at = Some(Instant::now() + RETRY_INTERVAL);
                self.waiting.push_front(chore);
                Ok(())
            }
            Ok(Ok(dropped)) => {
                // A caller that has gone away needs no answer.
                let _ = chore.answer.send(Ok(dropped));
                Ok(())
            }
            Ok(Err(failure)) => {
                let error = to_snapshot_error(&failure);
                tracing::warn!(%error, "a snapshot could not be saved or dropped");
                let _ = chore.answer.send(Err(error));
                if failure.is_final() { Err(failure) } else { Ok(()) }
            }
            Err(error) => {
                let fault = Fault::because("keeping snapshots", error.to_string());
                let _ = chore.answer.send(Err(SnapshotError::Unavailable(fault)));
                Err(Failure::Commit(error))
            }
        }
    }

    fn may_retry(&self, chore: &Chore, error: &rusqlite::Error) -> bool {
        error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
            && chore.since.elapsed() < self.busy_timeout
    }
}

fn perform(connection: &Connection, chore: &Chore) -> std::result::Result<u64, Failure> {
    let transaction = Transaction::begin(connection).map_err(Failure::Begin)?;
    let done = match &chore.task {
        Task::Drop(infos) => snapshot::drop_seen(connection, infos),
        Task::Save(snapshot) => snapshot::save(connection, snapshot).map(|()| 0),
    };
    let done = done.map_err(Failure::Write)?;
    transaction.commit().map_err(Failure::Commit)?;
    Ok(done)
}

/// Does `work` without an fsync, and without waiting for other processes.
///
/// Without an fsync a snapshot may be lost when the power fails; what was appended before is
/// synced already, what is appended later is synced along with it. Afterwards every commit must
/// be synced again (S2), and an error says that this is not sure.
fn without_waiting<T>(
    connection: &Connection,
    busy_timeout: Duration,
    work: impl FnOnce() -> T,
) -> Result<T> {
    connection.busy_timeout(Duration::ZERO)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let done = work();
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.busy_timeout(busy_timeout)?;
    let level: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if level == FULL { Ok(done) } else { Err(rusqlite::Error::InvalidQuery) }
}

fn to_snapshot_error(failure: &Failure) -> SnapshotError {
    let because = |doing, error: &rusqlite::Error| Fault::because(doing, error.to_string());
    let fault = match failure {
        Failure::Begin(error) => because("waiting for the file's write lock", error),
        Failure::Commit(error) => because("committing the snapshot", error),
        Failure::Write(error) if is_damage(error) => {
            return SnapshotError::Corrupt(because("writing the snapshot", error));
        }
        Failure::Write(error) => because("writing the snapshot", error),
    };
    SnapshotError::Unavailable(fault)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    /// An append that is acknowledged after a snapshot must be on the disk (S2).
    #[test]
    fn commits_are_synced_again_afterwards() {
        let connection = Connection::open_in_memory().unwrap();
        let level = || -> i64 {
            connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap()
        };
        connection.pragma_update(None, "synchronous", "FULL").unwrap();
        assert_eq!(without_waiting(&connection, Duration::ZERO, level).unwrap(), 1);
        assert_eq!(level(), FULL);
    }

    /// Between two groups at most one chore is done, and only one that has waited for long.
    #[test]
    fn appends_go_first_but_not_for_ever() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "synchronous", "FULL").unwrap();
        crate::schema::EVENTS.migrate(&mut connection).unwrap();
        let room = Arc::new(Semaphore::new(2));
        let long_ago = Instant::now().checked_sub(2 * PATIENCE).unwrap();
        let mut chores = Chores::new(Duration::ZERO);
        let add = |chores: &mut Chores, since| {
            let (answer, answered) = oneshot::channel();
            let room = Arc::clone(&room).try_acquire_owned().unwrap();
            chores.add(Chore { task: Task::Drop(Vec::new()), answer, since, _room: room });
            answered
        };
        let mut first = add(&mut chores, long_ago);
        assert!(chores.is_ready() && !chores.is_overdue(), "no group was stored before it");
        chores.group_is_done();
        assert!(chores.is_overdue());
        let _second = add(&mut chores, long_ago);
        assert!(chores.do_one(&connection).is_ok());
        assert_eq!(first.try_recv().unwrap().unwrap(), 0);
        assert!(chores.is_ready() && !chores.is_overdue(), "a group comes before the second");
        chores.group_is_done();
        assert!(chores.is_overdue());
        assert!(chores.do_one(&connection).is_ok());

        let _young = add(&mut chores, Instant::now() + PATIENCE);
        chores.group_is_done();
        assert!(chores.is_ready() && !chores.is_overdue(), "it has not waited yet");
    }

    /// SQLite does not change its mind inside a transaction, which would be the case if one could
    /// not be rolled back.
    #[test]
    fn a_transaction_left_open_is_noticed() {
        let connection = Connection::open_in_memory().unwrap();
        let left_open = || connection.execute_batch("BEGIN").unwrap();
        assert!(without_waiting(&connection, Duration::ZERO, left_open).is_err());
    }
}
