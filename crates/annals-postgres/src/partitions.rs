//! A very large log in several tables: split by position, once and by choice.
//!
//! Every partition stays attached, so the guarantees stay as they are: whatever is asked of the
//! log is asked of all of it. What changes is that old partitions can be frozen, and moved to
//! other disks, on their own. See `docs/decisions/0006-partitions-stay-attached.md`.

mod ahead;
mod archive;
mod convert;

use std::fmt;
use std::str::FromStr;

use annals_core::Position;
use sqlx_core::error::Error;
use sqlx_core::query_as::query_as;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::{PgConnection, Postgres};

pub(crate) use ahead::Ahead;

use crate::PostgresStore;
use crate::fault::sqlstate;
use crate::number::position;
use crate::schema::SchemaName;

/// The name of a partition: `events_` and a number, 0 for what was there before the log was
/// partitioned. No name can carry SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionName(u64);

/// A text that cannot name a partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot name a partition; they are named like events_0: see `annals partitions`")]
pub struct InvalidPartitionName(String);

impl PartitionName {
    /// A statement for this partition: `{partition}` becomes its name.
    fn statement(self, template: &str) -> String {
        template.replace("{partition}", &self.to_string())
    }

    fn number(self) -> i64 {
        self.0.cast_signed()
    }
}

impl FromStr for PartitionName {
    type Err = InvalidPartitionName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let number = name.strip_prefix("events_").and_then(|number| number.parse().ok());
        let parsed = number.map(Self).filter(|parsed| parsed.to_string() == name);
        parsed.ok_or_else(|| InvalidPartitionName(name.to_owned()))
    }
}

impl fmt::Display for PartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "events_{}", self.0)
    }
}

/// A part of the log with a table of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partition {
    /// The name of its table, in the store's schema.
    pub name: PartitionName,
    /// Its events are those behind this position …
    pub after: Position,
    /// … up to this one.
    pub up_to: Position,
    /// About how many events it has, as the server knows them from the last `ANALYZE`.
    pub events: u64,
    /// How much room it takes, with its indexes.
    pub bytes: u64,
    /// Whether the log has left it behind: no event will ever be added to it.
    pub is_closed: bool,
    /// The tablespace its table is in.
    pub tablespace: String,
}

/// Why a log was not partitioned, or a partition not archived.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartitionError {
    /// The log is partitioned already, or about to be, in another way.
    #[error("the log is partitioned already, every {every} groups; that cannot be changed")]
    Already {
        /// How many groups each partition has.
        every: u64,
    },
    /// Somebody else uses the log without a pause.
    #[error(
        "a transaction that has used the log stays open; end it, and then do this again: `annals \
         doctor` names it"
    )]
    Busy(#[source] Error),
    /// Something depends on the table of events that would be lost.
    #[error("{what} would be lost; drop it, and make it again afterwards if it is still needed")]
    InTheWay {
        /// What it is.
        what: String,
    },
    /// There is no such partition.
    #[error("there is no partition {name}; `annals partitions` shows which there are")]
    NotFound {
        /// The name that was given.
        name: PartitionName,
    },
    /// The log is one table.
    #[error("the log is not partitioned; `annals partitions start` does that")]
    NotPartitioned,
    /// Events can still be added to the partition.
    #[error("the partition {name} is open: events up to position {up_to} will be added to it")]
    Open {
        /// Its name.
        name: PartitionName,
        /// Its last position.
        up_to: Position,
    },
    /// A statement failed.
    #[error("the server refused a statement")]
    Sql(#[source] Error),
    /// More groups than there will ever be.
    #[error("a partition can have at most {max} groups")]
    TooLarge {
        /// The most that are possible.
        max: u64,
    },
}

impl From<Error> for PartitionError {
    fn from(error: Error) -> Self {
        match sqlstate(&error) {
            // Lock not available, deadlock.
            Some("55P03" | "40P01") => Self::Busy(error),
            _ => Self::Sql(error),
        }
    }
}

impl PostgresStore {
    /// The partitions of the log, the oldest first; none when it is one table. The last ones are
    /// empty: they are made ahead.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn partitions(&self) -> Result<Vec<Partition>, PartitionError> {
        let mut connection = self.pool().acquire().await?;
        match is_partitioned(&mut connection, self.schema()).await? {
            true => partitions(&mut connection, self.schema()).await,
            false => Ok(Vec::new()),
        }
    }

    /// Makes sure that the log has a partition for what comes next, and two more behind it. Stores
    /// do this by themselves, when they are opened and whenever the log enters the next partition;
    /// it is needed only where they lack the right.
    ///
    /// # Errors
    /// [`PartitionError::NotPartitioned`], or when the server refuses.
    pub async fn extend_partitions(&self) -> Result<(), PartitionError> {
        match self.shared().ahead.extend().await? {
            true => Ok(()),
            false => Err(PartitionError::NotPartitioned),
        }
    }
}

async fn is_partitioned(connection: &mut PgConnection, schema: &SchemaName) -> Result<bool, Error> {
    let select = "SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = '{schema}.events'::regclass";
    query_scalar(schema.statement(select)).fetch_one(connection).await
}

async fn partitions(
    connection: &mut PgConnection,
    schema: &SchemaName,
) -> Result<Vec<Partition>, PartitionError> {
    type Row = (i64, i64, i64, bool, i64, i64, String);
    let select = "SELECT number, low, high, closed, events, bytes, tablespace
                  FROM {schema}.partitions()";
    let rows = query_as::<Postgres, Row>(schema.statement(select)).fetch_all(connection).await?;
    let partition = |(number, low, high, is_closed, events, bytes, tablespace): Row| Partition {
        name: PartitionName(number.unsigned_abs()),
        after: position((low - 1).max(0)),
        up_to: position(high),
        events: events.unsigned_abs(),
        bytes: bytes.unsigned_abs(),
        is_closed,
        tablespace,
    };
    Ok(rows.into_iter().map(partition).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_partitions_carry_no_sql() {
        assert_eq!("events_12".parse::<PartitionName>().unwrap().to_string(), "events_12");
        for name in ["", "events", "events_", "events_01", "events_+1", "events_1;", "tags"] {
            let error = name.parse::<PartitionName>().unwrap_err();
            assert!(error.to_string().contains("events_0"), "{error}");
        }
    }
}
