//! Event ids, and the seam for making them.

use std::fmt::{self, Debug};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The identity of an event, chosen by whoever appends it; what makes appends idempotent (S7).
///
/// ```
/// use annals_core::EventId;
///
/// let id = EventId::generate();
/// assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(Uuid);

impl EventId {
    /// A new id, ordered by time (UUID version 7), so that indexes over ids grow at their end.
    #[must_use]
    pub fn generate() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the seam")]
        let id = Uuid::now_v7();
        Self(id)
    }

    /// The id with these 16 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The id's 16 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl From<Uuid> for EventId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<EventId> for Uuid {
    fn from(id: EventId) -> Self {
        id.0
    }
}

impl FromStr for EventId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Where the ids of events and commands come from.
pub trait Ids: Send + Sync + Debug {
    /// An id that was never given before.
    fn next(&self) -> EventId;
}

impl<I: Ids + ?Sized> Ids for Arc<I> {
    fn next(&self) -> EventId {
        (**self).next()
    }
}

/// Ids ordered by time that nobody else will ever make.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl Ids for RandomIds {
    fn next(&self) -> EventId {
        EventId::generate()
    }
}

/// The ids 1, 2, 3 …: for tests, which can then say what is recorded to the last byte.
///
/// ```
/// use annals_core::{Ids, SequentialIds};
///
/// let ids = SequentialIds::default();
/// assert_eq!(ids.next().to_string(), "00000000-0000-0000-0000-000000000001");
/// assert_eq!(ids.next().to_string(), "00000000-0000-0000-0000-000000000002");
/// ```
#[derive(Debug, Default)]
pub struct SequentialIds(AtomicU64);

impl Ids for SequentialIds {
    fn next(&self) -> EventId {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        EventId(Uuid::from_u128(number.into()))
    }
}
