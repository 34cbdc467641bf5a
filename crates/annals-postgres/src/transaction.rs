//! Appending inside the application's own transaction.

use std::sync::Arc;

use annals_core::{Append, AppendError, Fault, Receipt};
use sqlx_postgres::PgConnection;

use crate::PostgresStore;
use crate::append::{Answer, Locks, send};
use crate::fault::{append_error, chain, is_partition_missing, is_unsettled, refused};
use crate::inline::Part;
use crate::keys::Keys;
use crate::repeat::repeated;

impl PostgresStore {
    /// Performs an append inside a transaction on a connection of the application's own, to the
    /// same database: events and rows are committed together, or not at all.
    ///
    /// All guarantees of [`append`](annals_core::EventStore::append) hold once the transaction is
    /// committed. A refused append leaves the transaction as it was and usable; after any other
    /// error PostgreSQL lets it only be rolled back.
    ///
    /// The transaction must be at the isolation level `read committed`, PostgreSQL's default. It
    /// takes the append's streams for itself until it ends, and nobody reads the log beyond it
    /// meanwhile (S5): append late, commit soon. Other transactions of the application, however
    /// long, hold up nothing.
    ///
    /// What is [inline](crate::Options::inline) runs in it. When that will not have the append it
    /// is taken back, and the transaction is as it was.
    ///
    /// ```no_run
    /// use annals_core::{Append, Data, EventType, ExpectedVersion, NewEvent, StreamId};
    /// use annals_postgres::PostgresStore;
    /// use sqlx_core::query::query;
    /// use sqlx_postgres::PgPool;
    ///
    /// # async fn create(pool: PgPool) -> Result<(), Box<dyn std::error::Error>> {
    /// let store = PostgresStore::options().over(pool.clone()).await?;
    /// let mut transaction = pool.begin().await?;
    /// query("INSERT INTO users (id, name) VALUES (1, 'Ada')").execute(&mut *transaction).await?;
    /// let created = NewEvent::new(EventType::new("UserCreated")?, Data::json(r#"{"name":"Ada"}"#));
    /// let append = Append::to(StreamId::new("user-1")?, ExpectedVersion::NoStream, [created]);
    /// store.append_in(&mut transaction, &append).await?;
    /// transaction.commit().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`append`](annals_core::EventStore::append); `Unsupported` at another isolation level,
    /// `Unavailable` also when the server ended a deadlock with another transaction, or has taken
    /// over from another one: then roll back, and try the whole transaction again.
    pub async fn append_in(
        &self,
        connection: &mut PgConnection,
        append: &Append,
    ) -> Result<Receipt, AppendError> {
        const DOING: &str = "appending in the application's transaction";
        self.check(append)?;
        let keys = Keys::of(self.schema(), append);
        let hooks = &self.shared().hooks;
        let part = match hooks.is_empty() {
            true => None,
            false => {
                let begun = Part::begin(hooks, connection).await;
                Some(begun.map_err(|error| refused(DOING, &error))?)
            }
        };
        let answer =
            send(connection, self.schema(), &[append], &keys, Locks::Wait, self.moment()).await;
        if answer.as_ref().is_err_and(is_partition_missing) {
            // Not in this transaction, which has failed; for the next one.
            let _ = self.shared().ahead.extend().await;
        }
        if answer.as_ref().is_err_and(is_unsettled) {
            // That waits for this transaction to end.
            let writer = Arc::clone(&self.shared().writer);
            tokio::spawn(async move { writer.settle().await });
        }
        let receipt = match answer.map_err(|error| append_error(DOING, &error))? {
            Answer::Done(mut outcomes) => {
                let outcome = outcomes.pop().expect("one outcome for one append");
                match (&outcome, part) {
                    (Ok(receipt), Some(part)) => part.run(connection, append, receipt).await?,
                    (Err(_), Some(part)) => part.keep(connection).await?,
                    (_, None) => {}
                }
                outcome?
            }
            Answer::Busy(_) | Answer::Stored => {
                let repeated = repeated(connection, self.schema(), append).await;
                // Something of it is stored, so it cannot be said that nothing is.
                let unknown = |error| Fault::because(DOING, chain(&error));
                let repeated =
                    repeated.map_err(|error| AppendError::Indeterminate(unknown(error)))?;
                if let Some(part) = part {
                    part.keep(connection).await?;
                }
                repeated?.expect("the server has just found an id of it")
            }
        };
        self.shared().ahead.reached(receipt.last_position);
        // Nobody knows when the application commits: whoever follows the log here looks soon.
        self.expect_commit();
        Ok(receipt)
    }
}
