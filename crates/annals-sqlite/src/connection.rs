//! Connections to a file, of the store and of the read side.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::fault::OpenError;

/// How often to try again for a write-ahead log.
const WAL_RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Reading whatever is in the file.
    Reader,
    /// Writing what is derived from a log.
    ReadSide,
    /// Writing the log.
    Writer,
}

impl Role {
    /// `synchronous = FULL` is what makes an acknowledged append survive power loss (S2). What is
    /// derived can be derived again, and is not worth an fsync each time; its checkpoints are lost
    /// along with it.
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
            Self::ReadSide => {
                "PRAGMA synchronous = NORMAL;
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

impl Role {
    /// How many statements are kept prepared: an application's own have room beside those of the
    /// read side.
    fn statements(self) -> usize {
        match self {
            Self::ReadSide => 256,
            Self::Reader | Self::Writer => 64,
        }
    }
}

/// Opens a file, creating it when it is to be written and does not exist.
pub(crate) fn connect(
    path: &Path,
    role: Role,
    patience: Duration,
) -> Result<Connection, OpenError> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if role != Role::Reader {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    connection.busy_timeout(patience)?;
    // Plans that depend on bound values would be made anew for each value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(role.statements());
    if role != Role::Reader && !uses_wal(&connection, patience)? {
        return Err(OpenError::NoWal { path: path.to_owned() });
    }
    connection.execute_batch(role.pragmas())?;
    Ok(connection)
}

/// Switches the file to a write-ahead log; whether it could be.
///
/// SQLite does not wait when others use a file that has none yet, so this does.
fn uses_wal(connection: &Connection, patience: Duration) -> Result<bool, OpenError> {
    let deadline = Instant::now() + patience;
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

/// Makes durable what a process that died had written but perhaps not synced (S2).
///
/// Its last transaction may be found in the write-ahead log, and yet only in the memory of the
/// operating system; whoever repeats that append gets a receipt. Folding the log into the file
/// syncs both. Where another process is at work, it did so when it opened the file.
pub(crate) fn sync_recovered(connection: &Connection) -> Result<(), OpenError> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    Ok(())
}
