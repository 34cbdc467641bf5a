//! The users in an SQLite file.

mod reactors;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use annals::sqlite::OpenError;
use annals::{EventStore, SqliteStore, Timestamp, Version};
use async_trait::async_trait;
use rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE;
use rusqlite::types::Type;
use rusqlite::{
    Connection, Error, OptionalExtension, Row, Transaction, TransactionBehavior, params,
};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

pub use self::reactors::{REACTORS, Reactor, count_users, refuse_blocked_domains};

use crate::change::{Change, Changed, Outcome, Refusal, Step};
use crate::password::PasswordDigest;
use crate::user::{User, UserId};
use crate::users::{Failure, Users};

/// The users in a file, in the table `users`, with the log of Annals beside it.
#[derive(Debug)]
pub struct SqliteUsers {
    store: SqliteStore,
    /// SQLite lets one transaction write at a time, so they wait for this one connection.
    writing: Arc<Mutex<Connection>>,
    reading: Arc<Mutex<Connection>>,
    reactors: &'static [Reactor],
}

/// Why the users could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unopened {
    /// The log cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The tables cannot be made.
    #[error("cannot make the table users and its neighbours")]
    Tables(#[from] Error),
}

impl SqliteUsers {
    /// Opens the file, making it, its tables and the view `user_events` when they are not there.
    ///
    /// # Errors
    /// [`Unopened`].
    pub fn open(path: &Path, reactors: &'static [Reactor]) -> Result<Self, Unopened> {
        let store = SqliteStore::open(path)?;
        let connect = || {
            let connection = Connection::open(path)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            // What is acknowledged survives power loss.
            connection.pragma_update(None, "synchronous", "FULL")?;
            Ok::<_, Error>(connection)
        };
        let (writing, reading) = (connect()?, connect()?);
        writing.execute_batch(include_str!("sqlite/tables.sql"))?;
        reading.pragma_update(None, "query_only", true)?;
        let (writing, reading) = (Arc::new(Mutex::new(writing)), Arc::new(Mutex::new(reading)));
        Ok(Self { store, writing, reading, reactors })
    }
}

#[async_trait]
impl Users for SqliteUsers {
    async fn change(&self, change: Change) -> Result<Changed, Failure> {
        let (store, reactors) = (self.store.clone(), self.reactors);
        on_a_thread(&self.writing, move |connection| {
            change_in(connection, &store, reactors, change)
        })
        .await
    }

    async fn list(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, Failure> {
        let after = after.map_or_else(String::new, |after| after.to_string());
        on_a_thread(&self.reading, move |connection| {
            let mut list = connection.prepare_cached(LIST)?;
            Ok(list.query_map((after, limit), user)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    fn log(&self) -> &dyn EventStore {
        &self.store
    }

    async fn close(&self) {
        drop(self.writing.lock().await);
        self.store.close().await;
    }
}

fn change_in(
    connection: &mut Connection,
    store: &SqliteStore,
    reactors: &[Reactor],
    change: Change,
) -> Result<Changed, Failure> {
    // The write lock is the row's lock too.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let row = find(&transaction, change.user)?;
    let Step { happened, row, append } = match change.on(row)? {
        Outcome::Nothing(user) => return Ok(Changed { user, happened: false }),
        Outcome::Step(step) => *step,
    };
    save(&transaction, &row)?;
    for react in reactors {
        react(&transaction, &happened)?;
    }
    store.append_in(&transaction, &append)?;
    transaction.commit().map_err(|error| Failure::Unknown(error.into()))?;
    Ok(Changed { user: row, happened: true })
}

/// SQLite blocks, so it does so beside the threads that serve requests.
async fn on_a_thread<T: Send + 'static>(
    connection: &Arc<Mutex<Connection>>,
    work: impl FnOnce(&mut Connection) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let mut connection = Arc::clone(connection).lock_owned().await;
    let done = spawn_blocking(move || work(&mut connection)).await;
    done.unwrap_or_else(|panicked| Err(Failure::Broken(panicked.into())))
}

const FIND: &str =
    "SELECT id, name, email, password_digest, deleted, created_at, updated_at, version
    FROM users WHERE id = ?1";

const LIST: &str =
    "SELECT id, name, email, password_digest, deleted, created_at, updated_at, version
    FROM users WHERE NOT deleted AND id > ?1 ORDER BY id LIMIT ?2";

const SAVE: &str = "INSERT INTO users
        (id, name, email, password_digest, deleted, created_at, updated_at, version)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT (id) DO UPDATE SET
        name = excluded.name, email = excluded.email,
        password_digest = excluded.password_digest, deleted = excluded.deleted,
        created_at = excluded.created_at, updated_at = excluded.updated_at,
        version = excluded.version";

fn find(transaction: &Transaction<'_>, id: UserId) -> Result<Option<User>, Error> {
    transaction.prepare_cached(FIND)?.query_row([id.to_string()], user).optional()
}

fn save(transaction: &Transaction<'_>, user: &User) -> Result<(), Failure> {
    let saved = transaction.prepare_cached(SAVE)?.execute(params![
        user.id.to_string(),
        user.name,
        user.email,
        user.password_digest.as_stored(),
        user.deleted,
        user.created_at.to_string(),
        user.updated_at.to_string(),
        user.version.get().cast_signed(),
    ]);
    match saved {
        // The table has no other unique index; a primary key has a code of its own.
        Err(Error::SqliteFailure(error, _)) if error.extended_code == SQLITE_CONSTRAINT_UNIQUE => {
            Err(Refusal::EmailTaken.into())
        }
        saved => Ok(saved.map(drop)?),
    }
}

fn user(row: &Row<'_>) -> Result<User, Error> {
    Ok(User {
        id: parsed(row, 0)?,
        name: row.get(1)?,
        email: row.get(2)?,
        password_digest: PasswordDigest::stored(row.get(3)?),
        deleted: row.get(4)?,
        created_at: parsed::<Timestamp>(row, 5)?,
        updated_at: parsed::<Timestamp>(row, 6)?,
        version: Version::new(row.get::<_, i64>(7)?.cast_unsigned()),
    })
}

fn parsed<T>(row: &Row<'_>, column: usize) -> Result<T, Error>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// Before the commit: the transaction is rolled back.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Unavailable(error.into())
    }
}
