//! The framework as applications use it: deciding, deriving and reacting, over every store and read
//! side, over ones that fail on purpose, and through deaths.

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
mod process;
mod projection;
mod reading;
mod record;
mod retention;
mod schema;
mod shapes;
mod stores;
#[cfg(feature = "testing")]
mod testing;
mod upcast;
mod upcast_model;
mod watched;
