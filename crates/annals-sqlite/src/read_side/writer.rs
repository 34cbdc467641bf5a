//! The one thread that writes what is derived.
//!
//! It takes all jobs that wait and does them in one transaction, each so that the refusal of one
//! leaves no trace and does not hurt another, and answers their callers when all is committed.

use std::time::{Duration, Instant};

use annals_core::Fault;
use annals_core::ReadSideError;
use crossbeam_channel::{Receiver, Sender};
use rusqlite::{Connection, ErrorCode, Result};
use tokio::sync::oneshot;

use crate::fault::read_side_error;
use crate::writer::Transaction;

/// The most jobs done in one transaction.
const GROUP_JOBS_MAX: usize = 256;
/// How long a transaction goes on taking further jobs: others wait for the file's write lock.
const GROUP_TIME_MAX: Duration = Duration::from_millis(20);
/// How often to ask for a write lock that another connection has. SQLite itself would sleep for
/// longer and longer, and meanwhile be overtaken again and again.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(1);

/// What the writer is asked to do.
pub(crate) enum Request {
    Do(Box<dyn Job>),
    /// Stop, after everything asked before is done.
    Close(oneshot::Sender<()>),
}

/// Something to be done in a transaction that may be shared.
pub(crate) trait Job: Send {
    /// Does it; whether what it wrote is to be kept.
    fn perform(&mut self, connection: &Connection) -> bool;

    /// Tells the caller what came of it, once that is committed; or why it was not.
    fn answer(self: Box<Self>, failure: Option<&rusqlite::Error>);
}

/// A job of a closure, and whoever waits for it. The closure fails as SQLite does, or refuses.
pub(crate) struct Work<T, E, F> {
    pub(crate) doing: &'static str,
    pub(crate) work: Option<F>,
    pub(crate) outcome: Option<std::result::Result<T, E>>,
    pub(crate) caller: oneshot::Sender<std::result::Result<T, E>>,
}

impl<T, E, F> Job for Work<T, E, F>
where
    T: Send,
    E: From<ReadSideError> + Send,
    F: FnOnce(&Connection) -> Result<std::result::Result<T, E>> + Send,
{
    fn perform(&mut self, connection: &Connection) -> bool {
        let Some(work) = self.work.take() else { return false };
        let outcome =
            work(connection).unwrap_or_else(|error| Err(read_side_error(self.doing, error).into()));
        let kept = outcome.is_ok();
        self.outcome = Some(outcome);
        kept
    }

    fn answer(self: Box<Self>, failure: Option<&rusqlite::Error>) {
        let outcome = match (failure, self.outcome) {
            (None, Some(outcome)) | (Some(_), Some(outcome @ Err(_))) => outcome,
            (Some(error), _) => {
                let fault = Fault::because(self.doing, error.to_string());
                Err(ReadSideError::Unavailable(fault).into())
            }
            (None, None) => Err(ReadSideError::Closed.into()),
        };
        // A caller that has gone away needs no answer.
        let _ = self.caller.send(outcome);
    }
}

/// Starts the thread; it ends with the last sender, or when it is told to close.
pub(crate) fn start(
    connection: Connection,
    patience: Duration,
) -> std::io::Result<Sender<Request>> {
    let (sender, requests) = crossbeam_channel::unbounded();
    std::thread::Builder::new()
        .name("annals-read-side".into())
        .spawn(move || run(&connection, &requests, patience))?;
    Ok(sender)
}

fn run(connection: &Connection, requests: &Receiver<Request>, patience: Duration) {
    while let Ok(request) = requests.recv() {
        let closing = match request {
            Request::Do(first) => do_group(connection, requests, patience, first),
            Request::Close(done) => Some(done),
        };
        if let Some(done) = closing {
            let _ = done.send(());
            return;
        }
    }
}

/// Does a job and those that wait behind it; tells if one of these is to stop.
fn do_group(
    connection: &Connection,
    requests: &Receiver<Request>,
    patience: Duration,
    first: Box<dyn Job>,
) -> Option<oneshot::Sender<()>> {
    let (mut group, mut closing) = (vec![first], None);
    let transaction = match begin(connection, patience) {
        Ok(transaction) => transaction,
        Err(error) => {
            answer(group, Some(&error));
            return None;
        }
    };
    let until = Instant::now() + GROUP_TIME_MAX;
    let done = group[0].perform(connection);
    if !done {
        // Nothing else is lost with it.
        drop(transaction);
        answer(group, None);
        return None;
    }
    let mut done = Ok(());
    while group.len() < GROUP_JOBS_MAX && Instant::now() < until {
        match requests.try_recv() {
            Ok(Request::Do(mut job)) => {
                done = apart(connection, job.as_mut());
                group.push(job);
                if done.is_err() {
                    break;
                }
            }
            Ok(Request::Close(close)) => {
                closing = Some(close);
                break;
            }
            Err(_) => break,
        }
    }
    let done = done.and_then(|()| transaction.commit());
    if let Err(error) = &done {
        tracing::error!(%error, "storing what is derived failed");
    }
    answer(group, done.as_ref().err());
    closing
}

