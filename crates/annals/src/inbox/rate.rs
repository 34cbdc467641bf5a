//! How many attempts in how much time.

use std::time::Duration;

use annals_core::Timestamp;

/// How many attempts an inbox makes in how much time, in each process that runs it.
///
/// What is not made yet waits in the queue, and no attempt is counted for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    count: u32,
    every: Duration,
    burst: u32,
}

impl RateLimit {
    /// At most `count` attempts a second; 0 is taken for 1.
    #[must_use]
    pub fn per_second(count: u32) -> Self {
        Self::per(count, Duration::from_secs(1))
    }

    /// At most `count` attempts a minute; 0 is taken for 1.
    #[must_use]
    pub fn per_minute(count: u32) -> Self {
        Self::per(count, Duration::from_secs(60))
    }

    /// At most `count` attempts in each stretch of time of this length; 0 is taken for 1.
    #[must_use]
    pub fn per(count: u32, every: Duration) -> Self {
        let count = count.max(1);
        Self { count, every, burst: count }
    }

    /// The same with at most so many attempts at once after a quiet time; `count` unless said
    /// otherwise. With 1 they are spread evenly.
    #[must_use]
    pub fn burst(mut self, burst: u32) -> Self {
        self.burst = burst.max(1);
        self
    }

    fn micros_each(self) -> i64 {
        let micros = self.every.as_micros() / u128::from(self.count);
        i64::try_from(micros).unwrap_or(i64::MAX)
    }
}

/// The attempts that a [`RateLimit`] allows, counted as the moment at which all that were used
/// will have been earned.
#[derive(Debug)]
pub(super) struct Allowance {
    limit: RateLimit,
    earned_at: Timestamp,
}

impl Allowance {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self { limit, earned_at: Timestamp::MIN }
    }

    /// How many attempts may be made now.
    pub(super) fn left(&self, now: Timestamp) -> usize {
        let each = self.limit.micros_each();
        let owed = self.earned_at.as_micros().saturating_sub(now.as_micros()).max(0);
        let full = each.saturating_mul(i64::from(self.limit.burst));
        let left = if each == 0 { i64::MAX } else { full.saturating_sub(owed) / each };
        usize::try_from(left).unwrap_or(0)
    }

    /// So many attempts are made.
    pub(super) fn used(&mut self, count: usize, now: Timestamp) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let micros = self.limit.micros_each().saturating_mul(count);
        let from = self.earned_at.max(now).as_micros();
        self.earned_at = Timestamp::from_micros(from.saturating_add(micros));
    }

    /// When the next attempt may be made, if none may be made now.
    pub(super) fn next(&self) -> Timestamp {
        let ahead = self.limit.micros_each().saturating_mul(i64::from(self.limit.burst) - 1);
        Timestamp::from_micros(self.earned_at.as_micros().saturating_sub(ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis * 1000)
    }

    #[test]
    fn what_is_used_is_earned_again_with_time() {
        let mut allowance = Allowance::new(RateLimit::per_second(10));
        assert_eq!(allowance.left(at(0)), 10);
        allowance.used(10, at(0));
        assert_eq!((allowance.left(at(0)), allowance.next()), (0, at(100)));
        assert_eq!((allowance.left(at(99)), allowance.left(at(100))), (0, 1));
        assert_eq!(allowance.left(at(550)), 5);
        allowance.used(5, at(550));
        assert_eq!(allowance.left(at(599)), 0);
        assert_eq!(allowance.left(at(60_000)), 10);
    }

    #[test]
    fn without_bursts_attempts_are_spread() {
        let mut allowance = Allowance::new(RateLimit::per_minute(60).burst(1));
        let mut made = Vec::new();
        for millis in (0..5000).step_by(100) {
            if allowance.left(at(millis)) > 0 {
                allowance.used(1, at(millis));
                made.push(millis);
            }
        }
        assert_eq!(made, [0, 1000, 2000, 3000, 4000]);
    }
}
