//! Users of an application, event-sourced: each change of a user's row and the event that
//! records it commit in one transaction, or not at all.
//!
//! Follow a request through the files: [`http`] takes it, [`parameters`] validates it,
//! [`change`] decides and calculates, [`postgres`] or [`sqlite`] does it in one transaction.
//! [`user`] has the events and the calculator that makes rows of them.

pub mod change;
mod context;
pub mod hashing;
pub mod http;
pub mod parameters;
pub mod password;
pub mod postgres;
mod problem;
pub mod serve;
pub mod sqlite;
pub mod user;
pub mod users;
