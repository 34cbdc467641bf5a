//! Process managers and scheduled commands, over every store and read side, and with deaths
//! between all steps.

mod crash;
mod dead_letters;
mod deadlines;
mod faulty_log;
pub(crate) mod fulfilment;
mod places;
mod running;
mod schedule;
pub(crate) mod shop;
