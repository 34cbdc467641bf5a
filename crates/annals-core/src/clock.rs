//! The seam for time: stores ask a [`Clock`], so that tests and simulations can fix it.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use crate::Timestamp;

/// Where a store takes `recorded_at` from.
///
/// A clock may jump backwards; stores keep `recorded_at` from decreasing by themselves (S9).
pub trait Clock: Send + Sync + Debug {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the seam")]
        let now = std::time::SystemTime::now();
        Timestamp::from(now)
    }
}

/// A clock that stands still until it is told to move.
///
/// ```
/// use annals_core::{Clock, ManualClock, Timestamp};
///
/// let clock = ManualClock::at("2026-03-01T12:00:00Z".parse::<Timestamp>()?);
/// clock.set("2026-03-02T12:00:00Z".parse()?);
/// assert_eq!(clock.now().to_string(), "2026-03-02T12:00:00Z");
/// # Ok::<(), annals_core::InvalidTimestamp>(())
/// ```
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves the clock, forwards or backwards.
    pub fn set(&self, now: Timestamp) {
        *self.0.lock().expect("no code panics while holding the clock") = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no code panics while holding the clock")
    }
}
