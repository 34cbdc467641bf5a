//! Appends that wait for what others hold, such as a transaction of the application that has
//! appended to the same stream.
//!
//! For each key that somebody waits for there is a task, which asks for the locks again and again.
//! It waits on the server, where everybody gets them in turn, but only for a moment: there are
//! few connections for that, and others wait for other keys.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use sqlx_core::error::Error;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::append::Locks;
use crate::group::{Pending, gather};
use crate::writer::Writer;

/// The most groups that wait for locks of others at once, each on a connection.
const WAITING_MAX: usize = 4;

#[derive(Debug)]
pub(crate) struct Waiting {
    /// By one of the keys that an append waits for.
    by_key: Mutex<HashMap<i64, VecDeque<Pending>>>,
    turns: Semaphore,
}

impl Waiting {
    pub(crate) fn new() -> Self {
        Self { by_key: Mutex::default(), turns: Semaphore::new(WAITING_MAX) }
    }

    fn by_key(&self) -> MutexGuard<'_, HashMap<i64, VecDeque<Pending>>> {
        self.by_key.lock().expect("nobody panics while holding the waiting")
    }
}

impl Writer {
    /// Lets the appends that need busy keys wait for them, and returns the others.
    pub(crate) fn set_aside(self: &Arc<Self>, group: Vec<Pending>, busy: &[i64]) -> Vec<Pending> {
        let (mut free, mut new_keys) = (Vec::with_capacity(group.len()), Vec::new());
        let mut waiting = self.waiting.by_key();
        for mut pending in group {
            let Some(key) = busy.iter().find(|key| pending.keys.contains(**key)) else {
                free.push(pending);
                continue;
            };
            pending.held_since.get_or_insert_with(Instant::now);
            match waiting.entry(*key) {
                Entry::Occupied(mut others) => others.get_mut().push_back(pending),
                Entry::Vacant(first) => {
                    first.insert(VecDeque::from([pending]));
                    new_keys.push(*key);
                }
            }
        }
        drop(waiting);
        new_keys.into_iter().for_each(|key| self.start_waiter(key));
        free
    }

    /// Answers those that have waited long enough, and returns the others.
    pub(crate) fn fail_impatient(&self, group: Vec<Pending>, error: &Error) -> Vec<Pending> {
        let is_over = |pending: &Pending| {
            let waits_since = [pending.held_since, pending.unknown_since];
            waits_since.into_iter().flatten().any(|since| since.elapsed() >= self.patience)
        };
        let (over, others): (Vec<_>, _) = group.into_iter().partition(is_over);
        over.into_iter().for_each(|pending| pending.fail(error));
        others
    }

    /// Not while those who wait are locked: in a runtime that ends the task does so at once.
    fn start_waiter(self: &Arc<Self>, key: i64) {
        let waiter = Waiter { writer: Arc::clone(self), key, is_at_work: true, has_begun: false };
        tokio::spawn(waiter.run());
    }
}

/// The task that stores what waits for a key, group by group, until nothing does.
struct Waiter {
    writer: Arc<Writer>,
    key: i64,
    is_at_work: bool,
    has_begun: bool,
}

impl Waiter {
    async fn run(mut self) {
        self.has_begun = true;
        let writer = Arc::clone(&self.writer);
        loop {
            // For one attempt, so that those who wait for other keys have theirs in between.
            let turn = writer.waiting.turns.acquire().await;
            let Some(group) = self.next() else { break };
            writer.store(group, Locks::Briefly).await;
            drop(turn);
        }
    }

    fn next(&mut self) -> Option<Vec<Pending>> {
        let mut waiting = self.writer.waiting.by_key();
        let group = waiting.get_mut(&self.key).map(gather).unwrap_or_default();
        if group.is_empty() {
            waiting.remove(&self.key);
            self.is_at_work = false;
            return None;
        }
        // The key stays: those who come later find that somebody waits already.
        Some(group)
    }
}

impl Drop for Waiter {
    /// It has panicked, or its runtime has ended, and perhaps others go on.
    fn drop(&mut self) {
        if !self.is_at_work {
            return;
        }
        if self.has_begun && std::thread::panicking() {
            // Another one in its place. Its group is lost, and the callers learn that.
            return self.writer.start_waiter(self.key);
        }
        let others = self.writer.waiting.by_key().remove(&self.key).unwrap_or_default();
        others.into_iter().for_each(Pending::abandon);
    }
}
