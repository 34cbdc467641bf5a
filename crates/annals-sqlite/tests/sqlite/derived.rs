//! Projections in SQL files: behind the log and inline, across rebuilds and crashes.

mod bank;
mod contract;
mod crash;
mod inline;
mod runner;
mod sql;
