//! Feeds, the same on every database: each test runs in memory, on SQLite and on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "what tests call is part of the test")]

mod activity;
mod audit;
mod counting;
mod descriptions;
mod filters;
mod grouping;
mod live;
mod places;
mod running;
mod statistics;
