//! The language of tests, tested: what it lets pass, what it does not, and what it says then.

#![expect(clippy::unwrap_used, reason = "what tests call is part of the test")]

mod derived;
mod domain;
#[path = "../process/fulfilment.rs"]
mod fulfilment;
mod invariants;
mod log;
mod one_aggregate;
mod process;
#[path = "../process/shop.rs"]
mod shop;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a test that must fail says.
#[track_caller]
fn failure<T>(test: impl FnOnce() -> T) -> String {
    let Err(panic) = catch_unwind(AssertUnwindSafe(test)) else {
        panic!("it was let pass");
    };
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => (*other.downcast::<&str>().unwrap()).to_owned(),
    }
}
