//! What can go wrong: with a store that is opened, and from PostgreSQL's errors to the
//! contract's.

use std::borrow::Cow;
use std::error::Error as StdError;

use annals_core::{AppendError, Fault, ReadError, SubscriberName};
use sqlx_core::error::{DatabaseError, Error};
use sqlx_postgres::{PgDatabaseError, PgSeverity};

use crate::inline::InlineError;
use crate::schema::InvalidSchemaName;

pub(crate) fn read_error(doing: &'static str, error: Error) -> ReadError {
    if matches!(error, Error::PoolClosed) {
        return ReadError::Closed;
    }
    if is_damage(&error) {
        return ReadError::Corrupt(Fault::because(doing, error));
    }
    ReadError::Unavailable(Fault::because(with_advice(doing, &error), error))
}

/// Of a statement that was sent and not answered by a receipt.
pub(crate) fn append_error(doing: &'static str, error: &Error) -> AppendError {
    match outcome(error) {
        Outcome::Unknown => AppendError::Indeterminate(Fault::because(doing, chain(error))),
        Outcome::Refused => refused(doing, error),
    }
}

/// Of an append that is certainly not stored. The error may have to be told to several callers.
pub(crate) fn refused(doing: &'static str, error: &Error) -> AppendError {
    if matches!(error, Error::PoolClosed) {
        return AppendError::Closed;
    }
    if sqlstate(error) == Some("0A000") {
        let what = "appending at an isolation level other than read committed";
        return AppendError::Unsupported(what);
    }
    if sqlstate(error) == Some("AN003") {
        return AppendError::Unsupported(NOT_INLINE);
    }
    let fault = Fault::because(with_advice(doing, error), chain(error));
    if is_damage(error) { AppendError::Corrupt(fault) } else { AppendError::Unavailable(fault) }
}

fn with_advice(doing: &'static str, error: &Error) -> Cow<'static, str> {
    let advice = match sqlstate(error) {
        Some("26000" | "42P05") => LOST_STATEMENTS,
        Some("55P03") => HELD,
        Some("AN001") => UNSETTLED,
        Some("AN004") => OUTDATED,
        _ => return doing.into(),
    };
    format!("{doing}: {advice}").into()
}

/// A prepared statement that is not there, or there already.
const LOST_STATEMENTS: &str = "a pooler between here and the server mixes up prepared statements; \
     PgBouncer keeps them from version 1.21 on, with max_prepared_statements above 0";
const HELD: &str = "another transaction holds its streams or what its conditions ask for, and does \
     not end; `annals doctor` names it";
const UNSETTLED: &str = "another server has taken over and the log settles there; try the \
     transaction again";

const NOT_INLINE: &str = "appending without the log's inline projections, in the versions that are \
     at work; open the store with all of them";
const OUTDATED: &str = "an inline projection was ended, or is in another version now; open the \
     store anew";

/// What is known about a transaction whose statement failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server has rolled it back.
    Refused,
    /// It may have been committed.
    Unknown,
}

/// An error that the server sends for a statement is sent before the commit. When the session
/// ends (`FATAL`) or the connection does, the commit may have happened.
pub(crate) fn outcome(error: &Error) -> Outcome {
    match error {
        Error::Database(error) => {
            let severity = postgres(error.as_ref()).map(PgDatabaseError::severity);
            match severity {
                Some(PgSeverity::Fatal | PgSeverity::Panic) => Outcome::Unknown,
                _ => Outcome::Refused,
            }
        }
        Error::Encode(_) | Error::PoolTimedOut | Error::PoolClosed => Outcome::Refused,
        _ => Outcome::Unknown,
    }
}

/// Whether the log must settle on its server before anything is appended to it.
pub(crate) fn is_unsettled(error: &Error) -> bool {
    sqlstate(error) == Some("AN001")
}

/// Whether others hold what the append must lock, and have done so for longer than it may wait.
pub(crate) fn is_held(error: &Error) -> bool {
    sqlstate(error) == Some("55P03")
}

/// Whether the server ended a deadlock with this transaction; the others have gone on.
pub(crate) fn is_deadlock(error: &Error) -> bool {
    sqlstate(error) == Some("40P01")
}

/// Whether the failure may be that of a single append: its values, its size, its ids.
pub(crate) fn is_of_one(error: &Error) -> bool {
    sqlstate(error).is_some_and(|code| {
        ["22", "23", "53200", "54", "XX"].iter().any(|class| code.starts_with(class))
    })
}

/// Whether the session is one with a standby: of a statement that writes, or of a question that
/// only makes sense on a primary.
pub(crate) fn is_of_other_server(error: &Error) -> bool {
    matches!(sqlstate(error), Some("25006" | "55000"))
}

/// Whether the session is gone, or is one with a server that lacks what was there before; whoever
/// only reads may try again with another one.
pub(crate) fn is_connection_lost(error: &Error) -> bool {
    match error {
        other if sqlstate(other) == Some("AN002") => true,
        Error::Io(_) | Error::Protocol(_) => true,
        other => matches!(other, Error::Database(_)) && outcome(other) == Outcome::Unknown,
    }
}

