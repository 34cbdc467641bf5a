//! The one thread that writes.
//!
//! It takes all appends that wait and stores them in one transaction, so that many callers share
//! one fsync, and answers each caller by itself. While it waits for work it also watches for
//! what other processes append, on behalf of subscribers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_core::{Append, AppendError, Clock, Fault, Position, ReadError, Timestamp};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::{Connection, ErrorCode, Result};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use crate::append::{Appender, Outcome};
use crate::chore::{Chore, Chores};
use crate::fault::{is_damage, read_error};
use crate::inline::{Appended, Hooks, Session, Veto, catch_up};
use crate::number::position;
use crate::stream::{Newest, newest, newest_position};

/// The most events stored in one transaction, unless a single append has more.
const GROUP_EVENTS_MAX: usize = 4_096;
/// Or this many bytes of them.
const GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest wait for a group to fill, also when a commit once took very long.
const PATIENCE_MAX: Duration = Duration::from_millis(1);
/// How often the file is asked for the appends of others while somebody subscribes.
const WATCH_INTERVAL: Duration = Duration::from_millis(10);

/// What the writer is asked to do.
pub(crate) enum Request {
    Append(Pending),
    /// Do this when no append waits.
    Chore(Chore),
    /// Stop, after everything asked before is done.
    Close(oneshot::Sender<()>),
    /// Tell where the log ends, behind everything asked before and before everything after.
    Head(Asker),
    /// Somebody subscribes from now on.
    Watch,
}

/// An append whose caller waits.
pub(crate) struct Pending {
    pub(crate) append: Arc<Append>,
    /// Up to here its conditions are known to hold.
    pub(crate) checked: Position,
    pub(crate) answer: Answer,
    /// Its place in the queue, a permit for each of its bytes, free again when it is answered.
    pub(crate) room: OwnedSemaphorePermit,
}

/// Where a caller waits for what came of its append.
pub(crate) struct Answer {
    caller: Option<oneshot::Sender<Outcome>>,
    begun: bool,
}

impl Answer {
    pub(crate) fn to(caller: oneshot::Sender<Outcome>) -> Self {
        Self { caller: Some(caller), begun: false }
    }

    fn send(mut self, outcome: Outcome) {
        if let Some(caller) = self.caller.take() {
            // A caller that has gone away needs no answer.
            let _ = caller.send(outcome);
        }
    }
}

impl Drop for Answer {
    /// An append that was never begun is not stored, wherever in the queue it got lost. Of one
    /// that was begun nobody knows.
    fn drop(&mut self) {
        if let Some(caller) = self.caller.take().filter(|_| !self.begun) {
            let _ = caller.send(Err(AppendError::Closed));
        }
    }
}

/// Whoever wants to know where the log ends.
pub(crate) type Asker = oneshot::Sender<std::result::Result<Position, ReadError>>;

impl Pending {
    fn events(&self) -> usize {
        self.append.events().count()
    }

    fn bytes(&self) -> usize {
        self.room.num_permits()
    }
}

pub(crate) struct Writer {
    pub(crate) requests: Receiver<Request>,
    pub(crate) head: watch::Sender<Position>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What runs inside appends, if anything does.
    pub(crate) hooks: Option<Hooks>,
    pub(crate) rhythm: Rhythm,
    pub(crate) chores: Chores,
}

/// How long to wait for a group to fill.
///
/// Callers that were answered together tend to come back together, a moment later. Without
/// patience the first of them would be stored alone while the others wait for its fsync.
#[derive(Debug, Default)]
pub(crate) struct Rhythm {
    callers: usize,
    commit: Duration,
}

impl Rhythm {
    /// When to stop waiting for as many callers as last time: at once for a single one.
    fn deadline(&self) -> Instant {
        Instant::now() + (self.commit / 4).min(PATIENCE_MAX)
    }

    fn is_complete(&self, callers: usize) -> bool {
        callers >= self.callers
    }
}

/// What comes after a group.
enum Next {
    Continue,
    Tell(Asker),
    Stop(Option<oneshot::Sender<()>>),
}

impl Writer {
    /// Works until it is told to close, or nobody can ask any more.
    pub(crate) fn run(mut self, connection: &Connection) {
        let closed = match self.work(connection) {
            Ok(closed) => closed,
            Err(error) => {
                tracing::error!(%error, "the writer cannot start");
                None
            }
        };
        // Closing the channel of heads ends every subscription, closing the one of requests
        // answers whoever asked too late.
        drop(self);
        if let Some(closed) = closed {
            let _ = closed.send(());
        }
    }

