//! Projections in SQL files: behind the log and inline, across rebuilds and crashes.

mod bank;
mod runner;
mod sql;
