//! Appending inside the application's own transaction.

use annals_core::{Append, AppendError, Fault, Position, Receipt};
use rusqlite::Transaction;

use crate::SqliteStore;
use crate::append::Appender;
use crate::fault::append_error;
use crate::inline::{Appended, Session};
use crate::stream::newest;

impl SqliteStore {
    /// Performs an append inside a transaction on a connection of the application's own, opened
    /// on this store's file: events and rows are committed together, or not at all.
    ///
    /// All guarantees of [`append`](annals_core::EventStore::append) hold once the transaction
    /// is committed; durability (S2) is what the connection's `synchronous` setting says, so
    /// leave it at `FULL`. A refused append leaves the transaction as it was and usable; when the
    /// disk fails, SQLite may have rolled back all of it, so give up the transaction then. Begin
    /// the transaction with `TransactionBehavior::Immediate`: SQLite lets one transaction write
    /// at a time, and one that began by reading may be too late to write. What runs
    /// [inline](crate::Options::inline) runs in this transaction too.
    ///
    /// ```
    /// use annals_core::{Append, Data, EventType, ExpectedVersion, NewEvent, StreamId};
    /// use annals_sqlite::SqliteStore;
    /// use rusqlite::{Connection, TransactionBehavior};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("app.db");
    /// let store = SqliteStore::open(&path)?;
    /// let mut connection = Connection::open(&path)?;
    /// connection.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)", [])?;
    ///
    /// let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    /// transaction.execute("INSERT INTO users VALUES (1, 'Ada')", [])?;
    /// let created = NewEvent::new(EventType::new("UserCreated")?, Data::json(r#"{"name":"Ada"}"#));
    /// let append = Append::to(StreamId::new("user-1")?, ExpectedVersion::NoStream, [created]);
    /// store.append_in(&transaction, &append)?;
    /// transaction.commit()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`append`](annals_core::EventStore::append); `Unavailable` also when another
    /// transaction is writing.
    pub fn append_in(
        &self,
        transaction: &Transaction<'_>,
        append: &Append,
    ) -> Result<Receipt, AppendError> {
        append.check(&self.shared().limits)?;
        self.append_whole(transaction, append)
            .map_err(|error| append_error("appending in the application's transaction", error))?
    }

    fn append_whole(
        &self,
        transaction: &Transaction<'_>,
        append: &Append,
    ) -> rusqlite::Result<Result<Receipt, AppendError>> {
        transaction.execute_batch("SAVEPOINT annals_append")?;
        let try_append = || {
            let mut newest = newest(transaction)?;
            let mut appender = Appender::new(transaction)?;
            let now = self.shared().clock.now();
            let start = Position::START;
            let outcome = match &self.shared().hooks {
                None => appender.append(append, start, now, &mut newest)?,
                Some(hooks) => {
                    let mut session = Session::new(hooks, None);
                    match session.append(&mut appender, append, start, now, &mut newest)? {
                        Appended::Done(outcome) => outcome,
                        Appended::Behind(reason) => return Ok(Err(behind(reason))),
                        Appended::Ended => return Ok(Err(ended())),
                    }
                }
            };
            appender.finish()?;
            Ok(outcome)
        };
        let outcome = try_append();
        // A full or failing disk makes SQLite roll back the whole transaction by itself; then
        // there is no savepoint any more, and the first error is the one to tell.
        if transaction.is_autocommit() {
            return outcome;
        }
        let end = match outcome {
            Ok(Ok(_)) => "RELEASE annals_append",
            Ok(Err(_)) | Err(_) => "ROLLBACK TO annals_append; RELEASE annals_append",
        };
        transaction.execute_batch(end).and(outcome)
    }
}

fn behind(reason: String) -> AppendError {
    AppendError::Unavailable(Fault::because("running what is inline", reason))
}

fn ended() -> AppendError {
    AppendError::Indeterminate(Fault::new(
        "running what is inline: it ended the application's transaction",
    ))
}
