//! Until when somebody waits.

use std::time::Duration;

use tokio::time::Instant;

/// Until when somebody waits: without an end when that is further away than a clock can tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    pub(super) fn within(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    pub(super) fn has_passed(self) -> bool {
        self.0.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// When to look again: after this interval, or at the deadline.
    pub(super) fn or_in(self, interval: Duration) -> Instant {
        let next = Instant::now() + interval;
        self.0.map_or(next, |deadline| deadline.min(next))
    }
}
