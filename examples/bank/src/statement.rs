//! Statements: every movement of every account, with the balance after it, in a table that any
//! program can read.
//!
//! The table is made of the log, behind it, and made anew whenever that is wanted. SQLite counts
//! cents up to 2^63: a movement beyond that stops the projection, which says so, and nothing else.

use std::error::Error;
use std::path::Path;

use annals::sqlite::{ProjectionTable, SqliteProjection, SqliteRows, TableName};
use annals::{Apply, Event, EventType, Query, QueryItem, RecordedEvent, SubscriberName};
use rusqlite::{Connection, OpenFlags, Row};

use crate::account::{Account, AccountEvent};

const TABLE: &str = "
    CREATE TABLE {statements} (
        account TEXT NOT NULL,
        version INTEGER NOT NULL,
        moment TEXT NOT NULL,
        what TEXT NOT NULL,
        amount INTEGER NOT NULL,
        balance INTEGER,
        PRIMARY KEY (account, version)
    ) STRICT, WITHOUT ROWID";

/// The projection.
#[derive(Debug)]
pub struct Statements {
    name: SubscriberName,
}

impl Default for Statements {
    fn default() -> Self {
        Self { name: SubscriberName::from_static("statements") }
    }
}

impl SqliteProjection for Statements {
    fn name(&self) -> &SubscriberName {
        &self.name
    }

    fn version(&self) -> u32 {
        1
    }

    fn query(&self) -> Query {
        let types = AccountEvent::SHAPES.iter().map(|shape| EventType::from_static(shape.name));
        Query::of(QueryItem::new().types(types))
    }

    fn tables(&self) -> Vec<ProjectionTable> {
        vec![ProjectionTable::new(TableName::from_static("statements"), TABLE)]
    }

    fn apply(
        &self,
        rows: &SqliteRows<'_>,
        recorded: &RecordedEvent,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let id = recorded.stream.id();
        let last = "SELECT balance FROM {statements} WHERE account = ?1
                    ORDER BY version DESC LIMIT 1";
        let held: Option<Option<i64>> = rows.query_row(last, [id], |row| row.get(0))?;
        let mut account = Account { balance: held.flatten().map(u64::try_from).transpose()? };
        for event in AccountEvent::decode(recorded)? {
            let (what, amount) = match &event {
                AccountEvent::AccountOpened { .. } => ("opened", 0),
                AccountEvent::MoneyDeposited { amount } => ("deposited", i64::try_from(*amount)?),
                AccountEvent::MoneyWithdrawn { amount } => ("withdrew", -i64::try_from(*amount)?),
            };
            account.apply(event);
            let balance = account.balance.map(i64::try_from).transpose()?;
            let version = i64::try_from(recorded.version.get())?;
            let moment = recorded.recorded_at.to_string();
            let insert = "INSERT INTO {statements} VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            rows.execute(insert, (id, version, moment, what, amount, balance))?;
        }
        Ok(())
    }
}

/// A line of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is the row of the table")]
pub struct Movement {
    /// Which event of the account it was.
    pub version: i64,
    /// When it was recorded.
    pub moment: String,
    /// `opened`, `deposited` or `withdrew`.
    pub what: String,
    /// How many cents came in; fewer than 0 when they went out.
    pub amount: i64,
    /// How many cents there were afterwards; none if the account was never opened.
    pub balance: Option<i64>,
}

/// The movements of an account, oldest first. Whoever wants to see their own write waits for the
/// projection before this.
///
/// # Errors
/// When the file cannot be read, or the projection never ran on it.
pub fn movements(file: &Path, account: &str) -> rusqlite::Result<Vec<Movement>> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let select = "SELECT version, moment, what, amount, balance FROM statements
                  WHERE account = ?1 ORDER BY version";
    let mut select = connection.prepare(select)?;
    select.query_map([account], movement)?.collect()
}

fn movement(row: &Row<'_>) -> rusqlite::Result<Movement> {
    Ok(Movement {
        version: row.get("version")?,
        moment: row.get("moment")?,
        what: row.get("what")?,
        amount: row.get("amount")?,
        balance: row.get("balance")?,
    })
}
