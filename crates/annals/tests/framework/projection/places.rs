//! The places in which a projection may run: a log, and a read side for it.

use std::sync::Arc;
use std::time::Duration;

use annals::{Annals, EventStore, MemoryReadSide, MemoryStore};
use annals_conformance::read_side::ReadSide;

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A log, and a read side beside it.
pub(crate) struct Place {
    pub(crate) bank: Annals,
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) rows: Arc<dyn ReadSide>,
    /// What has to live as long as they do.
    _keep: Box<dyn std::any::Any + Send + Sync>,
}

impl Place {
    fn new(
        store: impl EventStore + 'static,
        rows: impl ReadSide + 'static,
        keep: impl std::any::Any + Send + Sync,
    ) -> Self {
        let store: Arc<dyn EventStore> = Arc::new(store);
        let bank = Annals::new(Arc::clone(&store));
        Self { bank, store, rows: Arc::new(rows), _keep: Box::new(keep) }
    }
}

pub(crate) async fn in_memory() -> Place {
    Place::new(MemoryStore::new(), MemoryReadSide::new(), ())
}

/// Log and read side in one file.
#[cfg(feature = "sqlite")]
pub(crate) async fn in_a_file() -> Place {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("bank.db");
    let store = annals::SqliteStore::open(&path).expect("the log opens");
    let rows = annals::SqliteReadSide::open(&path).expect("the read side opens");
    Place::new(store, rows, directory)
}

/// Log and read side in one database.
#[cfg(feature = "postgres")]
pub(crate) async fn in_a_database() -> Place {
    let database = annals_scratch::Database::create().await;
    let store = annals::PostgresStore::connect(database.url()).await.expect("the log opens");
    let rows = annals::PostgresReadSide::connect(database.url()).await;
    Place::new(store, rows.expect("the read side opens"), database)
}

/// A log in a file, and a read side in a database: they share no transaction, and need none.
#[cfg(all(feature = "sqlite", feature = "postgres"))]
pub(crate) async fn apart() -> Place {
    let directory = tempfile::tempdir().expect("a directory");
    let store = annals::SqliteStore::open(directory.path().join("bank.db")).expect("it opens");
    let database = annals_scratch::Database::create().await;
    let rows = annals::PostgresReadSide::connect(database.url()).await;
    Place::new(store, rows.expect("the read side opens"), (directory, database))
}

/// Makes a test of each of these functions in each place.
macro_rules! in_each_place {
    ($($test:ident),* $(,)?) => {
        crate::projection::places::in_place!(in_memory, [], $($test)*);
        crate::projection::places::in_place!(in_a_file, [feature = "sqlite"], $($test)*);
        crate::projection::places::in_place!(in_a_database, [feature = "postgres"], $($test)*);
        crate::projection::places::in_place!(apart, [feature = "sqlite", feature = "postgres"], $($test)*);
    };
}
pub(crate) use in_each_place;

macro_rules! in_place {
    ($place:ident, [$($condition:tt)*], $($test:ident)*) => {
        #[cfg(all($($condition)*))]
        mod $place {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(crate::projection::places::$place().await).await;
                }
            )*
        }
    };
}
pub(crate) use in_place;
