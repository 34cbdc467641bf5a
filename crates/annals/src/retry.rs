//! How often to try again, and how long to wait before it.

use std::time::Duration;

/// How often a command is tried, and how long to wait in between.
///
/// The waits grow exponentially up to a bound, and of each a random share is taken, so that
/// those who met once do not meet again.
///
/// ```
/// use std::time::Duration;
/// use annals::RetryPolicy;
///
/// let patient = RetryPolicy::default().attempts_max(50).wait_max(Duration::from_secs(5));
/// let once = RetryPolicy::default().attempts_max(1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    attempts_max: u32,
    wait_first: Duration,
    wait_max: Duration,
}

impl Default for RetryPolicy {
    /// 10 attempts, which wait up to 5 ms before the second, 10 ms before the third and so on
    /// up to 1 s: enough for dozens who change one stream at the same moment.
    fn default() -> Self {
        Self {
            attempts_max: 10,
            wait_first: Duration::from_millis(5),
            wait_max: Duration::from_secs(1),
        }
    }
}

impl RetryPolicy {
    /// The same with at most so many attempts, the first one counted; 0 is taken for 1.
    #[must_use]
    pub fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = attempts.max(1);
        self
    }

    /// The same with at most this wait before the second attempt.
    #[must_use]
    pub fn wait_first(mut self, wait: Duration) -> Self {
        self.wait_first = wait;
        self
    }

    /// The same with at most this wait before any attempt.
    #[must_use]
    pub fn wait_max(mut self, wait: Duration) -> Self {
        self.wait_max = wait;
        self
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.attempts_max
    }

    /// The longest wait before attempt number `attempt`, which is 2 or more.
    fn wait_bound(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(2).min(31);
        self.wait_first.saturating_mul(1 << doublings).min(self.wait_max)
    }
}

/// The attempts made under a policy.
#[derive(Debug)]
pub(crate) struct Attempts<'a> {
    policy: &'a RetryPolicy,
    made: u32,
}

impl<'a> Attempts<'a> {
    /// The first attempt is being made.
    pub(crate) fn first(policy: &'a RetryPolicy) -> Self {
        Self { policy, made: 1 }
    }

    /// How many were made.
    pub(crate) fn made(&self) -> u32 {
        self.made
    }

    /// Waits for the next attempt; `false` when there is none left.
    pub(crate) async fn next(&mut self) -> bool {
        if self.made >= self.policy.attempts_max {
            return false;
        }
        self.made += 1;
        let wait = self.policy.wait_bound(self.made).mul_f64(share());
        tokio::time::sleep(wait).await;
        true
    }
}

/// A random number from 0 to 1, and the only one in this crate: it decides how long somebody
/// waits, and never what is recorded.
pub(crate) fn share() -> f64 {
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    rand::random()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_bound() {
        let policy = RetryPolicy::default()
            .wait_first(Duration::from_millis(5))
            .wait_max(Duration::from_millis(30));
        let bounds = [2, 3, 4, 5, 6, u32::MAX].map(|attempt| policy.wait_bound(attempt));
        assert_eq!(bounds.map(|wait| wait.as_millis()), [5, 10, 20, 30, 30, 30]);
        let endless = policy.wait_first(Duration::MAX).wait_max(Duration::MAX).wait_bound(u32::MAX);
        assert_eq!(endless, Duration::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_end() {
        for (attempts_max, made) in [(0, 1), (1, 1), (3, 3)] {
            let policy = RetryPolicy::default().attempts_max(attempts_max);
            let mut attempts = Attempts::first(&policy);
            while attempts.next().await {}
            assert_eq!(attempts.made(), made);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_differ() {
        let policy = RetryPolicy::default().attempts_max(9).wait_first(Duration::from_secs(1));
        let mut attempts = Attempts::first(&policy);
        let mut waits = std::collections::HashSet::new();
        loop {
            let before = tokio::time::Instant::now();
            if !attempts.next().await {
                break;
            }
            let waited = before.elapsed();
            assert!(waited <= Duration::from_secs(1) + Duration::from_millis(1), "{waited:?}");
            waits.insert(waited);
        }
        assert!(waits.len() > 1, "{waits:?}");
    }
}
