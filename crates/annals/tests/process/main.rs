//! Process managers and scheduled commands, over every store and read side, and with deaths
//! between all steps.

#![expect(clippy::unwrap_used, reason = "what tests call is part of the test")]

mod crash;
mod dead_letters;
mod deadlines;
#[allow(dead_code, reason = "other tests use all of it")]
#[path = "../framework/inbox/faults.rs"]
mod faults;
mod faulty_log;
mod fulfilment;
mod places;
mod running;
mod schedule;
mod shop;
