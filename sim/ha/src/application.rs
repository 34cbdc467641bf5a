//! An application with a table of its own: a row and its event in one transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_core::error::Chain;
use annals_core::{
    Append, AppendError, Data, EventId, EventType, ExpectedVersion, NewEvent, Receipt, StreamId,
};
use annals_postgres::PostgresStore;
use anyhow::Result;
use sqlx_core::error::Error;
use sqlx_core::query::query;
use sqlx_postgres::PgPool;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::ledger::Ledger;
use crate::writers::REPEATED_MAX;

const REST: Duration = Duration::from_millis(10);
const AFTER_FAILURE: Duration = Duration::from_millis(200);

pub(crate) const CREATE_TABLE: &str =
    "CREATE TABLE orders (number bigint PRIMARY KEY, event text NOT NULL)";

pub(crate) struct Application {
    pub(crate) pool: PgPool,
    pub(crate) store: PostgresStore,
    pub(crate) ledger: Arc<Ledger>,
}

/// What stopped an order.
enum Failure {
    /// It may have been committed.
    Unknown(String),
    /// It was not.
    NotNow(String),
    Broken(AppendError),
}

fn not_now(error: Error) -> Failure {
    Failure::NotNow(error.to_string())
}

impl Application {
    /// Places orders until it is told to stop. Each is tried until it is committed, always with
    /// the same event id, and so never placed twice. Returns how often it had to try again.
    pub(crate) async fn run(self, stop: watch::Receiver<bool>) -> Retries {
        let mut retries = Retries::default();
        let mut number = 0;
        while !*stop.borrow() {
            number += 1;
            let placed = EventType::new("OrderPlaced").expect("a valid name");
            let event = NewEvent::new(placed, Data::json(format!(r#"{{"number":{number}}}"#)));
            let stream = StreamId::new(format!("order-{number}")).expect("a valid name");
            let id = event.id;
            let append = Append::to(stream, ExpectedVersion::NoStream, [event]);
            self.ledger.count(|counts| counts.begun += 1);
            let begun = Instant::now();
            loop {
                let error = match self.place(number, id, &append).await {
                    Ok(receipt) => {
                        self.ledger.acknowledge(&append, &receipt, true);
                        break;
                    }
                    Err(Failure::Unknown(error)) => {
                        retries.unknown += 1;
                        error
                    }
                    Err(Failure::NotNow(error)) => {
                        retries.not_now += 1;
                        error
                    }
                    Err(Failure::Broken(error)) => {
                        self.ledger.broken(format!("order {number}: {error}"));
                        break;
                    }
                };
                if begun.elapsed() > REPEATED_MAX {
                    self.ledger.broken(format!("order {number} cannot be placed: {error}"));
                    return retries;
                }
                sleep(AFTER_FAILURE).await;
            }
            sleep(REST).await;
        }
        retries
    }

    async fn place(&self, number: i64, id: EventId, append: &Append) -> Result<Receipt, Failure> {
        let mut transaction = self.pool.begin().await.map_err(not_now)?;
        // It is there already when an earlier try was committed without our knowing.
        let insert = "INSERT INTO orders VALUES ($1, $2) ON CONFLICT DO NOTHING";
        let insert = query(insert).bind(number).bind(id.to_string());
        insert.execute(&mut *transaction).await.map_err(not_now)?;
        let appended = self.store.append_in(&mut transaction, append).await;
        let receipt = appended.map_err(|error| match error {
            // Without a commit nothing is stored, whatever became of the statement.
            AppendError::Unavailable(_) | AppendError::Indeterminate(_) => {
                Failure::NotNow(Chain(&error).to_string())
            }
            other => Failure::Broken(other),
        })?;
        transaction.commit().await.map_err(|error| Failure::Unknown(error.to_string()))?;
        Ok(receipt)
    }
}

/// How often transactions were tried again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retries {
    /// After a commit of unknown outcome.
    pub(crate) unknown: u64,
    /// After a failure before the commit.
    pub(crate) not_now: u64,
}
