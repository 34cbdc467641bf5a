//! Rules over a log in memory: deliveries made by hand, and by inboxes.

#![expect(clippy::unwrap_used, reason = "what tests call is part of the test")]

mod end_to_end;
mod firing;
mod golden;
mod in_force;
mod loops;
mod redelivery;
mod rows;
mod tracker;
mod writing;
