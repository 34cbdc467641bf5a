//! The read side: what is derived from a log, in an SQLite file.

mod checkpoint;
mod deleting;
mod delivery;
mod rows;
pub(crate) mod schema;
pub(crate) mod subscriber;
mod writer;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use annals_core::{Fault, Limits, ReadSideError};
use crossbeam_channel::Sender;
use rusqlite::{Connection, Result};
use tokio::sync::{Semaphore, oneshot};

use crate::connection::{Role, connect};
use crate::fault::{OpenError, read_side_error};
use crate::open::BUSY_TIMEOUT_MAX;
use crate::reader::{Reader, Readers};
pub(crate) use checkpoint::{advance, enrol, put_in_place};
pub(crate) use rows::{sweep, value_of, write_rows};
use schema::READ_SIDE;
use writer::{Request, Work};

/// The most jobs that wait for the writer; further callers wait before they ask.
const QUEUE_JOBS_MAX: usize = 1_024;

/// What is derived from a log, in an SQLite file: that of the log itself, or any other one.
/// Clones share it.
///
/// It keeps checkpoints ([`CheckpointStore`]), rows ([`RowStore`]), deliveries
/// ([`DeliveryQueue`]), and the tables of [projections in SQL](Self::projection). Several
/// processes may use the file at once. Threads of its own do the work, so it can be used from any
/// async runtime; what was asked for is done also when nobody waits for it any more.
///
/// A commit is not synced (`synchronous = NORMAL`): when the power fails, the newest ones may be
/// lost. Rows are lost together with the checkpoint behind them, so that their events are applied
/// again and each still exactly once. A delivery that was settled may be made again, which is what
/// "at least once" allows. `kill -9` loses nothing.
///
/// ```
/// use annals_core::{CheckpointStore, Enrol, OnNewVersion, Position, Timestamp};
/// use annals_sqlite::SqliteReadSide;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("annals.db");
/// let read_side = SqliteReadSide::open(&path)?;
/// let balances = read_side
///     .enrol(Enrol {
///         subscriber: "balances".parse()?,
///         version: 1,
///         partitions: 2,
///         after: Position::START,
///         on_new_version: OnNewVersion::Refuse,
///         now: Timestamp::EPOCH,
///     })
///     .await?;
/// assert_eq!(balances.active().map(|active| active.partitions.len()), Some(2));
/// # Ok(()) }
/// ```
///
/// [`CheckpointStore`]: annals_core::CheckpointStore
/// [`RowStore`]: annals_core::RowStore
/// [`DeliveryQueue`]: annals_core::DeliveryQueue
#[derive(Debug, Clone)]
pub struct SqliteReadSide {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    readers: Readers,
    writer: Sender<Request>,
    /// One permit for each job that waits.
    queue: Semaphore,
}

impl SqliteReadSide {
    /// Opens a file with the default options, creating it when it does not exist.
    ///
    /// # Errors
    /// As [`ReadSideOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::options().open(path)
    }

    /// Options for opening a file.
    pub fn options() -> ReadSideOptions {
        ReadSideOptions::new()
    }

    /// Does everything that was asked for, then stops writing: what is asked for later is
    /// answered with [`ReadSideError::Closed`]. Reads still work as long as somebody holds it.
    /// Dropping the last clone does the same without waiting for it.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.shared.writer.send(Request::Close(done)).is_ok() {
            // An error means that the writer had stopped before.
            let _ = closed.await;
        }
    }

    fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Has the writer do something in a transaction: all of it is kept, or nothing when it fails.
    pub(crate) async fn write<T, E>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> Result<std::result::Result<T, E>> + Send + 'static,
    ) -> std::result::Result<T, E>
    where
        T: Send + 'static,
        E: From<ReadSideError> + Send + 'static,
    {
        let room = self.shared.queue.acquire().await;
        let _room = room.map_err(|_| ReadSideError::Closed)?;
        let (caller, answered) = oneshot::channel();
        let job = Work { doing, work: Some(work), outcome: None, caller };
        let sent = self.shared.writer.send(Request::Do(Box::new(job)));
        sent.map_err(|_| ReadSideError::Closed)?;
        answered.await.unwrap_or_else(|_| Err(ReadSideError::Closed.into()))
    }

    /// Has a reader look something up, as it is at one moment.
    async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        look_up: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, ReadSideError> {
        let job = move |reader: &mut Reader| {
            reader.at_once(|error| error, |reader| look_up(&reader.connection))
        };
        match self.shared.readers.start_job(job).await {
            Ok(found) => found.map_err(|error| read_side_error(doing, error)),
            Err(_) => {
                let fault = Fault::new("reading: the reading thread has stopped");
                Err(ReadSideError::Unavailable(fault))
            }
        }
    }
}

/// How to open a read side. Start from [`SqliteReadSide::options`].
///
/// ```
/// use std::time::Duration;
///
/// use annals_sqlite::SqliteReadSide;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("derived.db");
/// let read_side =
///     SqliteReadSide::options().readers(2).busy_timeout(Duration::from_secs(30)).open(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing until `open` is called"]
pub struct ReadSideOptions {
    limits: Limits,
    readers: NonZeroUsize,
    busy_timeout: Duration,
}

impl ReadSideOptions {
    fn new() -> Self {
        Self {
            limits: Limits::DEFAULT,
            readers: NonZeroUsize::new(2).expect("2 is not 0"),
            busy_timeout: Duration::from_secs(10),
        }
    }

    /// What is accepted; [`Limits::DEFAULT`] by default. A row has
    /// [`snapshot_bytes_max`](Limits::snapshot_bytes_max) at most.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How many threads read, at least one; 2 by default. Each holds a connection with 4 MiB of
    /// cache.
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = NonZeroUsize::new(readers).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// How long to wait while another connection holds the file's write lock, a store that
    /// appends for example, before answering `Unavailable`; 10 seconds by default.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Opens the file, creating it when it does not exist, and starts the threads.
    ///
    /// The file may be open elsewhere, and may hold a log and the application's own tables.
    ///
    /// # Errors
    /// [`OpenError`], when the file is not a database, or was written by a newer version of this
    /// crate.
    pub fn open(self, path: impl AsRef<Path>) -> Result<SqliteReadSide, OpenError> {
        let path = path.as_ref();
        let patience = self.busy_timeout.min(BUSY_TIMEOUT_MAX);
        let mut writer = connect(path, Role::ReadSide, patience)?;
        READ_SIDE.migrate(&mut writer)?;
        let readers = (0..self.readers.get())
            .map(|_| connect(path, Role::Reader, patience))
            .collect::<Result<_, _>>()?;
        let shared = Shared {
            limits: self.limits,
            readers: Readers::start(readers).map_err(OpenError::Thread)?,
            writer: writer::start(writer, patience).map_err(OpenError::Thread)?,
            queue: Semaphore::new(QUEUE_JOBS_MAX),
        };
        Ok(SqliteReadSide { shared: Arc::new(shared) })
    }
}

/// A count as SQLite keeps it.
pub(crate) fn stored_count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A number of rows as SQLite counts them.
fn stored_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
