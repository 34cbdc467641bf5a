//! Where the users of a test are, looked at as `psql` or `sqlite3` would.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use annals_scratch::Database;
use rusqlite::types::ValueRef;
use sqlx_core::connection::Connection;
use sqlx_core::raw_sql::raw_sql;
use sqlx_core::row::Row;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_core::value::ValueRef as _;
use sqlx_postgres::PgConnection;
use tempfile::TempDir;
use users::postgres::PostgresUsers;
use users::sqlite::SqliteUsers;
use users::users::Users;
use users::{postgres, sqlite};

/// An empty database that goes away with the test.
pub(crate) enum Place {
    Postgres(Box<Database>),
    Sqlite(TempDir),
}

impl Place {
    pub(crate) async fn postgres() -> Self {
        Self::Postgres(Box::new(Database::create().await))
    }

    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().expect("a directory"))
    }

    fn file(directory: &TempDir) -> PathBuf {
        directory.path().join("users.db")
    }

    /// What `--store` calls it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Postgres(database) => database.url().to_owned(),
            Self::Sqlite(directory) => format!("sqlite:{}", Self::file(directory).display()),
        }
    }

    pub(crate) async fn open(&self) -> Arc<dyn Users> {
        match self {
            Self::Postgres(database) => {
                let users = PostgresUsers::open(database.url(), postgres::REACTORS).await;
                Arc::new(users.expect("the database opens"))
            }
            Self::Sqlite(directory) => {
                let users = SqliteUsers::open(&Self::file(directory), sqlite::REACTORS);
                Arc::new(users.expect("the file opens"))
            }
        }
    }

    /// What a statement answers, as text; the log's view is found without its schema.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        match self {
            Self::Postgres(database) => {
                let mut connection =
                    PgConnection::connect(database.url()).await.expect("a connection");
                let sql = format!("SET search_path TO public, annals; {sql}");
                let rows = raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await;
                let texts = rows.expect("the statement is right").into_iter().map(|row| {
                    let texts = (0..row.len()).map(|column| {
                        let value = row.try_get_raw(column).expect("it has so many columns");
                        let null = value.is_null();
                        if null { "" } else { value.as_str().expect("text") }.to_owned()
                    });
                    texts.collect()
                });
                texts.collect()
            }
            Self::Sqlite(directory) => {
                let connection =
                    rusqlite::Connection::open(Self::file(directory)).expect("the file");
                let mut statement = connection.prepare(sql).expect("the statement is right");
                let columns = statement.column_count();
                let rows = statement.query_map([], |row| {
                    (0..columns).map(|column| Ok(text(row.get_ref(column)?))).collect()
                });
                rows.expect("it runs").collect::<Result<_, _>>().expect("it runs to its end")
            }
        }
    }

    /// Runs statements that answer nothing.
    pub(crate) async fn run(&self, sql: &str) {
        match self {
            Self::Postgres(_) => drop(self.rows(sql).await),
            Self::Sqlite(directory) => {
                let connection =
                    rusqlite::Connection::open(Self::file(directory)).expect("the file");
                connection.execute_batch(sql).expect("the statements are right");
            }
        }
    }

    /// The one value a statement answers.
    pub(crate) async fn value(&self, sql: &str) -> String {
        let mut rows = self.rows(sql).await;
        assert_eq!((rows.len(), rows.first().map(Vec::len)), (1, Some(1)), "{sql}: {rows:?}");
        rows.remove(0).remove(0)
    }

    /// How many users and events there are, and what the reactors count.
    pub(crate) async fn counts(&self) -> [u64; 4] {
        let mut counts = [0; 4];
        for (count, sql) in counts.iter_mut().zip([
            "SELECT count(*) FROM users",
            "SELECT count(*) FROM user_events",
            "SELECT present FROM user_counts",
            "SELECT deleted FROM user_counts",
        ]) {
            *count = self.value(sql).await.parse().expect("a number");
        }
        counts
    }

    /// The ids of the users that have a row, and of those that have events.
    pub(crate) async fn ids(&self) -> [BTreeSet<String>; 2] {
        let ids = async |sql| self.rows(sql).await.into_iter().flatten().collect();
        [ids("SELECT id FROM users").await, ids("SELECT user_id FROM user_events").await]
    }

    /// Every byte of the database that could hold the text, each table in a text of its own.
    pub(crate) async fn holds(&self, text: &str) -> bool {
        match self {
            Self::Sqlite(directory) => {
                let files = std::fs::read_dir(directory.path()).expect("the directory");
                files.map(|file| file.expect("a file").path()).any(|path| {
                    let bytes = match std::fs::read(path) {
                        // SQLite has put it away since the directory was read.
                        Err(error) if error.kind() == ErrorKind::NotFound => return false,
                        bytes => bytes.expect("the file"),
                    };
                    bytes.windows(text.len()).any(|window| window == text.as_bytes())
                })
            }
            Self::Postgres(_) => {
                let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
                let tables = self
                    .rows(
                        "SELECT format('%I.%I', table_schema, table_name)
                         FROM information_schema.tables
                         WHERE table_schema NOT IN ('pg_catalog', 'information_schema')",
                    )
                    .await;
                for table in tables.into_iter().flatten() {
                    // Bytes are shown in hex.
                    let sql = format!(
                        "SELECT count(*) FROM {table} t
                         WHERE t::text LIKE '%{text}%' OR t::text LIKE '%{hex}%'"
                    );
                    if self.value(&sql).await != "0" {
                        return true;
                    }
                }
                false
            }
        }
    }
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
    }
}
