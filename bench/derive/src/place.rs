//! Where something is measured: a log and a read side, in a file or in a database.

use std::path::PathBuf;
use std::sync::Arc;

use annals::{
    Annals, DeliveryQueue, EventStore, PostgresReadSide, PostgresStore, RowStore, SqliteReadSide,
    SqliteStore,
};
use annals_scratch::{Cluster, Database};
use tempfile::TempDir;

pub struct Place {
    pub name: &'static str,
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

pub struct Places {
    cluster: Cluster,
}

impl Places {
    pub async fn start() -> Self {
        let settings =
            [("shared_buffers", "512MB"), ("max_wal_size", "8GB"), ("checkpoint_timeout", "1h")];
        Self { cluster: Cluster::start(&settings).await.expect("the server starts") }
    }

    pub async fn file(&self) -> Place {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("bank.db");
        let store = SqliteStore::open(&path).expect("the log opens");
        let read_side = SqliteReadSide::open(&path).expect("the read side opens");
        Place {
            name: "SQLite",
            annals: Annals::new(store.clone()),
            store: Arc::new(store),
            rows: Arc::new(read_side.clone()),
            queue: Arc::new(read_side),
            raw: Raw::File(directory, path),
        }
    }

    pub async fn database(&self) -> Place {
        let database = self.cluster.database().await;
        let store = PostgresStore::connect(database.url()).await.expect("the log opens");
        let read_side = PostgresReadSide::connect(database.url()).await.expect("it opens");
        Place {
            name: "PostgreSQL",
            annals: Annals::new(store.clone()),
            store: Arc::new(store),
            rows: Arc::new(read_side.clone()),
            queue: Arc::new(read_side),
            raw: Raw::Database(Box::new(database)),
        }
    }
}
