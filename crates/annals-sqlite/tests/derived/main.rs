//! Projections in SQL files: behind the log and inline, across rebuilds and crashes.

mod bank;
mod crash;
mod inline;
mod runner;
mod sql;
