//! Projections over every store and read side, in one process and in several.

mod bank;
mod crash;
mod deleting;
mod ending;
mod keys;
#[cfg(feature = "sqlite")]
mod killed;
mod live;
mod panics;
mod places;
mod poison;
mod rebuild;
mod running;
mod swap;
mod takeover;
mod unreadable;
mod versions;
