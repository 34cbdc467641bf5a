//! How often a delivery is tried, and when.

use std::time::Duration;

use annals_core::{Then, Timestamp};

use crate::ReactErrorKind;
use crate::retry::share;

/// How often a delivery is tried, and when.
///
/// The waits double up to a bound, and of each a random share is taken, so that what failed
/// together is not tried again together.
///
/// ```
/// use std::time::Duration;
/// use annals::inbox::Retries;
///
/// let patient = Retries::default()
///     .attempts_max(20)
///     .age_max(Duration::from_secs(7 * 24 * 3600))
///     .first(Duration::from_secs(5))
///     .longest(Duration::from_secs(6 * 3600));
/// let never = Retries::default().attempts_max(1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    attempts_max: u32,
    age_max: Option<Duration>,
    first: Duration,
    longest: Duration,
    is_exact: bool,
}

impl Default for Retries {
    /// 10 attempts, up to 1 s before the second, 2 s before the third and so on up to 1 h,
    /// whatever the age.
    fn default() -> Self {
        Self {
            attempts_max: 10,
            age_max: None,
            first: Duration::from_secs(1),
            longest: Duration::from_secs(3600),
            is_exact: false,
        }
    }
}

impl Retries {
    /// The same with at most so many attempts, the first one counted; 0 is taken for 1. One that a
    /// process did not survive counts as well, and so do those that it made at the same time.
    #[must_use]
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = attempts.max(1);
        self
    }

    /// The same, and no attempt begins later than this after the delivery was enqueued, or due
    /// first, unless somebody [retries](super::Inboxes::retry) it: what waited for longer, while
    /// its inbox was paused for example, is a dead letter.
    #[must_use]
    pub fn age_max(mut self, age: Duration) -> Self {
        self.age_max = Some(age);
        self
    }

    /// The same with at most this wait before the second attempt.
    #[must_use]
    pub fn first(mut self, wait: Duration) -> Self {
        self.first = wait;
        self
    }

    /// The same with at most this wait before any attempt, unless the reactor
    /// [asks for more](crate::ReactError::retry_after).
    #[must_use]
    pub fn longest(mut self, wait: Duration) -> Self {
        self.longest = wait;
        self
    }

    /// The same without randomness: each wait is as long as it may be. For tests that foretell
    /// when a delivery is tried.
    #[must_use]
    pub fn without_jitter(mut self) -> Self {
        self.is_exact = true;
        self
    }

    /// Whether an attempt with this number is made at all.
    pub(super) fn allows_attempt(&self, attempt: u32) -> Result<(), Spent> {
        let max = self.attempts_max;
        if attempt > max { Err(Spent::Attempts { max, begun: attempt - 1 }) } else { Ok(()) }
    }

    /// Whether an attempt may begin at `now`, when its age is counted from `since`.
    pub(super) fn allows_age(&self, since: Timestamp, now: Timestamp) -> Result<(), Spent> {
        match self.age_max {
            Some(max) if now > since.saturating_add(max) => Err(Spent::Age { max, since }),
            _ => Ok(()),
        }
    }

    /// What happens after attempt number `attempt` has failed at `now`; `since` is the moment
    /// from which its age is counted.
    pub(super) fn then(
        &self,
        kind: ReactErrorKind,
        attempt: u32,
        since: Timestamp,
        now: Timestamp,
    ) -> Then {
        let asked = match kind {
            ReactErrorKind::Permanent => return Then::Dead,
            ReactErrorKind::Transient => Duration::ZERO,
            ReactErrorKind::RetryAfter(wait) => wait,
        };
        if attempt >= self.attempts_max {
            return Then::Dead;
        }
        let bound = self.wait_bound(attempt);
        let wait = if self.is_exact { bound } else { bound.mul_f64(share()) };
        let next = now.saturating_add(wait.max(asked));
        match self.age_max {
            Some(age) if next > since.saturating_add(age) => Then::Dead,
            _ => Then::Again(next),
        }
    }

    /// The longest wait after attempt number `attempt`.
    fn wait_bound(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }
}

/// Why a delivery is not tried any more.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Spent {
    #[error(
        "{begun} attempts were begun, and {max} are allowed, but what came of the last one was \
         never said: the process that made it ended meanwhile, because of it or of another beside \
         it; find out why, then retry or skip it"
    )]
    Attempts { max: u32, begun: u32 },
    #[error("it has waited since {since}, and no attempt begins after {max:?}; retry or skip it")]
    Age { max: Duration, since: Timestamp },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(retries: &Retries, kind: ReactErrorKind, attempt: u32) -> Option<u64> {
        let then = retries.then(kind, attempt, Timestamp::EPOCH, Timestamp::EPOCH);
        match then {
            Then::Again(at) => Some(u64::try_from(at.as_micros()).unwrap() / 1_000_000),
            Then::Dead => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn waits_double_up_to_their_bound_and_end() {
        let seconds = Duration::from_secs;
        let retries = Retries::default().attempts_max(6).longest(seconds(5)).without_jitter();
        let waits = [1, 2, 3, 4, 5, 6, 7].map(|n| wait(&retries, ReactErrorKind::Transient, n));
        assert_eq!(waits, [Some(1), Some(2), Some(4), Some(5), Some(5), None, None]);
        let asked = ReactErrorKind::RetryAfter(seconds(60));
        assert_eq!(wait(&retries, asked, 1), Some(60));
        assert_eq!(wait(&retries, ReactErrorKind::Permanent, 1), None);
        let young = retries.age_max(seconds(3));
        assert_eq!(wait(&young, ReactErrorKind::Transient, 2), Some(2));
        assert_eq!(wait(&young, ReactErrorKind::Transient, 3), None);
        assert_eq!(wait(&young, asked, 1), None);
    }

    #[test]
    fn jitter_shortens_and_varies_waits() {
        let retries = Retries::default().first(Duration::from_secs(1000));
        let then =
            || retries.then(ReactErrorKind::Transient, 1, Timestamp::EPOCH, Timestamp::EPOCH);
        let waits: std::collections::HashSet<_> =
            (0..20).map(|_| format!("{:?}", then())).collect();
        assert!(waits.len() > 1, "{waits:?}");
        let longest = Timestamp::EPOCH.saturating_add(Duration::from_secs(1000));
        assert!((0..100).all(|_| matches!(then(), Then::Again(at) if at <= longest)));
    }
}
