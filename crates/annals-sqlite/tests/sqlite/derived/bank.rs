//! Accounts with money on them, projected in SQL and to rows.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use annals_core::{
    Append, Data, EventType, ExpectedVersion, NewEvent, PoisonEvent, Query, QueryItem,
    RecordedEvent, RowFold, RowKey, StreamId, SubscriberName,
};
use annals_sqlite::{ProjectionTable, SqliteProjection, SqliteRows, TableName};
use bytes::Bytes;
use rusqlite::Connection;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

const DEPOSITED: &str = "MoneyDeposited";

/// Puts an amount on an account: any text, since events may be hostile.
pub(crate) fn deposit(account: &str, amount: impl fmt::Display) -> Append {
    let event = NewEvent::new(EventType::from_static(DEPOSITED), Data::json(format!("{amount}")));
    let stream = StreamId::of("account", account).expect("a stream id");
    Append::to(stream, ExpectedVersion::Any, [event])
}

fn amount(event: &RecordedEvent) -> Result<i64, BoxError> {
    Ok(std::str::from_utf8(&event.data.bytes)?.parse()?)
}

fn deposits() -> Query {
    Query::of(QueryItem::new().event_type(EventType::from_static(DEPOSITED)))
}

/// Balances in a table; each amount counts `factor` times.
#[derive(Debug, Clone)]
pub(crate) struct Balances {
    pub(crate) name: SubscriberName,
    pub(crate) version: u32,
    pub(crate) factor: i64,
    /// How long each event takes, so that there is a middle to be killed in.
    pub(crate) takes: Duration,
}

impl Balances {
    pub(crate) fn new() -> Self {
        Self {
            name: SubscriberName::from_static("balances"),
            version: 1,
            factor: 1,
            takes: Duration::ZERO,
        }
    }

    pub(crate) fn version(self, version: u32, factor: i64) -> Self {
        Self { version, factor, ..self }
    }
}

impl SqliteProjection for Balances {
    fn name(&self) -> &SubscriberName {
        &self.name
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn query(&self) -> Query {
        deposits()
    }

    fn tables(&self) -> Vec<ProjectionTable> {
        vec![
            ProjectionTable::new(
                TableName::from_static("accounts"),
                "CREATE TABLE {accounts} (account TEXT PRIMARY KEY, deposits INTEGER NOT NULL);
                 CREATE INDEX {accounts}_by_deposits ON {accounts} (deposits)",
            ),
            ProjectionTable::new(
                TableName::from_static("balances"),
                "CREATE TABLE {balances} (
                     account TEXT PRIMARY KEY REFERENCES {accounts} (account),
                     amount INTEGER NOT NULL CHECK (amount >= 0))",
            ),
        ]
    }

    fn apply(&self, rows: &SqliteRows<'_>, event: &RecordedEvent) -> Result<(), BoxError> {
        if &*event.data.bytes == b"\"panic\"" {
            panic!("an event that nobody thought of");
        }
        if !self.takes.is_zero() {
            std::thread::park_timeout(self.takes);
        }
        let account = event.stream.as_str();
        rows.execute(
            "INSERT INTO {accounts} VALUES (?1, 1)
             ON CONFLICT DO UPDATE SET deposits = deposits + 1",
            [account],
        )?;
        rows.execute(
            "INSERT INTO {balances} VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
            (account, amount(event)? * self.factor),
        )?;
        Ok(())
    }
}

/// What the table that is read says.
pub(crate) fn balances(connection: &Connection) -> Vec<(String, i64)> {
    let mut select = connection
        .prepare("SELECT account, amount FROM balances ORDER BY account")
        .expect("the table is there");
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("it can be read");
    rows.map(|row| row.expect("a row")).collect()
}

pub(crate) fn sum(connection: &Connection) -> i64 {
    balances(connection).iter().map(|(_, amount)| amount).sum()
}

/// The same as rows: the text of the amount under the stream's name.
#[derive(Debug)]
pub(crate) struct Totals {
    pub(crate) name: SubscriberName,
    pub(crate) version: u32,
}

impl Totals {
    pub(crate) fn new() -> Self {
        Self { name: SubscriberName::from_static("totals"), version: 1 }
    }
}

impl RowFold for Totals {
    fn name(&self) -> &SubscriberName {
        &self.name
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn query(&self) -> Query {
        deposits()
    }

    fn keys(&self, event: &RecordedEvent) -> Result<Vec<RowKey>, PoisonEvent> {
        Ok(vec![event.stream.as_str().into()])
    }

    fn fold(
        &self,
        event: &RecordedEvent,
        rows: &mut HashMap<RowKey, Bytes>,
        owns: &dyn Fn(&RowKey) -> bool,
    ) -> Result<(), PoisonEvent> {
        let key: RowKey = event.stream.as_str().into();
        let now = rows.get(&key).and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        let added = amount(event).map_err(|error| PoisonEvent::new(event, error))?;
        if owns(&key) {
            rows.insert(key, (now.unwrap_or(0_i64) + added).to_string().into());
        }
        Ok(())
    }
}
