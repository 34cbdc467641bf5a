//! The server over real connections on loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod append;
mod client;
mod deliveries;
mod derived;
mod limits;
mod openapi;
mod problems;
mod projections;
mod read;
mod security;
mod tail;
