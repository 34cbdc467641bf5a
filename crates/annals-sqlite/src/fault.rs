//! From SQLite's errors to the contract's groups.

use annals_core::{AppendError, Fault, ReadError};
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