    fn work(&mut self, connection: &Connection) -> Result<Option<oneshot::Sender<()>>> {
        let mut appender = Appender::new(connection)?;
        let mut seen_version = None;
        loop {
            if self.chores.is_overdue() && self.chores.do_one(connection).is_err() {
                return Ok(None);
            }
            let next = match self.requests.recv_timeout(self.patience()) {
                Ok(Request::Append(first)) => self.store_group(connection, &mut appender, first),
                Ok(Request::Chore(chore)) => {
                    self.chores.add(chore);
                    Next::Continue
                }
                Ok(Request::Close(done)) => Next::Stop(Some(done)),
                Ok(Request::Head(asker)) => Next::Tell(asker),
                Ok(Request::Watch) => self.look_around(connection, &mut seen_version),
                Err(RecvTimeoutError::Timeout) => {
                    if self.chores.is_ready() && self.chores.do_one(connection).is_err() {
                        return Ok(None);
                    }
                    self.look_around(connection, &mut seen_version)
                }
                Err(RecvTimeoutError::Disconnected) => Next::Stop(None),
            };
            match next {
                Next::Continue => {}
                Next::Stop(done) => return Ok(done),
                Next::Tell(asker) => {
                    let newest = newest_position(connection);
                    newest.iter().for_each(|head| self.publish(*head));
                    let head =
                        newest.map(position).map_err(|error| read_error("finding the head", error));
                    let _ = asker.send(head);
                }
            }
        }
    }

    /// How long to wait for a request before looking for the appends of others, or doing a chore.
    fn patience(&self) -> Duration {
        let others =
            if self.head.receiver_count() > 1 { WATCH_INTERVAL } else { Duration::from_secs(3600) };
        self.chores.pause().map_or(others, |pause| pause.min(others))
    }

    fn look_around(&self, connection: &Connection, seen: &mut Option<i64>) -> Next {
        if let Err(error) = self.look_at_others(connection, seen) {
            tracing::warn!(%error, "looking for the appends of others failed");
        }
        Next::Continue
    }

    /// Publishes what other connections have appended, if they have done anything at all.
    fn look_at_others(&self, connection: &Connection, seen: &mut Option<i64>) -> Result<()> {
        let version = data_version(connection)?;
        if *seen != Some(version) {
            self.publish(newest_position(connection)?);
            *seen = Some(version);
        }
        Ok(())
    }

    fn publish(&self, head: i64) {
        let head = position(head);
        self.head.send_if_modified(|known| {
            let moved = head > *known;
            *known = head.max(*known);
            moved
        });
    }

    /// Stores the first append and those that wait behind it, and answers their callers.
    fn store_group(
        &mut self,
        connection: &Connection,
        appender: &mut Appender<'_>,
        first: Pending,
    ) -> Next {
        let (mut group, next) = self.gather(first);
        self.chores.group_is_done();
        group.iter_mut().for_each(|pending| pending.answer.begun = true);
        let outcomes = match self.store(connection, appender, &group) {
            Ok(outcomes) => outcomes,
            Err(failure) => {
                appender.forget();
                tracing::error!(error = %failure.to_append_error(), "storing appends failed");
                for pending in group {
                    pending.answer.send(Err(failure.to_append_error()));
                }
                return if failure.is_final() { Next::Stop(None) } else { next };
            }
        };
        for (pending, outcome) in group.into_iter().zip(outcomes) {
            pending.answer.send(outcome);
        }
        next
    }

    fn gather(&mut self, first: Pending) -> (Vec<Pending>, Next) {
        let deadline = self.rhythm.deadline();
        let (mut events, mut bytes) = (first.events(), first.bytes());
        let mut group = vec![first];
        while events < GROUP_EVENTS_MAX && bytes < GROUP_BYTES_MAX {
            let request = if self.rhythm.is_complete(group.len()) {
                self.requests.try_recv().ok()
            } else {
                self.requests.recv_deadline(deadline).ok()
            };
            match request {
                Some(Request::Append(pending)) => {
                    events += pending.events();
                    bytes += pending.bytes();
                    group.push(pending);
                }
                Some(Request::Chore(chore)) => self.chores.add(chore),
                Some(Request::Close(done)) => return (group, Next::Stop(Some(done))),
                Some(Request::Head(asker)) => return (group, Next::Tell(asker)),
                Some(Request::Watch) => {}
                None => break,
            }
        }
        (group, Next::Continue)
    }

