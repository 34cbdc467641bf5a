//! What the workers of a projection share within this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

use annals_core::{
    CheckpointStore, Clock, Generation, Position, ReadSideError, SubscriberName, Timestamp,
};
use tokio::sync::Notify;

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
}

impl Share {
    pub(super) fn new(subscriber: SubscriberName) -> Self {
        Self { subscriber, taken: AtomicU32::new(0) }
    }

    /// Takes a place for a part: within the share at once, beyond it only if the part has been
    /// without an owner for as long as a lease lasts.
    pub(super) async fn take(
        &self,
        checkpoints: &dyn CheckpointStore,
        generation: Generation,
        part: u32,
        clock: &dyn Clock,
        options: &Options,
    ) -> Result<bool, ReadSideError> {
        if self.taken.fetch_add(1, Ordering::SeqCst) < options.share {
            return Ok(true);
        }
        self.give_back();
        if !self.is_abandoned(checkpoints, generation, part, clock.now()).await? {
            return Ok(false);
        }
        tokio::time::sleep(options.lease).await;
        let is_abandoned = self.is_abandoned(checkpoints, generation, part, clock.now()).await?;
        if is_abandoned {
            self.taken.fetch_add(1, Ordering::SeqCst);
        }
        Ok(is_abandoned)
    }

    pub(super) fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::SeqCst);
    }

    async fn is_abandoned(
        &self,
        checkpoints: &dyn CheckpointStore,
        generation: Generation,
        part: u32,
        now: Timestamp,
    ) -> Result<bool, ReadSideError> {
        let info = checkpoints.subscriber(&self.subscriber).await?;
        let generations = info.map(|info| info.generations).unwrap_or_default();
        let parts = generations.iter().find(|one| one.generation == generation);
        let part = parts.and_then(|one| one.partitions.get(part as usize));
        Ok(part.is_some_and(|part| part.owner.as_ref().is_none_or(|(_, until)| *until < now)))
    }
}
