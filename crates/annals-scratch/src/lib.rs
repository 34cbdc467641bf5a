//! Throwaway PostgreSQL servers for tests and measurements.
//!
//! [`Database::create`] gives a test an empty database of its own; [`Cluster`] gives it a whole
//! server, to be stopped, paused, restarted and followed. Nothing made here outlives the process
//! that made it, however that process ends.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let database = annals_scratch::Database::create().await;
//! assert!(database.url().ends_with(database.name()));
//! # }
//! ```

mod account;
mod binaries;
mod cluster;
#[cfg(feature = "databases")]
mod database;
mod error;
mod keeper;
mod process;

pub use binaries::{Binaries, OLDEST_VERSION};
pub use cluster::{Cluster, Mode};
#[cfg(feature = "databases")]
pub use database::Database;
pub use error::Error;

/// The environment variable with the URL of a server in which databases may be created.
pub const SHARED_SERVER: &str = "ANNALS_TEST_POSTGRES";