    fn store(
        &mut self,
        connection: &Connection,
        appender: &mut Appender<'_>,
        group: &[Pending],
    ) -> std::result::Result<Vec<Outcome>, Failure> {
        let Some(hooks) = self.hooks.clone() else {
            let stored =
                self.store_with(connection, appender, group, |appender, pending, newest, now| {
                    let outcome = appender.append(&pending.append, pending.checked, now, newest)?;
                    Ok(Appended::Done(outcome))
                })?;
            return Ok(stored.expect("only what runs inside an append can be behind"));
        };
        let mut stuck: Option<Veto> = None;
        loop {
            let mut session = Session::new(&hooks, stuck.as_ref());
            let stored =
                self.store_with(connection, appender, group, |appender, pending, newest, now| {
                    session.append(appender, &pending.append, pending.checked, now, newest)
                })?;
            if let Some(outcomes) = stored {
                return Ok(outcomes);
            }
            // Others have appended much without what runs here. It catches up in transactions of
            // its own, so that nobody else is kept from the file meanwhile.
            appender.forget();
            stuck = catch_up(connection, &hooks, self.clock.now()).err();
        }
    }

    /// Stores a group with `append` for each; `None` and nothing when something is far behind.
    fn store_with<'c>(
        &mut self,
        connection: &Connection,
        appender: &mut Appender<'c>,
        group: &[Pending],
        mut append: impl FnMut(&mut Appender<'c>, &Pending, &mut Newest, Timestamp) -> Result<Appended>,
    ) -> std::result::Result<Option<Vec<Outcome>>, Failure> {
        let transaction = Transaction::begin(connection).map_err(Failure::Begin)?;
        let mut newest = newest(connection).map_err(Failure::Write)?;
        let before = newest.position;
        // What others have appended is told to subscribers also when nothing comes of the group.
        self.publish(before);
        let mut outcomes = Vec::with_capacity(group.len());
        for pending in group {
            let appended = append(appender, pending, &mut newest, self.clock.now());
            match appended.map_err(Failure::Write)? {
                Appended::Done(outcome) => outcomes.push(outcome),
                Appended::Behind(_) => return Ok(None),
                Appended::Ended => return Err(Failure::Commit(ended_inside())),
            }
        }
        if newest.position > before {
            appender.finish().map_err(Failure::Write)?;
            let started = Instant::now();
            transaction.commit().map_err(Failure::Commit)?;
            self.rhythm = Rhythm { callers: group.len(), commit: started.elapsed() };
            self.publish(newest.position);
        }
        Ok(Some(outcomes))
    }
}

/// What to say when something that ran inside an append has ended the transaction.
fn ended_inside() -> rusqlite::Error {
    let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_MISUSE);
    let message = "what runs inline has ended the transaction that it ran in";
    rusqlite::Error::SqliteFailure(error, Some(message.into()))
}

/// A write transaction that is rolled back unless it is committed.
pub(crate) struct Transaction<'c> {
    connection: &'c Connection,
}

impl<'c> Transaction<'c> {
    pub(crate) fn begin(connection: &'c Connection) -> Result<Self> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self { connection })
    }

    pub(crate) fn commit(self) -> Result<()> {
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "rolling back failed");
        }
    }
}

/// Where storing a group failed: what decides on what its callers may believe.
pub(crate) enum Failure {
    Begin(rusqlite::Error),
    Write(rusqlite::Error),
    /// The events may or may not have reached the disk. A failed fsync is never tried again:
    /// the kernel may have dropped the very pages it could not write.
    Commit(rusqlite::Error),
}

impl Failure {
    /// Whether nothing may be written any more: after a full disk there may, because SQLite
    /// itself could not write and writes to the same place again.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Begin(_) | Self::Write(_) => false,
            Self::Commit(error) => error.sqlite_error_code() != Some(ErrorCode::DiskFull),
        }
    }

    /// The same failure for one more caller.
    fn to_append_error(&self) -> AppendError {
        let because = |doing, error: &rusqlite::Error| Fault::because(doing, error.to_string());
        match self {
            Self::Begin(error) => {
                AppendError::Unavailable(because("waiting for the file's write lock", error))
            }
            Self::Write(error) if is_damage(error) => {
                AppendError::Corrupt(because("storing the append", error))
            }
            Self::Write(error) => AppendError::Unavailable(because("storing the append", error)),
            Self::Commit(error) => {
                AppendError::Indeterminate(because("committing the append", error))
            }
        }
    }
}

/// Changes when another connection, of this process or another, has committed.
fn data_version(connection: &Connection) -> Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}
