//! Where a store is, and opening it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use annals_core::MemoryStore;
use annals_server::Store;
use annals_sqlite::SqliteStore;

use crate::failure::Failure;

/// What `--store` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    Memory,
    Sqlite(PathBuf),
}

impl FromStr for Location {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("sqlite", "" | ":memory:")) => {
                Err("name a file, like sqlite:annals.db; for a log in memory, use memory:")
            }
            Some(("sqlite", path)) => Ok(Self::Sqlite(path.into())),
            Some(("postgres" | "postgresql", _)) => {
                Err("this build has no PostgreSQL store yet; use sqlite:PATH")
            }
            _ => Err("write it as sqlite:PATH or memory:"),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

/// A store that is open, and how to close it.
pub(crate) struct Opened {
    store: Arc<dyn Store>,
    sqlite: Option<SqliteStore>,
}

impl Opened {
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Ends every subscription and writes what was asked for.
    pub(crate) async fn close(self) {
        if let Some(sqlite) = self.sqlite {
            sqlite.close().await;
        }
    }
}

impl Location {
    /// Opens the store, creating it when it does not exist.
    pub(crate) fn open_or_create(&self) -> Result<Opened, Failure> {
        match self {
            Self::Memory => Ok(Opened { store: Arc::new(MemoryStore::new()), sqlite: None }),
            Self::Sqlite(path) => {
                let sqlite = SqliteStore::open(path)
                    .map_err(|error| Failure::because(format!("opening {self}"), &error))?;
                Ok(Opened { store: Arc::new(sqlite.clone()), sqlite: Some(sqlite) })
            }
        }
    }

    /// Opens the store to look at it: a mistyped path must not leave an empty file behind.
    pub(crate) fn open_existing(&self) -> Result<Opened, Failure> {
        if let Self::Sqlite(path) = self
            && !path.exists()
        {
            return Err(Failure::new(format!(
                "there is no store at {}; name another one with --store, or make one with \
                 `annals append` or `annals serve`",
                path.display()
            )));
        }
        self.open_or_create()
    }
}
