//! The store of Annals on PostgreSQL 15 or newer.
//!
//! Many processes write to one log, each grouping the appends of its callers into few round
//! trips, and readers never wait for writers nor miss what they wrote. An application's own rows
//! and its events commit together: see [`PostgresStore::append_in`].
//!
//! Follow an append through the files: [`store`](PostgresStore) → `writer` → `append` →
//! `schema/0001_events.sql`; a read: `store` → `read` → `query` → `row`; and a subscription:
//! `subscribe` → `watermark`. `snapshot` is a story of its own.

mod append;
mod bell;
mod catalog;
mod check;
mod connections;
mod doctor;
mod fault;
mod foreign;
mod group;
mod inline;
mod keys;
mod listen;
mod moment;
mod number;
mod open;
mod partitions;
mod query;
mod read;
mod read_side;
mod repeat;
mod role;
mod row;
mod schema;
mod snapshot;
mod sql;
mod store;
mod subscribe;
mod transaction;
mod view;
mod waiting;
mod watermark;
mod writer;

pub use doctor::{Finding, Severity, diagnose};
pub use fault::OpenError;
pub use inline::{Inline, InlineError, PostgresReactor};
pub use open::Options;
pub use partitions::{InvalidPartitionName, Partition, PartitionError, PartitionName};
pub use read_side::{
    BoxError, InvalidTableName, PostgresProjection, PostgresReadSide, PostgresRows,
    ProjectionTable, ReadSideOptions, TableName,
};
pub use role::{InvalidRoleName, RoleName};
pub use schema::{InvalidSchemaName, SchemaName};
pub use store::{PostgresStore, WatermarkStatus};
pub use watermark::Blocker;
