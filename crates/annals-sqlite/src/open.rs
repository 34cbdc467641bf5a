//! Opening a store: its options and its connections.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_core::{Clock, Limits, SystemClock};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::check::{Check, check};
use crate::fault::OpenError;
use crate::{SqliteStore, schema};

/// SQLite counts milliseconds in 31 bits.
const BUSY_TIMEOUT_MAX: Duration = Duration::from_millis(i32::MAX as u64);
/// How often to try again for a write-ahead log.
const WAL_RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// How to open a store. Start from [`SqliteStore::options`].
///
/// ```
/// use annals_sqlite::{Check, SqliteStore};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("annals.db");
/// let store = SqliteStore::options().readers(2).check(Check::Full).open(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing until `open` is called"]
pub struct Options {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    readers: NonZeroUsize,
    busy_timeout: Duration,
    check: Check,
}

impl Options {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        Self {
            clock: Arc::new(SystemClock),
            limits: Limits::DEFAULT,
            readers: NonZeroUsize::new(cores.clamp(2, 8)).expect("at least 2"),
            busy_timeout: Duration::from_secs(5),
            check: Check::Tail,
        }
    }

    /// Where `recorded_at` comes from; the machine's clock by default.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What the store accepts; [`Limits::DEFAULT`] by default.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How many threads read, at least one; as many as the machine has cores by default,
    /// between 2 and 8. Each holds a connection with 4 MiB of cache.
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = NonZeroUsize::new(readers).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// How long an append waits while another process holds the file's write lock before it
    /// answers `Unavailable`; 5 seconds by default.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How thoroughly the file is checked first; [`Check::Tail`] by default.
    pub fn check(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    /// Opens the file, creating it when it does not exist, and starts the store's threads.
    ///
    /// The file may be open in other processes, and may hold the application's own tables.
    /// Blocks for some milliseconds, longer for [`Check::Full`].
    ///
    /// # Errors
    /// [`OpenError`], when the file is not a database, is damaged, or was written by a newer
    /// version of this crate.
    pub fn open(self, path: impl AsRef<Path>) -> Result<SqliteStore, OpenError> {
        let path = path.as_ref();
        let mut writer = self.connect(path, Role::Writer)?;
        sync_recovered(&writer)?;
        schema::migrate(&mut writer)?;
        check(&writer, self.check)?;
        let readers = (0..self.readers.get())
            .map(|_| self.connect(path, Role::Reader))
            .collect::<Result<_, _>>()?;
        SqliteStore::start(self, writer, readers)
    }

    fn connect(&self, path: &Path, role: Role) -> Result<Connection, OpenError> {
        let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if role == Role::Writer {
            flags |= OpenFlags::SQLITE_OPEN_CREATE;
        }
        let connection = Connection::open_with_flags(path, flags)
            .map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        connection.busy_timeout(self.patience())?;
        // Plans that depend on bound values would be made anew for each value.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.set_prepared_statement_cache_capacity(64);
        if role == Role::Writer && !self.uses_wal(&connection)? {
            return Err(OpenError::NoWal { path: path.to_owned() });
        }
        connection.execute_batch(role.pragmas())?;
        Ok(connection)
    }

    /// As much of the timeout as SQLite can count.
    pub(crate) fn patience(&self) -> Duration {
        self.busy_timeout.min(BUSY_TIMEOUT_MAX)
    }

    /// Switches the file to a write-ahead log; whether it could be.
    ///
    /// SQLite does not wait when others use a file that has none yet, so this does.
    fn uses_wal(&self, connection: &Connection) -> Result<bool, OpenError> {
        let deadline = Instant::now() + self.patience();
        loop {
            let mode: Result<String, _> =
                connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
            match mode {
                Ok(mode) => return Ok(mode == "wal"),
                Err(error)
                    if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                        && Instant::now() < deadline =>
                {
                    std::thread::park_timeout(WAL_RETRY_INTERVAL);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Makes durable what a process that died had written but perhaps not synced (S2).
///
/// Its last transaction may be found in the write-ahead log, and yet only in the memory of the
/// operating system; whoever repeats that append gets a receipt. Folding the log into the file
/// syncs both. Where another process is at work, it did so when it opened the file.
fn sync_recovered(connection: &Connection) -> Result<(), OpenError> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Reader,
    Writer,
}

impl Role {
    /// `synchronous = FULL` is what makes an acknowledged append survive power loss (S2).
    ///
    /// The write-ahead log is folded into the file once it has 8192 pages (32 MiB): rarely
    /// enough that few appends meet it, often enough that the file stays short.
    fn pragmas(self) -> &'static str {
        match self {
            Self::Writer => {
                "PRAGMA synchronous = FULL;
                 PRAGMA wal_autocheckpoint = 8192;
                 PRAGMA cache_size = -24576;
                 PRAGMA temp_store = MEMORY;
                 PRAGMA trusted_schema = OFF;"
            }
            Self::Reader => {
                "PRAGMA query_only = ON;
                 PRAGMA cache_size = -4096;
                 PRAGMA temp_store = MEMORY;
                 PRAGMA trusted_schema = OFF;"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use annals_core::{
        AppendError, Data, EventId, EventStoreExt, EventType, ExpectedVersion, Fingerprint,
        NewEvent, Snapshot, SnapshotError, SnapshotStore, StreamId, Timestamp, Version,
    };
    use rusqlite::StatementStatus;

    use super::*;

    /// A full file is no reason to stop: what fits is stored, what does not is refused.
    #[tokio::test]
    async fn a_full_disk_refuses_what_does_not_fit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("annals.db");
        let options = Options::new();
        let mut writer = options.connect(&path, Role::Writer).unwrap();
        schema::migrate(&mut writer).unwrap();
        writer.pragma_update(None, "max_page_count", 40).unwrap();
        let reader = options.connect(&path, Role::Reader).unwrap();
        let store = SqliteStore::start(options, writer, vec![reader]).unwrap();

        let append = |bytes: usize| {
            let event =
                NewEvent::new(EventType::from_static("Filled"), Data::json(vec![b' '; bytes]));
            store.append_to(StreamId::from_static("a-1"), ExpectedVersion::Any, [event])
        };
        append(10).await.unwrap();
        let error = append(1_000_000).await.unwrap_err();
        assert!(matches!(error, AppendError::Unavailable(_)), "{error:?}");
        let snapshot = |bytes: usize| Snapshot {
            stream: StreamId::from_static("a-1"),
            fold: Fingerprint::from_static("f"),
            version: Version::FIRST,
            last_event: EventId::from_bytes([1; 16]),
            taken_at: Timestamp::EPOCH,
            state: vec![b' '; bytes].into(),
        };
        let error = store.save_snapshot(snapshot(1_000_000)).await.unwrap_err();
        assert!(matches!(error, SnapshotError::Unavailable(_)), "{error:?}");
        append(10).await.unwrap();
        store.save_snapshot(snapshot(10)).await.unwrap();
        assert_eq!(store.version_of(StreamId::from_static("a-1")).await.unwrap().get(), 2);
    }

    /// SQLite silently prepares a statement again when it suspects that the values bound would
    /// change its plan, which costs more than running it.
    #[test]
    fn statements_are_prepared_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("annals.db");
        let mut connection = Options::new().connect(&path, Role::Writer).unwrap();
        schema::migrate(&mut connection).unwrap();
        let select = "SELECT version FROM annals_events WHERE stream = ?1 ORDER BY version DESC
                      LIMIT ?2";
        for stream in ["account-1", "account-2", "account-3"] {
            let mut statement = connection.prepare_cached(select).unwrap();
            assert!(!statement.exists((stream, 1)).unwrap());
        }
        let statement = connection.prepare_cached(select).unwrap();
        assert_eq!(statement.get_status(StatementStatus::Run), 3);
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}
