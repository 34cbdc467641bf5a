//! What may be said about webhooks as a whole.

use std::sync::Arc;
use std::time::Duration;

use annals::{Clock, SystemClock};

use crate::connect::{Resolve, SystemResolver};
use crate::reach::Reach;

/// How webhooks are sent, and when one is given up.
///
/// ```
/// use std::time::Duration;
/// use annals_webhooks::{Reach, WebhookOptions};
///
/// let options = WebhookOptions::default()
///     .timeout(Duration::from_secs(10))
///     .reach(Reach::public().allowing("10.20.0.0/16".parse()?));
/// # Ok::<(), annals_webhooks::InvalidRange>(())
/// ```
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    pub(crate) reach: Reach,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) body_bytes_max: usize,
    pub(crate) response_bytes_max: usize,
    pub(crate) concurrency: usize,
    pub(crate) attempts_max: u32,
    pub(crate) first_wait: Duration,
    pub(crate) longest_wait: Duration,
    pub(crate) retry_after_max: Duration,
    pub(crate) attempts_kept_max: usize,
    pub(crate) remember: Duration,
    pub(crate) webhooks_max: usize,
    pub(crate) disabling: Disabling,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self {
            reach: Reach::public(),
            resolver: Arc::new(SystemResolver),
            clock: Arc::new(SystemClock),
            timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            body_bytes_max: 1 << 20,
            response_bytes_max: 4 << 10,
            concurrency: 4,
            attempts_max: 20,
            first_wait: Duration::from_secs(5),
            longest_wait: Duration::from_hours(12),
            retry_after_max: Duration::from_hours(1),
            attempts_kept_max: 50,
            remember: Duration::from_hours(7 * 24),
            webhooks_max: 1_000,
            disabling: Disabling::default(),
        }
    }
}

impl WebhookOptions {
    /// Where they may lead; by default to the public network, by `https`.
    #[must_use]
    pub fn reach(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// Where the addresses of hosts come from; by default from the operating system.
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolve + 'static) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    /// Where the time in headers, and until which an old secret is valid, comes from.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How long an attempt may take in all; 15 seconds by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long it may take to be connected, TLS included; 5 seconds by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The most bytes of a message; 1 MiB by default. An event that needs more is not sent.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// The most bytes of an answer that are read and kept; 4 KiB by default.
    #[must_use]
    pub fn response_bytes_max(mut self, bytes: usize) -> Self {
        self.response_bytes_max = bytes;
        self
    }

    /// The most messages that are sent to one webhook at the same time by each process; 4 by
    /// default.
    #[must_use]
    pub fn concurrency(mut self, messages: usize) -> Self {
        self.concurrency = messages.max(1);
        self
    }

    /// How often a message is tried before it is given up; 20 times by default, which with the
    /// [waits](Self::waits) takes up to three and a half days.
    #[must_use]
    pub fn attempts_max(mut self, count: u32) -> Self {
        self.attempts_max = count.max(1);
        self
    }

    /// The longest wait before the second attempt, which doubles with each further one, and the
    /// longest wait before any; 5 seconds and 12 hours by default. A random share of each is
    /// waited.
    #[must_use]
    pub fn waits(mut self, first: Duration, longest: Duration) -> Self {
        (self.first_wait, self.longest_wait) = (first, longest);
        self
    }

    /// The longest time that a receiver may ask to be left alone for; an hour by default.
    #[must_use]
    pub fn retry_after_max(mut self, time: Duration) -> Self {
        self.retry_after_max = time;
        self
    }

    /// The most attempts that are kept to be looked at, for each webhook; 50 by default.
    #[must_use]
    pub fn attempts_kept_max(mut self, count: usize) -> Self {
        self.attempts_kept_max = count;
        self
    }

    /// How long a message that has arrived, or was skipped, is remembered in the queue; 7 days by
    /// default. Within that an event that comes again, after a crash, is not sent again.
    #[must_use]
    pub fn remember(mut self, time: Duration) -> Self {
        self.remember = time;
        self
    }

    /// The most webhooks that can be registered; 1000 by default.
    #[must_use]
    pub fn webhooks_max(mut self, count: usize) -> Self {
        self.webhooks_max = count;
        self
    }

    /// When a webhook is disabled.
    #[must_use]
    pub fn disabling(mut self, disabling: Disabling) -> Self {
        self.disabling = disabling;
        self
    }
}

/// When a webhook whose messages do not arrive is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disabling {
    pub(crate) failing_for: Option<Duration>,
    pub(crate) failing_from: u32,
    pub(crate) exhausted_max: Option<u32>,
}

impl Default for Disabling {
    /// When every attempt of 5 days has failed, or 50 messages in a row were given up.
    fn default() -> Self {
        Self {
            failing_for: Some(Duration::from_hours(5 * 24)),
            failing_from: 5,
            exhausted_max: Some(50),
        }
    }
}

impl Disabling {
    /// Never, unless the receiver answers 410.
    #[must_use]
    pub fn never() -> Self {
        Self { failing_for: None, exhausted_max: None, ..Self::default() }
    }

    /// When every attempt of so long has failed.
    #[must_use]
    pub fn failing_for(mut self, time: Duration) -> Self {
        self.failing_for = Some(time);
        self
    }

    /// How many attempts in a row must fail before it is recorded that a webhook is failing; 5
    /// by default. So one that fails at times does not fill the log.
    #[must_use]
    pub fn failing_from(mut self, attempts: u32) -> Self {
        self.failing_from = attempts.max(1);
        self
    }

    /// When so many messages in a row were given up.
    #[must_use]
    pub fn exhausted_max(mut self, messages: u32) -> Self {
        self.exhausted_max = Some(messages.max(1));
        self
    }
}
