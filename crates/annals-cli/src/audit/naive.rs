//! The control: what everybody writes first, `WHERE position > last`, beyond the watermark.

use annals_postgres::OpenError;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::PgConnection;
use tokio::sync::watch;
use tokio::time::{Duration, sleep};

use super::seen::Seen;
use crate::location::Address;

const PAUSE: Duration = Duration::from_millis(1);

pub(super) struct NaivePoller {
    address: Address,
    connection: PgConnection,
    after: i64,
}

impl NaivePoller {
    pub(super) async fn new(address: &Address, after: u64) -> Result<Self, OpenError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        Ok(Self { address: address.clone(), connection: address.connect().await?, after })
    }

    /// Polls until it is over and there is nothing more; nothing, when it could not.
    pub(super) async fn run(mut self, over: watch::Receiver<bool>) -> Option<Seen> {
        let mut seen = Seen::default();
        loop {
            let is_last = *over.borrow();
            let found = self.poll().await.ok()?;
            found.iter().for_each(|position| seen.event(position.unsigned_abs()));
            self.after = found.last().copied().unwrap_or(self.after);
            if is_last && found.is_empty() {
                return Some(seen);
            }
            sleep(PAUSE).await;
        }
    }

    async fn poll(&mut self) -> Result<Vec<i64>, sqlx_core::Error> {
        let select = self.address.statement(
            "SELECT position FROM {schema}.events WHERE position > $1 ORDER BY position LIMIT 10000",
        );
        query_scalar(select).bind(self.after).fetch_all(&mut self.connection).await
    }
}