/// Whether the event ids of an append met those of another one that was under way.
pub(crate) fn is_id_taken(error: &Error) -> bool {
    matches!(error, Error::Database(error) if error.constraint().is_some_and(is_of_ids))
}

/// The log's own constraint, or in a partitioned log that of a partition or of the table of ids.
fn is_of_ids(constraint: &str) -> bool {
    let partition = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    matches!(constraint, "events_id_key" | "ids_pkey")
        || constraint
            .strip_prefix("events_")
            .and_then(|rest| rest.strip_suffix("_id_key"))
            .is_some_and(partition)
}

/// Whether a partitioned log has no partition for what was to be stored: others went on without
/// making one ahead. It helps to make one and try again.
pub(crate) fn is_partition_missing(error: &Error) -> bool {
    sqlstate(error) == Some("23514")
        && matches!(error, Error::Database(error)
                    if matches!(error.constraint(), None | Some("events_before_origin")))
}

/// Whether the database holds what no undamaged store can hold.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::ColumnDecode { .. } | Error::Decode(_) | Error::RowNotFound => true,
        other => sqlstate(other).is_some_and(|code| {
            // Corrupted data or index, or a stream that has a version twice.
            code.starts_with("XX00") || (code == "23505" && !is_id_taken(other))
        }),
    }
}

pub(crate) fn sqlstate(error: &Error) -> Option<&str> {
    match error {
        Error::Database(error) => code(error.as_ref()),
        _ => None,
    }
}

pub(crate) fn code(error: &dyn DatabaseError) -> Option<&str> {
    postgres(error).map(PgDatabaseError::code)
}

fn postgres(error: &dyn DatabaseError) -> Option<&PgDatabaseError> {
    error.try_downcast_ref()
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The server cannot be reached, or refuses the connection.
    #[error("cannot connect to PostgreSQL; check the address, the user and the password")]
    Connect(#[source] Error),
    /// The database has another encoding than UTF-8.
    #[error("the database's encoding is {found}; create one with ENCODING 'UTF8'")]
    Encoding {
        /// Its encoding.
        found: String,
    },
    /// An inline projection could not be brought to the end of the log.
    #[error("the inline projection {by} cannot be brought to the end of the log")]
    Inline {
        /// Which one.
        by: SubscriberName,
        /// Why.
        #[source]
        source: InlineError,
    },
    /// The limits allow more than this store can do.
    #[error("append_events_max is {given}; a PostgreSQL store can do at most {max}")]
    Limits {
        /// What was asked for.
        given: usize,
        /// The most that is possible.
        max: usize,
    },
    /// The tables are not there, and this store was not to make them.
    #[error("the schema {schema} has no tables of Annals; run `annals migrate` first")]
    NotMigrated {
        /// The schema.
        schema: String,
    },
    /// The server replays another one's log.
    #[error(
        "the server is a replica; connect to the primary, and give the replica as an option to \
         read from"
    )]
    Replica,
    /// The name of the schema is not valid.
    #[error(transparent)]
    Schema(#[from] InvalidSchemaName),
    /// The log was restored without its sequence: positions would be given out again.
    #[error(
        "the log ends at position {newest}, but its sequence {sequence} is at {given_out} and \
         would give positions out again; it was restored without its sequence. Run: \
         SELECT setval('{sequence}', {needed})"
    )]
    SequenceBehind {
        /// The last position of the log.
        newest: i64,
        /// The sequence.
        sequence: String,
        /// Where it is.
        given_out: i64,
        /// Where it must be at least.
        needed: i64,
    },
    /// A statement failed.
    #[error("cannot prepare the store")]
    Sql(#[from] Error),
    /// A newer version of this crate has changed the tables.
    #[error("the store has schema version {found}, this build knows {known}; use a newer build")]
    TooNew {
        /// The version in the database.
        found: i32,
        /// The newest version this build knows.
        known: i32,
    },
    /// The tables are those of an older version of this crate, and this store was not to change
    /// them.
    #[error(
        "the schema {schema} has version {found}, this build needs {needed}; run `annals migrate` \
         first"
    )]
    TooOld {
        /// The schema.
        schema: String,
        /// The version in the database.
        found: i32,
        /// The version this build needs.
        needed: i32,
    },
    /// The server is too old.
    #[error("the server is PostgreSQL {found}; version 15 or newer is needed")]
    Version {
        /// Its version.
        found: String,
    },
}

/// An error's text and its sources, for errors that must be told to several callers.
pub(crate) fn chain(error: &dyn StdError) -> String {
    annals_core::error::Chain(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_by_one_constraint_or_another() {
        for name in ["events_id_key", "ids_pkey", "events_0_id_key", "events_4711_id_key"] {
            assert!(is_of_ids(name), "{name}");
        }
        for name in ["events_stream_version_key", "events_7_pkey", "events__id_key", "users_id_key"]
        {
            assert!(!is_of_ids(name), "{name}");
        }
    }
}
