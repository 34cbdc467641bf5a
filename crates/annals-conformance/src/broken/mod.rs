//! Stores that are broken on purpose, each in one way that real stores have been broken in.
//!
//! They are what the suite is tested with. Put them over a sound store with
//! [`Decorated::over`](crate::Decorated::over), those of snapshots with
//! [`DecoratedSnapshots::over`](crate::DecoratedSnapshots::over), and those of the [`read_side`] with
//! [`DecoratedReadSide::over`](crate::read_side::DecoratedReadSide::over).

mod atomic;
mod bounded;
mod conflicts;
mod durable;
mod idempotent;
mod nothing_missed;
mod opaque;
mod order;
pub mod read_side;
mod reading;
mod snapshots;
mod subscribing;
mod time;
mod versions;

use std::sync::Arc;
use std::time::Duration;

use annals_core::error::{AppendError, ReadError};
use annals_core::{Append, EventId, EventStore, EventStoreExt, Read, RecordedEvent};
use tokio::sync::Notify;

pub use atomic::*;
pub use bounded::*;
pub use conflicts::*;
pub use durable::*;
pub use idempotent::*;
pub use nothing_missed::*;
pub use opaque::*;
pub use order::*;
pub use reading::*;
pub use snapshots::*;
pub use subscribing::*;
pub use time::*;
pub use versions::*;

/// A place where callers wait for each other, so that races happen that would be rare: each is
/// held until the next one comes, or for a moment.
#[derive(Debug, Default)]
struct Crossing(Notify);

impl Crossing {
    const MOMENT: Duration = Duration::from_millis(3);

    async fn meet(&self) {
        self.0.notify_waiters();
        let _ = tokio::time::timeout(Self::MOMENT, self.0.notified()).await;
    }
}

/// The stored events that carry an id of `append`.
async fn stored(
    store: &Arc<dyn EventStore>,
    append: &Append,
) -> Result<Vec<RecordedEvent>, ReadError> {
    let mut log = store.read_to_end(Read::all()).await?;
    log.retain(|event| append.events().any(|new| new.id == event.id));
    Ok(log)
}

/// What a store that looks before it writes would find against an append.
async fn look(store: &Arc<dyn EventStore>, append: &Append) -> Result<(), AppendError> {
    let log = store.read_to_end(Read::all()).await?;
    for part in &append.streams {
        let last = log.iter().rfind(|event| event.stream == part.stream);
        let found = last.map_or(annals_core::Version::EMPTY, |event| event.version);
        if !part.expected.accepts(found) {
            let (stream, expected) = (part.stream.clone(), part.expected);
            return Err(annals_core::Conflict::Version { stream, expected, found }.into());
        }
    }
    for condition in &append.conditions {
        let mut newer = log.iter().filter(|event| event.position > condition.after);
        if let Some(event) = newer.find(|event| condition.query.matches(event)) {
            let (condition, found) = (condition.clone(), event.position);
            return Err(annals_core::Conflict::Condition { condition, found }.into());
        }
    }
    Ok(())
}

/// The same append, which cannot conflict.
fn unconditional(mut append: Append) -> Append {
    append.conditions.clear();
    append.streams.retain(|part| !part.events.is_empty());
    for part in &mut append.streams {
        part.expected = annals_core::ExpectedVersion::Any;
    }
    append
}

/// Another id, the same each time for the same `salt`.
fn salted(id: EventId, salt: u8) -> EventId {
    let mut bytes = *id.as_bytes();
    bytes[15] ^= salt;
    bytes[0] ^= 0x55;
    EventId::from_bytes(bytes)
}
