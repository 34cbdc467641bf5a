//! Any history gives the same answers as a plain model of the contract.
//!
//! Random operations are played to a store and to a model that is nothing but a list and loops
//! over it. Where the contract leaves a choice (which of two conflicts is named, how positions
//! are numbered) any true answer passes. A history that fails is shortened before it is shown.

mod log;
mod operation;
mod play;

use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use tokio::runtime::Handle;

use crate::Backend;

/// How many operations a history has at most.
const OPERATIONS_MAX: usize = 60;
const CASES_DEFAULT: u64 = 24;
const SEED_DEFAULT: u64 = 1;

pub(crate) async fn model_random_histories(backend: &dyn Backend) {
    let (mut runner, seed) = seeded_runner();
    let histories = proptest::collection::vec(operation::any(), 1..=OPERATIONS_MAX);
    let played = tokio::task::block_in_place(|| {
        runner.run(&histories, |history| Handle::current().block_on(play::play(backend, history)))
    });
    match played {
        Ok(()) => {}
        Err(TestError::Fail(reason, history)) => {
            let lines: Vec<_> =
                history.iter().enumerate().map(|(n, step)| format!("  {n}: {step:?}")).collect();
            panic!(
                "seed {seed}: the store and the model disagree: {reason}\nthe shortest history \
                 found that shows it:\n{}",
                lines.join("\n")
            );
        }
        Err(TestError::Abort(reason)) => panic!("no histories could be made: {reason}"),
    }
}

/// As many cases, and as random, as the environment says; with the seed, to be told on failure.
pub(crate) fn seeded_runner() -> (TestRunner, u64) {
    let cases = setting("ANNALS_CONFORMANCE_CASES", CASES_DEFAULT);
    let seed = setting("ANNALS_CONFORMANCE_SEED", SEED_DEFAULT);
    let config = Config {
        cases: u32::try_from(cases).unwrap_or(u32::MAX),
        failure_persistence: None,
        max_shrink_iters: 600,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    (TestRunner::new_with_rng(config, random), seed)
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => {
            text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}"))
        }
        Err(_) => default,
    }
}
