//! Whether a webhook's messages arrive, and when to stop trying.

use annals::Timestamp;

use crate::Disabling;
use crate::webhook::between;

/// What this process has seen of a webhook since a message last arrived. What must outlive the
/// process, since when nothing arrives, is in the log.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failed: u32,
    first_failed: Option<Timestamp>,
    exhausted: u32,
}

/// What is to be recorded of a webhook.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Failing { since: Timestamp },
    Recovered,
    Disable { reason: String },
}

impl Health {
    /// Notes that an attempt arrived.
    pub(crate) fn delivered(&mut self, recorded: Option<Timestamp>) -> Option<Finding> {
        *self = Self::default();
        recorded.map(|_| Finding::Recovered)
    }

    /// Notes that an attempt failed, and whether it was the last one of its message. `recorded`
    /// is since when all fail, by the log.
    pub(crate) fn failed(
        &mut self,
        recorded: Option<Timestamp>,
        given_up: bool,
        now: Timestamp,
        policy: &Disabling,
    ) -> Option<Finding> {
        self.failed = self.failed.saturating_add(1);
        let first = *self.first_failed.get_or_insert(now);
        self.exhausted = self.exhausted.saturating_add(u32::from(given_up));
        if policy.exhausted_max.is_some_and(|max| self.exhausted >= max) {
            let reason = format!("{} messages in a row could not be delivered", self.exhausted);
            return Some(Finding::Disable { reason });
        }
        let since = recorded.unwrap_or(first);
        let persistent = recorded.is_some() || self.failed >= policy.failing_from;
        let too_long = policy.failing_for.is_some_and(|time| between(since, now) >= time);
        if persistent && too_long {
            let reason = format!("every attempt since {since} has failed");
            return Some(Finding::Disable { reason });
        }
        (persistent && recorded.is_none()).then_some(Finding::Failing { since })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn hour(number: u32) -> Timestamp {
        Timestamp::EPOCH.saturating_add(HOUR * number)
    }

    #[test]
    fn it_is_recorded_once_that_attempt_after_attempt_fails() {
        let policy = Disabling::never().failing_from(3);
        let mut health = Health::default();
        assert_eq!(health.failed(None, false, hour(1), &policy), None);
        assert_eq!(health.failed(None, false, hour(2), &policy), None);
        let failing = Some(Finding::Failing { since: hour(1) });
        assert_eq!(health.failed(None, false, hour(3), &policy), failing);
        assert_eq!(health.failed(Some(hour(1)), true, hour(400), &policy), None);
        assert_eq!(health.delivered(Some(hour(1))), Some(Finding::Recovered));
        assert_eq!(health.failed(None, false, hour(401), &policy), None);
        assert_eq!(health.delivered(None), None);
    }

    #[test]
    fn what_fails_for_too_long_is_disabled_also_after_a_restart() {
        let policy = Disabling::never().failing_for(HOUR * 24);
        let mut health = Health::default();
        assert_eq!(health.failed(Some(hour(0)), false, hour(23), &policy), None);
        let reason = "every attempt since 1970-01-01T00:00:00Z has failed".to_owned();
        let disable = Some(Finding::Disable { reason });
        assert_eq!(health.failed(Some(hour(0)), false, hour(24), &policy), disable);
    }

    #[test]
    fn so_many_lost_messages_in_a_row_disable_it() {
        let policy = Disabling::never().exhausted_max(2);
        let mut health = Health::default();
        assert_eq!(health.failed(None, true, hour(1), &policy), None);
        assert_eq!(health.delivered(None), None);
        assert_eq!(health.failed(None, true, hour(2), &policy), None);
        assert_eq!(health.failed(None, false, hour(2), &policy), None);
        let reason = "2 messages in a row could not be delivered".to_owned();
        let disable = Some(Finding::Disable { reason });
        assert_eq!(health.failed(None, true, hour(3), &policy), disable);
    }
}
