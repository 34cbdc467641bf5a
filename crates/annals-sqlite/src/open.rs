//! Opening a store: its options.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use annals_core::{Clock, Limits, SystemClock};

use crate::SqliteStore;
use crate::check::{Check, check};
use crate::connection::{Role, connect, sync_recovered};
use crate::fault::OpenError;
use crate::inline::{Hooks, Inline, catch_up};
use crate::read_side::schema::READ_SIDE;
use crate::schema::EVENTS;

/// SQLite counts milliseconds in 31 bits.
pub(crate) const BUSY_TIMEOUT_MAX: Duration = Duration::from_millis(i32::MAX as u64);

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
    pub(crate) inline: Vec<Inline>,
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
            inline: Vec::new(),
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

    /// Runs something inside the transaction of every append: see [`Inline`]. What was named first
    /// runs first.
    ///
    /// Opening takes as long as a projection needs to catch up with what is in the log; the file
    /// can be used meanwhile.
    pub fn inline(mut self, inline: Inline) -> Self {
        self.inline.push(inline);
        self
    }

    /// Opens the file, creating it when it does not exist, and starts the store's threads.
    ///
    /// The file may be open in other processes, and may hold the application's own tables.
    /// Blocks for some milliseconds, longer for [`Check::Full`].
    ///
    /// # Errors
    /// [`OpenError`], when the file is not a database, is damaged, or was written by a newer
    /// version of this crate, or when a projection cannot apply what is in the log.
    pub fn open(self, path: impl AsRef<Path>) -> Result<SqliteStore, OpenError> {
        let path = path.as_ref();
        let mut writer = connect(path, Role::Writer, self.patience())?;
        sync_recovered(&writer)?;
        EVENTS.migrate(&mut writer)?;
        check(&writer, self.check)?;
        if let Some(hooks) = Hooks::new(&self.inline, &self.limits) {
            READ_SIDE.migrate(&mut writer)?;
            writer.set_prepared_statement_cache_capacity(256);
            catch_up(&writer, &hooks, self.clock.now())
                .map_err(|veto| OpenError::Inline { by: veto.by, source: veto.source })?;
        }
        let readers = (0..self.readers.get())
            .map(|_| connect(path, Role::Reader, self.patience()))
            .collect::<Result<_, _>>()?;
        SqliteStore::start(self, writer, readers)
    }

    /// As much of the timeout as SQLite can count.
    pub(crate) fn patience(&self) -> Duration {
        self.busy_timeout.min(BUSY_TIMEOUT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use annals_core::{
        AppendError, Data, EventId, EventStoreExt, EventType, ExpectedVersion, Fingerprint,
        NewEvent, Query, RecordedEvent, Snapshot, SnapshotError, SnapshotStore, StreamId,
        SubscriberName, Timestamp, Version,
    };
    use rusqlite::{Connection, StatementStatus};

    use super::*;
    use crate::{Inline, SqliteReactor};

    /// A full file is no reason to stop: what fits is stored, what does not is refused.
    #[tokio::test]
    async fn a_full_disk_refuses_what_does_not_fit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("annals.db");
        let options = Options::new();
        let mut writer = connect(&path, Role::Writer, options.patience()).unwrap();
        EVENTS.migrate(&mut writer).unwrap();
        writer.pragma_update(None, "max_page_count", 40).unwrap();
        let reader = connect(&path, Role::Reader, options.patience()).unwrap();
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

    /// When it is full while something that runs inline writes, SQLite ends the transaction by itself.
    #[tokio::test]
    async fn a_disk_that_is_full_for_what_runs_inline_refuses_the_append_and_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("annals.db");
        let options = Options::new().inline(Inline::reactor(Hoarder("hoarder".parse().unwrap())));
        let mut writer = connect(&path, Role::Writer, options.patience()).unwrap();
        EVENTS.migrate(&mut writer).unwrap();
        writer.execute_batch("CREATE TABLE hoard (bytes BLOB)").unwrap();
        writer.pragma_update(None, "max_page_count", 60).unwrap();
        let reader = connect(&path, Role::Reader, options.patience()).unwrap();
        let store = SqliteStore::start(options, writer, vec![reader]).unwrap();
        let append = |bytes: usize| {
            let filled =
                NewEvent::new(EventType::from_static("Filled"), Data::json(bytes.to_string()));
            store.append_to(StreamId::from_static("a-1"), ExpectedVersion::Any, [filled])
        };
        append(10).await.unwrap();
        for _ in 0..2 {
            let error = append(1_000_000).await.unwrap_err();
            assert!(matches!(error, AppendError::Unavailable(_)), "{error:?}");
        }
        append(10).await.unwrap();
        assert_eq!(store.version_of(StreamId::from_static("a-1")).await.unwrap().get(), 2);
    }

    /// Stores as many bytes as an event says.
    #[derive(Debug)]
    struct Hoarder(SubscriberName);

    impl SqliteReactor for Hoarder {
        fn name(&self) -> &SubscriberName {
            &self.0
        }

        fn query(&self) -> Query {
            Query::all()
        }

        fn react(
            &self,
            transaction: &Connection,
            event: &RecordedEvent,
        ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            let bytes: i64 = std::str::from_utf8(&event.data.bytes)?.parse()?;
            transaction.execute("INSERT INTO hoard VALUES (zeroblob(?1))", [bytes])?;
            Ok(())
        }
    }

    /// SQLite silently prepares a statement again when it suspects that the values bound would
    /// change its plan, which costs more than running it.
    #[test]
    fn statements_are_prepared_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("annals.db");
        let mut connection = connect(&path, Role::Writer, Duration::ZERO).unwrap();
        EVENTS.migrate(&mut connection).unwrap();
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
