//! The users in PostgreSQL.

mod reactors;

use std::str::FromStr;
use std::time::Duration;

use annals::postgres::OpenError;
use annals::{Category, EventStore, PostgresStore, ReadError, Timestamp, Version};
use async_trait::async_trait;
use sqlx_core::error::Error;
use sqlx_core::pool::PoolOptions;
use sqlx_core::query::query;
use sqlx_core::raw_sql::raw_sql;
use sqlx_core::row::Row;
use sqlx_postgres::{PgConnectOptions, PgConnection, PgPool, PgRow, Postgres};
use uuid::Uuid;

pub use self::reactors::{REACTORS, Reactor, count_users, refuse_blocked_domains};

use crate::change::{Change, Changed, Outcome, Refusal, Step};
use crate::password::PasswordDigest;
use crate::user::{CATEGORY, User, UserId};
use crate::users::{Failure, Users};

/// The store takes up to eight connections, and the rest are for changes and lists.
const CONNECTIONS_MAX: u32 = 16;

/// The users in a database, in the table `users`, with the log of Annals beside it.
#[derive(Debug)]
pub struct PostgresUsers {
    pool: PgPool,
    store: PostgresStore,
    reactors: &'static [Reactor],
}

/// Why the users could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unopened {
    /// The address is no address.
    #[error("write the address like postgres://user@localhost:5432/database")]
    Address(#[source] Error),
    /// The log cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The tables cannot be made.
    #[error("cannot make the table users and its neighbours")]
    Tables(#[source] Error),
    /// The view cannot be made.
    #[error("cannot make the view user_events")]
    View(#[source] ReadError),
}

impl PostgresUsers {
    /// Opens the database, making the tables and the view `annals.user_events` when they are
    /// not there.
    ///
    /// # Errors
    /// [`Unopened`].
    pub async fn open(url: &str, reactors: &'static [Reactor]) -> Result<Self, Unopened> {
        let options = PgConnectOptions::from_str(url).map_err(Unopened::Address)?;
        let pool = PoolOptions::<Postgres>::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(options.application_name("users"));
        let store = PostgresStore::options().over(pool.clone()).await?;
        raw_sql(include_str!("postgres/tables.sql"))
            .execute(&pool)
            .await
            .map_err(Unopened::Tables)?;
        store.create_view(&Category::from_static(CATEGORY)).await.map_err(Unopened::View)?;
        Ok(Self { pool, store, reactors })
    }
}

#[async_trait]
impl Users for PostgresUsers {
    async fn change(&self, change: Change) -> Result<Changed, Failure> {
        let mut transaction = self.pool.begin().await?;
        let row = lock(&mut transaction, change.user).await?;
        let Step { happened, row, append } = match change.on(row)? {
            Outcome::Nothing(user) => return Ok(Changed { user, happened: false }),
            Outcome::Step(step) => *step,
        };
        save(&mut transaction, &row).await?;
        for react in self.reactors {
            react(&mut transaction, &happened).await?;
        }
        self.store.append_in(&mut transaction, &append).await?;
        transaction.commit().await.map_err(not_committed)?;
        Ok(Changed { user: row, happened: true })
    }

    async fn list(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, Failure> {
        let rows = query(LIST)
            .bind(after.map_or(Uuid::nil(), Uuid::from))
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.iter().map(user).collect::<Result<_, _>>()?)
    }

    fn log(&self) -> &dyn EventStore {
        &self.store
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

const LOCK: &str = "SELECT id, name, email, password_digest, deleted, version,
        (extract(epoch FROM created_at) * 1000000)::bigint AS created_micros,
        (extract(epoch FROM updated_at) * 1000000)::bigint AS updated_micros
    FROM public.users WHERE id = $1 FOR UPDATE";

const LIST: &str = "SELECT id, name, email, password_digest, deleted, version,
        (extract(epoch FROM created_at) * 1000000)::bigint AS created_micros,
        (extract(epoch FROM updated_at) * 1000000)::bigint AS updated_micros
    FROM public.users WHERE NOT deleted AND id > $1 ORDER BY id LIMIT $2";

const SAVE: &str = "INSERT INTO public.users
        (id, name, email, password_digest, deleted, created_at, updated_at, version)
    VALUES ($1, $2, $3, $4, $5, $6::text::timestamptz, $7::text::timestamptz, $8)
    ON CONFLICT (id) DO UPDATE SET
        name = excluded.name, email = excluded.email,
        password_digest = excluded.password_digest, deleted = excluded.deleted,
        created_at = excluded.created_at, updated_at = excluded.updated_at,
        version = excluded.version";

/// The row of a user, which nobody else changes until the transaction ends.
async fn lock(connection: &mut PgConnection, id: UserId) -> Result<Option<User>, Error> {
    let row = query(LOCK).bind(Uuid::from(id)).fetch_optional(connection).await?;
    row.as_ref().map(user).transpose()
}

async fn save(connection: &mut PgConnection, user: &User) -> Result<(), Failure> {
    let saved = query(SAVE)
        .bind(Uuid::from(user.id))
        .bind(&user.name)
        .bind(&user.email)
        .bind(user.password_digest.as_stored())
        .bind(user.deleted)
        .bind(user.created_at.to_string())
        .bind(user.updated_at.to_string())
        .bind(user.version.get().cast_signed())
        .execute(connection);
    match saved.await {
        Err(Error::Database(error)) if error.constraint() == Some("users_email_unique") => {
            Err(Refusal::EmailTaken.into())
        }
        saved => Ok(saved.map(drop)?),
    }
}

fn user(row: &PgRow) -> Result<User, Error> {
    Ok(User {
        id: row.try_get::<Uuid, _>("id")?.into(),
        name: row.try_get("name")?,
        email: row.try_get("email")?,
        password_digest: PasswordDigest::stored(row.try_get("password_digest")?),
        deleted: row.try_get("deleted")?,
        created_at: Timestamp::from_micros(row.try_get("created_micros")?),
        updated_at: Timestamp::from_micros(row.try_get("updated_micros")?),
        version: Version::new(row.try_get::<i64, _>("version")?.cast_unsigned()),
    })
}

/// The server's own no rolls back; when the connection breaks, nobody knows.
fn not_committed(error: Error) -> Failure {
    match error {
        Error::Database(_) => Failure::Unavailable(error.into()),
        error => Failure::Unknown(error.into()),
    }
}

/// Before the commit: the transaction is rolled back.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Unavailable(error.into())
    }
}
