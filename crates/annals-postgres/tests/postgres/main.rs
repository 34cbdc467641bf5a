//! The store and the read side on PostgreSQL: their contracts, and what only PostgreSQL can do.

mod closing;
mod conformance;
mod doctor;
mod holding;
mod hostile;
mod inline;
mod misbehaving;
mod opening;
mod partitioned;
mod patience;
mod plans;
mod read_side;
mod read_side_plans;
mod read_side_queue;
mod recovery;
mod restored;
mod roles;
mod slow;
mod snapshots;
mod sql_projection;
mod standby;
mod storm;
mod takeover;
mod transaction;
mod unreplicated;
mod watermark;
