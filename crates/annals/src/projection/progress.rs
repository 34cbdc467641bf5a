//! What the workers of a projection share within this process.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

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
    /// What is in the way of parts that do not go on, and are tried again.
    troubles: Mutex<BTreeMap<(Generation, u32), String>>,
    /// Nothing will ever be read of the log again.
    log_is_closed: AtomicBool,
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

    /// A part does not go on because of this.
    pub(super) fn in_trouble(&self, generation: Generation, part: u32, error: String) {
        self.troubles().insert((generation, part), error);
    }

    /// A part goes on, or is not this process's any more.
    pub(super) fn out_of_trouble(&self, generation: Generation, part: u32) {
        self.troubles().remove(&(generation, part));
    }

    /// What is in the way of the first part that does not go on.
    pub(super) fn trouble(&self) -> Option<String> {
        self.troubles().values().next().cloned()
    }

    /// Nothing will ever be read of the log again.
    pub(super) fn log_is_closed(&self) {
        self.log_is_closed.store(true, Ordering::SeqCst);
        self.changed();
    }

    pub(super) fn is_log_closed(&self) -> bool {
        self.log_is_closed.load(Ordering::SeqCst)
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

    fn troubles(&self) -> MutexGuard<'_, BTreeMap<(Generation, u32), String>> {
        self.troubles.lock().expect("nobody panics while holding the troubles")
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
        self: &Arc<Self>,
        checkpoints: &dyn CheckpointStore,
        (generation, part): (Generation, u32),
        clock: &dyn Clock,
        options: &Options,
    ) -> Result<Option<Taken>, ReadSideError> {
        if options.share == u32::MAX {
            return Ok(Some(self.take_one().0));
        }
        // Whoever only tries to get a part that somebody has would take a place from one that is
        // to be had.
        let info = checkpoints.subscriber(&self.subscriber).await?;
        if !is_free(info.as_ref(), (generation, part), clock.now()) {
            self.free().remove(&(generation, part));
            return Ok(None);
        }
        let (taken, before) = self.take_one();
        if before < options.share {
            return Ok(Some(taken));
        }
        let since = *self.free().entry((generation, part)).or_insert_with(Instant::now);
        Ok((since.elapsed() >= options.lease).then_some(taken))
    }

    /// A place, and how many were taken before it.
    fn take_one(self: &Arc<Self>) -> (Taken, u32) {
        let before = self.taken.fetch_add(1, Ordering::SeqCst);
        (Taken(Arc::clone(self)), before)
    }

    fn free(&self) -> MutexGuard<'_, HashMap<(Generation, u32), Instant>> {
        self.free.lock().expect("nobody panics while holding the free parts")
    }
}

/// A place of the share, given back when it is dropped: however the work on the part ends.
pub(super) struct Taken(Arc<Share>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::SeqCst);
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
