//! An empty database for one test.

use std::env;
use std::fmt;
use std::process;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use sqlx_core::connection::{ConnectOptions, Connection};
use sqlx_core::raw_sql::raw_sql;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::{PgConnectOptions, PgConnection};

use crate::SHARED_SERVER;
use crate::cluster::asynchronous::aside;
use crate::cluster::{Cluster, Running};
use crate::error::Error;

/// How long the end of a test waits for its database to go.
const DROP_PATIENCE: Duration = Duration::from_secs(20);
/// The name is somebody else's already.
const DUPLICATE_DATABASE: &str = "42P04";

static DATABASES: AtomicU64 = AtomicU64::new(1);

/// An empty database, gone when the value is.
pub struct Database {
    name: String,
    url: String,
    server: Server,
}

impl Database {
    /// A fresh, empty database in the server that [`SHARED_SERVER`] names, or else in one that
    /// this process starts once and takes with it when it ends.
    ///
    /// # Panics
    ///
    /// When there is no server; the message says what to install or to set.
    pub async fn create() -> Self {
        Self::or_panic(Server::shared().await).await
    }

    /// A test has nothing better to do about an error than to end with it.
    pub(crate) async fn or_panic(server: Result<Server, Error>) -> Self {
        let database = match server {
            Ok(server) => Self::create_in(server).await,
            Err(error) => Err(error),
        };
        database.unwrap_or_else(|error| panic!("{}", error.whole()))
    }

    async fn create_in(server: Server) -> Result<Self, Error> {
        loop {
            // The number of a process comes back, and a server may outlive many.
            let counter = DATABASES.fetch_add(1, Ordering::Relaxed);
            let name = format!("scratch_{}_{counter}", process::id());
            // Another template may have somebody connected to it, and could not be copied then.
            match server.tell(&format!("CREATE DATABASE {name} TEMPLATE template0")).await {
                Ok(()) => {
                    let url = with_database(&server.url, &name);
                    return Ok(Self { name, url, server });
                }
                Err(error) if has_code(&error, DUPLICATE_DATABASE) => {}
                Err(source) => return Err(server.failed("create a database", source)),
            }
        }
    }

    /// Its URL, for a superuser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Database {
    /// Without the URL: somebody's own server may have a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drop for Database {
    /// On a thread of its own, with a runtime of its own: that of the test may have one thread
    /// only, which is here, or be shutting down.
    fn drop(&mut self) {
        if !self.server.answers() {
            return;
        }
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let server = self.server.clone();
        let dropping = thread::Builder::new().spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                let telling = async {
                    let _ = tokio::time::timeout(DROP_PATIENCE, server.tell(&statement)).await;
                };
                runtime.block_on(telling);
            }
        });
        // A database that could not be dropped goes with its server.
        if let Ok(dropping) = dropping {
            let _ = dropping.join();
        }
    }
}

/// Where databases are made.
#[derive(Clone)]
pub(crate) struct Server {
    url: String,
    options: PgConnectOptions,
    /// Of a cluster that a test may have stopped.
    cluster: Option<Weak<Running>>,
}

impl Server {
    pub(crate) fn of_cluster(url: &str, cluster: Weak<Running>) -> Result<Self, Error> {
        Ok(Self { cluster: Some(cluster), ..Self::at(url)? })
    }

    async fn shared() -> Result<Self, Error> {
        match env::var(SHARED_SERVER) {
            Ok(url) if !url.is_empty() => Self::at(&url),
            _ => Self::at(&aside(own_server).await?),
        }
    }

    fn at(url: &str) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|source| Error::Address { variable: SHARED_SERVER, source: source.into() })?;
        Ok(Self { url: url.to_owned(), options, cluster: None })
    }

    async fn tell(&self, statement: &str) -> Result<(), sqlx_core::Error> {
        let mut connection: PgConnection = self.options.connect().await?;
        // The only thing put into a statement is the name of a database, which is made here of
        // letters and numbers. PostgreSQL takes no parameters in these statements.
        let outcome = raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await;
        let _ = connection.close().await;
        outcome.map(drop)
    }

    fn answers(&self) -> bool {
        let Some(cluster) = &self.cluster else {
            return true;
        };
        cluster.upgrade().is_some_and(|cluster| cluster.answers())
    }

    fn failed(&self, what: &str, source: sqlx_core::Error) -> Error {
        let server = format!("{}:{}", self.options.get_host(), self.options.get_port());
        Error::Server { server, what: what.to_owned(), source: source.into() }
    }
}

/// The URL of the server that this process starts for itself.
fn own_server() -> Result<String, Error> {
    // It is never dropped. Its keeper notices the end of the process.
    static OWN: OnceLock<Cluster> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cluster) = OWN.get() {
        return Ok(cluster.url("postgres"));
    }
    let cluster = Cluster::start_blocking(&[])?;
    Ok(OWN.get_or_init(|| cluster).url("postgres"))
}

fn has_code(error: &sqlx_core::Error, code: &str) -> bool {
    error.as_database_error().and_then(|e| e.code()).is_some_and(|found| found == code)
}

/// The URL of another database of the same server.
fn with_database(url: &str, name: &str) -> String {
    let (address, parameters) = match url.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (url, String::new()),
    };
    let (scheme, rest) = address.split_once("://").unwrap_or(("postgres", address));
    let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    format!("{scheme}://{authority}/{name}{parameters}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gets_another_database() {
        for (url, expected) in [
            ("postgres://me@here:5432/postgres", "postgres://me@here:5432/x"),
            ("postgres://me@here", "postgres://me@here/x"),
            ("postgresql://here/a?sslmode=disable", "postgresql://here/x?sslmode=disable"),
        ] {
            assert_eq!(with_database(url, "x"), expected);
        }
    }
}
