//! The shapes of events over time.

pub(crate) mod canonical;
