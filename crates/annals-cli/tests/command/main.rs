//! The binary as a user runs it, in a directory of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod annals;
mod append;
mod audit;
mod demo;
mod doctor;
mod http;
mod kill;
mod migrate;
mod partitions;
mod postgres;
mod read;
mod read_side;
mod schema;
mod serve;
mod snapshots;