/// Does a job so that it can be undone without its neighbours.
fn apart(connection: &Connection, job: &mut dyn Job) -> Result<()> {
    connection.prepare_cached("SAVEPOINT annals_job")?.execute([])?;
    let done = job.perform(connection);
    if !done {
        // Fails when SQLite has rolled back everything by itself, as it does when a disk fails.
        connection.prepare_cached("ROLLBACK TO annals_job")?.execute([])?;
    }
    connection.prepare_cached("RELEASE annals_job")?.execute([])?;
    Ok(())
}

fn answer(group: Vec<Box<dyn Job>>, failure: Option<&rusqlite::Error>) {
    for job in group {
        job.answer(failure);
    }
}

/// Begins to write, as soon as no other connection does.
pub(crate) fn begin(connection: &Connection, patience: Duration) -> Result<Transaction<'_>> {
    let deadline = Instant::now() + patience;
    connection.busy_timeout(Duration::ZERO)?;
    let begun = loop {
        match Transaction::begin(connection) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                std::thread::park_timeout(LOCK_RETRY_INTERVAL);
            }
            begun => break begun,
        }
    };
    connection.busy_timeout(patience)?;
    begun
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    type Answer = oneshot::Receiver<std::result::Result<(), ReadSideError>>;

    /// Writes a number and then refuses, or fails, or is content.
    fn job(
        number: i64,
        end: fn() -> Result<std::result::Result<(), ReadSideError>>,
    ) -> (Box<dyn Job>, Answer) {
        let (caller, answered) = oneshot::channel();
        let work = move |connection: &Connection| {
            connection.execute("INSERT INTO numbers VALUES (?1)", [number])?;
            end()
        };
        (Box::new(Work { doing: "testing", work: Some(work), outcome: None, caller }), answered)
    }

    fn numbers(connection: &Connection) -> Vec<i64> {
        let mut select = connection.prepare("SELECT number FROM numbers ORDER BY number").unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn a_refusal_does_not_hurt_those_who_share_the_transaction() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE numbers (number INTEGER)").unwrap();
        let (sender, requests) = crossbeam_channel::unbounded();
        let (first, mut of_first) = job(1, || Ok(Ok(())));
        let (refused, mut of_refused) = job(2, || Ok(Err(ReadSideError::Closed)));
        let (failing, mut of_failing) = job(3, || Err(rusqlite::Error::InvalidQuery));
        let (last, mut of_last) = job(4, || Ok(Ok(())));
        for job in [refused, failing, last] {
            sender.send(Request::Do(job)).unwrap();
        }
        assert!(do_group(&connection, &requests, PATIENCE, first).is_none());
        assert!(requests.is_empty(), "they shared a transaction");
        assert!(of_first.try_recv().unwrap().is_ok());
        assert!(matches!(of_refused.try_recv().unwrap(), Err(ReadSideError::Closed)));
        assert!(matches!(of_failing.try_recv().unwrap(), Err(ReadSideError::Unavailable(_))));
        assert!(of_last.try_recv().unwrap().is_ok());
        assert_eq!(numbers(&connection), [1, 4]);
    }

    #[test]
    fn a_commit_that_fails_is_told_to_all() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE known (number INTEGER PRIMARY KEY);
                 CREATE TABLE numbers (number INTEGER REFERENCES known
                     DEFERRABLE INITIALLY DEFERRED);",
            )
            .unwrap();
        let (sender, requests) = crossbeam_channel::unbounded();
        let (first, mut of_first) = job(1, || Ok(Ok(())));
        let (second, mut of_second) = job(2, || Ok(Ok(())));
        sender.send(Request::Do(second)).unwrap();
        do_group(&connection, &requests, PATIENCE, first);
        for answer in [&mut of_first, &mut of_second] {
            assert!(matches!(answer.try_recv().unwrap(), Err(ReadSideError::Unavailable(_))));
        }
        assert!(connection.is_autocommit() && numbers(&connection).is_empty());
    }
}
