//! What can go wrong: with a file that is opened, and from SQLite's errors to the contract's.

use std::path::PathBuf;

use annals_core::{AppendError, Fault, ReadError, ReadSideError, SubscriberName};
use rusqlite::{Error, ErrorCode};

pub(crate) fn read_error(doing: &'static str, error: Error) -> ReadError {
    if is_damage(&error) {
        ReadError::Corrupt(Fault::because(doing, error))
    } else {
        ReadError::Unavailable(Fault::because(doing, error))
    }
}

pub(crate) fn append_error(doing: &'static str, error: Error) -> AppendError {
    read_error(doing, error).into()
}

pub(crate) fn read_side_error(doing: &'static str, error: Error) -> ReadSideError {
    if is_damage(&error) {
        ReadSideError::Corrupt(Fault::because(doing, error))
    } else {
        ReadSideError::Unavailable(Fault::because(doing, error))
    }
}

/// Whether the file holds what no undamaged store can hold.
pub(crate) fn is_damage(error: &Error) -> bool {
    match error {
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::QueryReturnedNoRows
        | Error::Utf8Error(..) => true,
        other => matches!(
            other.sqlite_error_code(),
            Some(
                ErrorCode::ConstraintViolation
                    | ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::TypeMismatch
            )
        ),
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file holds something else than it must.
    #[error("the store is damaged: {0}; restore it from a backup, or ask for help with a copy")]
    Damaged(String),
    /// The file cannot be opened.
    #[error("cannot open {}; check that its directory exists and may be written to", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// A projection that is to run inline cannot apply what the log holds already.
    #[error("{by} cannot catch up with the log; mend it, or open the store without it")]
    Inline {
        /// Which one.
        by: SubscriberName,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file system cannot hold a write-ahead log.
    #[error(
        "{} cannot use a write-ahead log; put it on a local disk, not on a network file system or \
         in memory", path.display()
    )]
    NoWal {
        /// The file.
        path: PathBuf,
    },
    /// The file is no SQLite database.
    #[error("the file is not an SQLite database; choose another path")]
    NotADatabase,
    /// SQLite failed.
    #[error("cannot prepare the store")]
    Sqlite(#[source] Error),
    /// A thread could not be started.
    #[error("cannot start the store's threads")]
    Thread(#[source] std::io::Error),
    /// A newer version of this crate has changed the tables.
    #[error("the store has schema version {found}, this build knows {known}; use a newer build")]
    TooNew {
        /// The version in the file.
        found: usize,
        /// The newest version this build knows.
        known: usize,
    },
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotADatabase,
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged(error.to_string()),
            _ => Self::Sqlite(error),
        }
    }
}
