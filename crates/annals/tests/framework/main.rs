//! The framework over the store in memory, over stores that fail on purpose, and over a file.

#![expect(clippy::unwrap_used, reason = "what tests call is part of the test")]

mod account;
mod batch;
mod context;
mod courses;
mod decide;
mod event;
mod execute;
mod fold;
mod hammer;
mod idempotent;
mod inbox;
mod kept;
mod load;
mod locked_fields;
mod model;
mod overbooking;
mod reading;
mod record;
mod retention;
mod schema;
mod shapes;
mod stores;
mod upcast;
mod upcast_model;
mod watched;
