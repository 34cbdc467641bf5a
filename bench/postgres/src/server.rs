//! The one server of a run: everybody measured has an empty database of it for himself.

use annals_postgres::PostgresStore;
use annals_scratch::{Cluster, Database};
use sqlx_core::connection::ConnectOptions;
use sqlx_core::query::query;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::{PgConnectOptions, PgConnection};

/// Beside those of `annals-scratch`, which has `fsync` and `synchronous_commit` on. No checkpoint
/// falls into a measurement: one is made before each.
const SETTINGS: [(&str, &str); 3] =
    [("shared_buffers", "512MB"), ("max_wal_size", "8GB"), ("checkpoint_timeout", "1h")];

pub struct Server {
    cluster: Cluster,
}

impl Server {
    pub async fn start(settings: &[String]) -> Self {
        let split = |text: &String| {
            let (name, value) = text.split_once('=').expect("a setting is NAME=VALUE");
            (name.to_owned(), value.to_owned())
        };
        let further: Vec<_> = settings.iter().map(split).collect();
        let further = further.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let settings: Vec<_> = SETTINGS.into_iter().chain(further).collect();
        Self { cluster: Cluster::start(&settings).await.expect("the server starts") }
    }

    /// Its version, and the settings that matter.
    pub async fn describe(&self) -> String {
        let mut connection = connect(&self.cluster.url("postgres")).await;
        let statement = "SELECT 'PostgreSQL ' || current_setting('server_version') || ', ' ||
            string_agg(name || '=' || current_setting(name), ', ')
            FROM unnest(ARRAY['fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers',
                              'max_wal_size', 'wal_sync_method']) AS name";
        query_scalar(statement).fetch_one(&mut connection).await.expect("the settings are known")
    }

    /// An empty database, after a checkpoint. It goes with the value.
    pub async fn database(&self) -> Database {
        let database = self.cluster.database().await;
        let mut connection = connect(database.url()).await;
        query("CHECKPOINT").execute(&mut connection).await.expect("the checkpoint is made");
        database
    }

    pub fn port(&self) -> u16 {
        self.cluster.port()
    }
}

pub async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().expect("the server's URL is valid");
    options.connect().await.expect("the server accepts connections")
}

pub async fn open(database: &Database) -> PostgresStore {
    PostgresStore::connect(database.url()).await.expect("the store opens")
}
