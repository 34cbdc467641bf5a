//! What the workers of a projection share within this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

use annals_core::{
    CheckpointStore, Clock, Generation, Position, ReadSideError, SubscriberInfo, SubscriberName,
    Timestamp,
};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::options::Options;

/// How far the parts have come that are worked here. It is ahead of their checkpoints by events
/// that concern nobody.
#[derive(Debug, Default)]
pub(super) struct Progress {
    parts: Mutex<HashMap<(Generation, u32), Position>>,
    /// Something has changed.
    moved: Notify,
}

impl Progress {
    pub(super) fn reached(&self, generation: Generation, part: u32, position: Position) {
        self.parts().insert((generation, part), position);
        self.moved.notify_waiters();
    }

    pub(super) fn left(&self, generation: Generation, part: u32) {
        self.parts().remove(&(generation, part));
        self.moved.notify_waiters();
    }

    /// Whoever waits looks again.
    pub(super) fn changed(&self) {
        self.moved.notify_waiters();
    }

    pub(super) fn of(&self, generation: Generation, part: u32) -> Option<Position> {
        self.parts().get(&(generation, part)).copied()
    }

    /// Completes at the next change behind its first poll.
    pub(super) fn next_change(&self) -> tokio::sync::futures::Notified<'_> {
        self.moved.notified()
    }

    fn parts(&self) -> MutexGuard<'_, HashMap<(Generation, u32), Position>> {
        self.parts.lock().expect("nobody panics while holding the progress")
    }
}

/// How many parts this process works, of those that it may as long as others take the rest.
#[derive(Debug)]
pub(super) struct Share {
    subscriber: SubscriberName,
    taken: AtomicU32,
    /// Since when the parts that are beyond the share have been seen without an owner.
    free: Mutex<HashMap<(Generation, u32), Instant>>,
}

impl Share {
    pub(super) fn new(subscriber: SubscriberName) -> Self {
        Self { subscriber, taken: AtomicU32::new(0), free: Mutex::default() }
    }

    /// Takes a place for a part: within the share at once, beyond it only if nobody has had the
    /// part for as long as a lease lasts.
    pub(super) async fn take(
        &self,
        checkpoints: &dyn CheckpointStore,
        (generation, part): (Generation, u32),
        clock: &dyn Clock,
        options: &Options,
    ) -> Result<bool, ReadSideError> {
        if options.share == u32::MAX {
            self.taken.fetch_add(1, Ordering::SeqCst);
            return Ok(true);
        }
        // Whoever only tries to get a part that somebody has would take a place from one that is
        // to be had.
        let info = checkpoints.subscriber(&self.subscriber).await?;
        if !is_free(info.as_ref(), (generation, part), clock.now()) {
            self.free().remove(&(generation, part));
            return Ok(false);
        }
        if self.taken.fetch_add(1, Ordering::SeqCst) < options.share {
            return Ok(true);
        }
        let since = *self.free().entry((generation, part)).or_insert_with(Instant::now);
        if since.elapsed() >= options.lease {
            return Ok(true);
        }
        self.give_back();
        Ok(false)
    }

    pub(super) fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::SeqCst);
    }

    fn free(&self) -> MutexGuard<'_, HashMap<(Generation, u32), Instant>> {
        self.free.lock().expect("nobody panics while holding the free parts")
    }
}

fn is_free(
    info: Option<&SubscriberInfo>,
    (generation, part): (Generation, u32),
    now: Timestamp,
) -> bool {
    let generations = info.map(|info| info.generations.as_slice()).unwrap_or_default();
    let generation = generations.iter().find(|one| one.generation == generation);
    let part = generation.and_then(|one| one.partitions.get(part as usize));
    part.is_some_and(|part| part.owner.as_ref().is_none_or(|(_, until)| *until <= now))
}
