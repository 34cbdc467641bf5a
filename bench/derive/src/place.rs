//! Where something is measured: a log and a read side, in a file or in a database.

use std::path::PathBuf;
use std::sync::Arc;

use annals::{
    Annals, DeliveryQueue, EventStore, PostgresReadSide, PostgresStore, RowStore, SqliteReadSide,
    SqliteStore,
};
use annals_scratch::{Cluster, Database};
use tempfile::TempDir;

use crate::Args;

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum On {
    Sqlite,
    Postgres,
}

impl std::fmt::Display for On {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            On::Sqlite => "SQLite",
            On::Postgres => "PostgreSQL",
        })
    }
}

pub struct Place {
    pub annals: Annals,
    pub store: Arc<dyn EventStore>,
    pub rows: Arc<dyn RowStore>,
    pub queue: Arc<dyn DeliveryQueue>,
    pub raw: Raw,
}

/// How a raw loop reaches the same log.
pub enum Raw {
    File(#[expect(dead_code, reason = "the file lives as long as it")] TempDir, PathBuf),
    Database(Box<Database>),
}

/// Where anew each time.
pub struct Places {
    cluster: Option<Cluster>,
}

impl Places {
    pub async fn start(args: &Args) -> Self {
        if !args.on().contains(&On::Postgres) {
            return Self { cluster: None };
        }
        let settings =
            [("shared_buffers", "512MB"), ("max_wal_size", "8GB"), ("checkpoint_timeout", "1h")];
        Self { cluster: Some(Cluster::start(&settings).await.expect("the server starts")) }
    }

    pub async fn on(&self, on: On) -> Place {
        match (on, &self.cluster) {
            (On::Postgres, Some(cluster)) => database(cluster).await,
            _ => file(),
        }
    }
}

fn file() -> Place {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("bank.db");
    let store = SqliteStore::open(&path).expect("the log opens");
    let read_side = SqliteReadSide::open(&path).expect("the read side opens");
    Place {
        annals: Annals::new(store.clone()),
        store: Arc::new(store),
        rows: Arc::new(read_side.clone()),
        queue: Arc::new(read_side),
        raw: Raw::File(directory, path),
    }
}

async fn database(cluster: &Cluster) -> Place {
    let database = cluster.database().await;
    let store = PostgresStore::connect(database.url()).await.expect("the log opens");
    let read_side = PostgresReadSide::connect(database.url()).await.expect("it opens");
    Place {
        annals: Annals::new(store.clone()),
        store: Arc::new(store),
        rows: Arc::new(read_side.clone()),
        queue: Arc::new(read_side),
        raw: Raw::Database(Box::new(database)),
    }
}
