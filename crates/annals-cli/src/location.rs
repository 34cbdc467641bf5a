//! Where a store is, and opening it.

mod argument;
mod postgres;
mod read_side;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use annals_core::{MemoryStore, SnapshotStore};
use annals_postgres::{OpenError, PostgresStore};
use annals_server::Store;
use annals_sqlite::SqliteStore;

use crate::failure::Failure;

pub(crate) use argument::Argument;
pub(crate) use postgres::{Address, is_denied};
pub(crate) use read_side::OpenedReadSide;

/// What `--store` names. `Debug` and `Display` never have a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    Memory,
    Postgres(Address),
    Sqlite(PathBuf),
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("sqlite", "" | ":memory:")) => {
                Err("name a file, like sqlite:annals.db; for a log in memory, use memory:".into())
            }
            Some(("sqlite", path)) => Ok(Self::Sqlite(path.into())),
            Some(("postgres" | "postgresql", _)) => Address::new(text).map(Self::Postgres),
            _ => Err("write it as sqlite:PATH, postgres://USER@HOST/DATABASE or memory:".into()),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Postgres(address) => address.fmt(f),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

/// A store that is open, and how to close it.
pub(crate) struct Opened {
    store: Arc<dyn Store>,
    closing: Closing,
}

enum Closing {
    Nothing,
    Postgres(PostgresStore),
    Sqlite(SqliteStore),
}

impl Opened {
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// The store as what it is, if it is in PostgreSQL.
    pub(crate) fn postgres(&self) -> Option<&PostgresStore> {
        match &self.closing {
            Closing::Postgres(store) => Some(store),
            Closing::Nothing | Closing::Sqlite(_) => None,
        }
    }

    /// Where its snapshots are, if it keeps any.
    pub(crate) fn snapshots(&self) -> Option<&dyn SnapshotStore> {
        match &self.closing {
            Closing::Nothing => None,
            Closing::Postgres(store) => Some(store),
            Closing::Sqlite(store) => Some(store),
        }
    }

    /// Ends every subscription and writes what was asked for.
    pub(crate) async fn close(self) {
        match self.closing {
            Closing::Nothing => {}
            Closing::Postgres(store) => store.close().await,
            Closing::Sqlite(store) => store.close().await,
        }
    }
}

impl From<PostgresStore> for Opened {
    fn from(store: PostgresStore) -> Self {
        Self { store: Arc::new(store.clone()), closing: Closing::Postgres(store) }
    }
}

impl Location {
    /// Opens the store, creating it when it does not exist.
    pub(crate) async fn open_or_create(&self) -> Result<Opened, Failure> {
        match self {
            Self::Memory => {
                Ok(Opened { store: Arc::new(MemoryStore::new()), closing: Closing::Nothing })
            }
            Self::Postgres(address) => {
                let opened = match address.options().connect(address.url()).await {
                    // A role that may append and nothing else finds the tables made by another.
                    Err(error) if is_denied(&error) => {
                        address.options().migrate(false).connect(address.url()).await
                    }
                    opened => opened,
                };
                self.opened(address, opened).await
            }
            Self::Sqlite(path) => {
                let store = SqliteStore::open(path)
                    .map_err(|error| Failure::because(format!("opening {self}"), &error))?;
                Ok(Opened { store: Arc::new(store.clone()), closing: Closing::Sqlite(store) })
            }
        }
    }

    /// Opens the store to look at it: a mistyped path must not leave an empty file behind, nor
    /// a mistyped database empty tables.
    pub(crate) async fn open_existing(&self) -> Result<Opened, Failure> {
        self.check_exists()?;
        match self {
            Self::Postgres(address) => {
                let opened = address.options().migrate(false).connect(address.url()).await;
                self.opened(address, opened).await
            }
            Self::Memory | Self::Sqlite(_) => self.open_or_create().await,
        }
    }

    /// Fails where opening would make a file.
    pub(crate) fn check_exists(&self) -> Result<(), Failure> {
        match self {
            Self::Sqlite(path) if !path.exists() => Err(Failure::new(format!(
                "there is no store at {}; name another one with --store, or make one with \
                 `annals append` or `annals serve`",
                path.display()
            ))),
            _ => Ok(()),
        }
    }

    async fn opened(
        &self,
        address: &Address,
        opened: Result<PostgresStore, OpenError>,
    ) -> Result<Opened, Failure> {
        match opened {
            Ok(store) => Ok(store.into()),
            Err(error) => Err(address.failed(format_args!("opening {self}"), &error).await),
        }
    }
}
