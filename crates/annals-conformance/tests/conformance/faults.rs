//! Stores that answer late, or lose answers, still pass the suite.

use annals_conformance::faults::{LosesAnswers, Slow};
use annals_conformance::{Decorated, suite};
use annals_core::MemoryStore;

mod loses_answers {
    use super::*;

    suite!(|| async { Decorated::over(MemoryStore::new(), LosesAnswers::seeded(1)) });
}

mod slow {
    use super::*;

    suite!(|| async { Decorated::over(MemoryStore::new(), Slow::seeded(1)) });
}
