//! The language of tests, tested: what it lets pass, what it does not, and what it says then.

mod derived;
mod domain;
mod invariants;
mod log;
mod one_aggregate;
mod process;

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
