//! The store and the read side in SQLite files: their contracts, and what only files can do.

mod catalog;
mod closing;
mod conditions;
mod conformance;
mod damage;
mod derived;
mod paging;
mod read_side;
mod recovery;
mod sharing;
mod snapshots;
mod stored_bytes;
mod transaction;
