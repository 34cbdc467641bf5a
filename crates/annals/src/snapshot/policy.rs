//! When a snapshot is made.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// When a snapshot is made: when any of what is said here is reached.
///
/// ```
/// use std::time::Duration;
/// use annals::SnapshotPolicy;
///
/// // After 100 events, or when folding them took 20 ms or they have a megabyte together:
/// let often = SnapshotPolicy::every(100)
///     .or_after(Duration::from_millis(20))
///     .or_bytes(1024 * 1024);
/// // Only where it pays, whatever that is:
/// let own = SnapshotPolicy::when(|tail| tail.events > 10 && tail.version.get() > 1_000);
/// // Only when the nightly job makes them:
/// let nightly = SnapshotPolicy::never();
/// ```
#[derive(Clone)]
pub struct SnapshotPolicy {
    events: Option<u64>,
    took: Option<Duration>,
    bytes: Option<u64>,
    when: Option<Arc<When>>,
}

type When = dyn Fn(&Tail) -> bool + Send + Sync;

/// What had to be folded besides the last snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tail {
    /// How many events.
    pub events: u64,
    /// How many bytes of data they have.
    pub bytes: u64,
    /// How long it took to read and to fold them.
    pub took: Duration,
    /// The version it came to.
    pub version: annals_core::Version,
}

impl SnapshotPolicy {
    /// Whenever so many events are not in a snapshot yet; 0 is taken for 1.
    #[must_use]
    pub fn every(events: u64) -> Self {
        Self { events: Some(events.max(1)), ..Self::never() }
    }

    /// Never by itself: only when [`refresh_snapshots`](crate::Annals::refresh_snapshots) or
    /// [`rebuild_snapshots`](crate::Annals::rebuild_snapshots) are called.
    #[must_use]
    pub fn never() -> Self {
        Self { events: None, took: None, bytes: None, when: None }
    }

    /// Whenever this says so.
    #[must_use]
    pub fn when(when: impl Fn(&Tail) -> bool + Send + Sync + 'static) -> Self {
        Self { when: Some(Arc::new(when)), ..Self::never() }
    }

    /// The same, and also when loading took so long.
    #[must_use]
    pub fn or_after(mut self, took: Duration) -> Self {
        self.took = Some(took);
        self
    }

    /// The same, and also when the data of the events that are not in a snapshot yet have so many
    /// bytes.
    #[must_use]
    pub fn or_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    pub(super) fn wants(&self, tail: &Tail) -> bool {
        tail.events > 0
            && (self.events.is_some_and(|events| tail.events >= events)
                || self.took.is_some_and(|took| tail.took >= took)
                || self.bytes.is_some_and(|bytes| tail.bytes >= bytes)
                || self.when.as_ref().is_some_and(|when| when(tail)))
    }
}

impl fmt::Debug for SnapshotPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, took, bytes, when } = self;
        f.debug_struct("SnapshotPolicy")
            .field("events", events)
            .field("took", took)
            .field("bytes", bytes)
            .field("when", &when.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_reason_is_enough_and_nothing_new_is_none() {
        let tail =
            Tail { events: 10, bytes: 500, took: Duration::from_millis(3), ..Tail::default() };
        let never = SnapshotPolicy::never;
        for (policy, wants) in [
            (never(), false),
            (SnapshotPolicy::every(10), true),
            (SnapshotPolicy::every(11), false),
            (SnapshotPolicy::every(11).or_bytes(500), true),
            (never().or_bytes(501), false),
            (never().or_after(Duration::from_millis(3)), true),
            (never().or_after(Duration::from_millis(4)), false),
            (SnapshotPolicy::when(|tail| tail.bytes == 500), true),
            (SnapshotPolicy::when(|tail| tail.bytes == 501), false),
        ] {
            assert_eq!(policy.wants(&tail), wants, "{policy:?}");
            assert!(!policy.wants(&Tail { events: 0, ..tail }), "{policy:?}");
        }
    }
}
