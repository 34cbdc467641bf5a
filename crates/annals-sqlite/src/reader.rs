//! The threads that read, each with a connection of its own.

use annals_core::{Fault, ReadError};
use crossbeam_channel::{Receiver, Sender};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::row::TypeNames;

/// What a reading thread has at hand.
pub(crate) struct Reader {
    pub(crate) connection: Connection,
    pub(crate) type_names: TypeNames,
}

impl Reader {
    /// Reads in one transaction what takes several statements, so that all of them see the file as
    /// it was at one moment. By itself, each of them would also lock and unlock the file, which
    /// costs more than finding a row.
    pub(crate) fn at_once<T, E>(
        &mut self,
        failed: impl Fn(rusqlite::Error) -> E,
        read: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.connection.prepare_cached("BEGIN").and_then(|mut s| s.execute([])).map_err(&failed)?;
        let outcome = read(self);
        // Nothing was written, so there is nothing that this could undo.
        let ended = self.connection.prepare_cached("ROLLBACK").and_then(|mut s| s.execute([]));
        let outcome = outcome?;
        ended.map_err(failed)?;
        Ok(outcome)
    }
}

type Job = Box<dyn FnOnce(&mut Reader) + Send>;

/// Hands jobs to the reading threads, which end with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct Readers {
    jobs: Sender<Job>,
}

impl Readers {
    pub(crate) fn start(connections: Vec<Connection>) -> std::io::Result<Self> {
        let (jobs, queue) = crossbeam_channel::unbounded::<Job>();
        for connection in connections {
            let queue = queue.clone();
            std::thread::Builder::new()
                .name("annals-reader".into())
                .spawn(move || work(connection, &queue))?;
        }
        Ok(Self { jobs })
    }

    /// Starts a job. Its answer arrives also when nobody polls in the meantime; a job whose
    /// answer nobody waits for is done in vain, but is short.
    pub(crate) fn start_job<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Reader) -> T + Send + 'static,
    ) -> Answer<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |reader| {
            if !answer.is_closed() {
                let _ = answer.send(job(reader));
            }
        });
        // Should the threads be gone, the answer's other half is dropped here, which the
        // waiting side notices.
        let _ = self.jobs.send(job);
        answered
    }

    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        self.start_job(job).await.unwrap_or_else(|_| Err(lost()))
    }
}

pub(crate) type Answer<T> = oneshot::Receiver<T>;

/// What to say when a job ended without an answer: its thread panicked.
pub(crate) fn lost() -> ReadError {
    ReadError::Unavailable(Fault::new("reading: the reading thread has stopped"))
}

fn work(connection: Connection, queue: &Receiver<Job>) {
    let mut reader = Reader { connection, type_names: TypeNames::default() };
    while let Ok(job) = queue.recv() {
        job(&mut reader);
    }
}
