//! Many cases of one kind, always the same ones, and the smallest of those that fail.

use std::cell::RefCell;
use std::fmt::Debug;

use annals_core::Panicked;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

/// How many cases, and which.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cases {
    pub(super) count: u32,
    pub(super) seed: u64,
}

impl Default for Cases {
    fn default() -> Self {
        Self { count: 256, seed: 0 }
    }
}

impl Cases {
    /// Tries them, each told by `test` with a story when it fails; panics with that of the
    /// smallest.
    #[track_caller]
    pub(super) fn run<T: Debug>(
        self,
        strategy: &impl Strategy<Value = T>,
        what: &str,
        test: impl Fn(T) -> Result<(), String>,
    ) {
        // Of the cases that fail, the last one is the smallest.
        let last = RefCell::new(String::new());
        let outcome = TestRunner::new(self.config()).run(strategy, |case| {
            test(case).map_err(|story| {
                last.replace(story);
                TestCaseError::fail("told below")
            })
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Abort(reason)) => panic!("{what} was not tried: {reason}"),
            Err(TestError::Fail(..)) => {
                let Self { seed, .. } = self;
                panic!("{what}; the smallest case of seed {seed}:\n{}", last.borrow())
            }
        }
    }

    fn config(self) -> Config {
        Config {
            cases: self.count,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(self.seed),
            ..Config::default()
        }
    }
}

/// What a check says, and what it panicked with if it did.
pub(super) fn check(holds: impl FnOnce() -> bool) -> Result<(), String> {
    match caught(holds) {
        Ok(true) => Ok(()),
        Ok(false) => Err("does not hold here".to_owned()),
        Err(said) => Err(format!("does not hold here: {said}")),
    }
}

/// What it comes to, or what it panicked with.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    Panicked::catch(work).map_err(|panicked| panicked.said)
}
