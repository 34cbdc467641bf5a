//! What came of an attempt, and what follows from it.

use std::time::Duration;

use crate::send::{Answer, SendError};

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It arrived: 2xx.
    Delivered,
    /// Another attempt may succeed, but not before this time has passed, if one is named: no
    /// connection, no answer in time, 408, 425, 429 and 5xx.
    Transient {
        /// What the receiver asks for.
        retry_after: Option<Duration>,
    },
    /// No other attempt will succeed: every other status, redirects among them, which are not
    /// followed; and URLs and addresses that are not called.
    Permanent,
    /// The receiver wants nothing more: 410. The webhook is disabled.
    Gone,
}

impl Outcome {
    /// By what came back; nobody is left alone for longer than `retry_after_max`.
    pub(crate) fn of(sent: &Result<Answer, SendError>, retry_after_max: Duration) -> Self {
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) if error.is_transient() => return Self::Transient { retry_after: None },
            Err(_) => return Self::Permanent,
        };
        match answer.status {
            200..=299 => Self::Delivered,
            410 => Self::Gone,
            429 | 503 => {
                let retry_after = answer.retry_after.map(|time| time.min(retry_after_max));
                Self::Transient { retry_after }
            }
            408 | 425 | 500..=599 => Self::Transient { retry_after: None },
            _ => Self::Permanent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, retry_after: Option<u64>) -> Outcome {
        let retry_after = retry_after.map(Duration::from_secs);
        let answer = Answer { status, body: String::new(), truncated: false, retry_after };
        Outcome::of(&Ok(answer), Duration::from_mins(1))
    }

    #[test]
    fn a_status_says_what_follows() {
        let again = Outcome::Transient { retry_after: None };
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(of(status, None), Outcome::Delivered, "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert_eq!(of(status, None), again, "{status}");
        }
        for status in [101, 300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 409, 413, 422, 999] {
            assert_eq!(of(status, None), Outcome::Permanent, "{status}");
        }
        assert_eq!(of(410, None), Outcome::Gone);
    }

    #[test]
    fn a_receiver_is_left_alone_as_long_as_it_asks_within_bounds() {
        let after =
            |seconds| Outcome::Transient { retry_after: Some(Duration::from_secs(seconds)) };
        assert_eq!(of(429, Some(7)), after(7));
        assert_eq!(of(503, Some(3_600)), after(60));
        assert_eq!(of(500, Some(7)), Outcome::Transient { retry_after: None });
        assert_eq!(of(200, Some(7)), Outcome::Delivered);
    }
}
