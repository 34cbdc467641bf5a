//! The embedded store of Annals, on SQLite.
//!
//! One file, in WAL mode, with an fsync for every acknowledged append. One thread writes and
//! lets waiting callers share a transaction; several threads read beside it. Several processes
//! may use the same file.
//!
//! Beside it stands the [read side](SqliteReadSide), in the same file or another one: what is
//! derived from a log.
//!
//! Follow an append through the files: [`store`](SqliteStore) → `writer` → `append`; and a read:
//! `store` → `read` → `query` → `row`; and a snapshot: `snapshot` → `writer` → `chore`. `schema`
//! has the tables.

mod append;
mod catalog;
mod check;
mod chore;
mod connection;
mod fault;
mod inline;
mod number;
mod open;
mod projection;
mod query;
mod read;
mod read_side;
mod reader;
mod row;
mod schema;
mod snapshot;
mod store;
mod stream;
mod transaction;
mod writer;

pub use check::Check;
pub use fault::OpenError;
pub use inline::{Inline, SqliteReactor};
pub use open::Options;
pub use projection::{
    InvalidTableName, ProjectionTable, SqlProjector, SqliteProjection, SqliteRows, TableName,
};
pub use read_side::{ReadSideOptions, SqliteReadSide};
pub use store::SqliteStore;
