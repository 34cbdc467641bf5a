//! What was asked of the store and what it answered: what the log is compared with at the end.

use std::fmt;
use std::mem::take;
use std::ops::Sub;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use annals_core::{Append, EventId, Receipt, StreamId};

use crate::log::Log;

pub(crate) struct Ledger {
    log: Log,
    pages: Mutex<Pages>,
}

struct Pages {
    acknowledged: Vec<Entry>,
    refused: Vec<Refused>,
    unknown: Vec<(Append, Receipt)>,
    counts: Counts,
    last: Instant,
    longest_gap: Duration,
    broken: Vec<String>,
}

/// What is in the ledger at the end.
pub(crate) struct Closed {
    pub(crate) acknowledged: Vec<Entry>,
    pub(crate) refused: Vec<Refused>,
    /// Appends whose outcome was unknown at first, and their receipts.
    pub(crate) unknown: Vec<(Append, Receipt)>,
    pub(crate) broken: Vec<String>,
    pub(crate) counts: Counts,
}

/// An append that was acknowledged.
pub(crate) struct Entry {
    pub(crate) parts: Vec<(StreamId, Vec<EventId>)>,
    pub(crate) receipt: Receipt,
}

/// An append of which the store said that nothing was written.
pub(crate) struct Refused {
    pub(crate) ids: Vec<EventId>,
    pub(crate) answer: String,
}

/// How many appends ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) begun: u64,
    pub(crate) acknowledged: u64,
    pub(crate) conflicts: u64,
    pub(crate) unavailable: u64,
    /// Whose outcome was unknown at first.
    pub(crate) indeterminate: u64,
    /// Of those, which the first attempt had stored.
    pub(crate) had_been_stored: u64,
    /// How often they were repeated.
    pub(crate) repeats: u64,
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            begun: self.begun - before.begun,
            acknowledged: self.acknowledged - before.acknowledged,
            conflicts: self.conflicts - before.conflicts,
            unavailable: self.unavailable - before.unavailable,
            indeterminate: self.indeterminate - before.indeterminate,
            had_been_stored: self.had_been_stored - before.had_been_stored,
            repeats: self.repeats - before.repeats,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} appends: {} acknowledged, {} conflicts, {} unavailable; {} were indeterminate, \
             repeated {} times, {} of them had been stored",
            self.begun,
            self.acknowledged,
            self.conflicts,
            self.unavailable,
            self.indeterminate,
            self.repeats,
            self.had_been_stored
        )
    }
}

impl Ledger {
    pub(crate) fn new(log: Log) -> Self {
        let pages = Pages {
            acknowledged: Vec::new(),
            refused: Vec::new(),
            unknown: Vec::new(),
            counts: Counts::default(),
            last: Instant::now(),
            longest_gap: Duration::ZERO,
            broken: Vec::new(),
        };
        Self { log, pages: Mutex::new(pages) }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().expect("nobody panics while holding the ledger")
    }

    /// Counts one thing.
    pub(crate) fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut self.pages().counts);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.pages().counts
    }

    pub(crate) fn acknowledge(&self, append: &Append, receipt: &Receipt, through_proxy: bool) {
        let parts = append
            .streams
            .iter()
            .map(|part| (part.stream.clone(), part.events.iter().map(|event| event.id).collect()));
        let entry = Entry { parts: parts.collect(), receipt: receipt.clone() };
        let mut pages = self.pages();
        pages.acknowledged.push(entry);
        pages.counts.acknowledged += 1;
        if through_proxy {
            pages.longest_gap = pages.longest_gap.max(pages.last.elapsed());
            pages.last = Instant::now();
        }
    }

    /// The append was acknowledged in the end, after its outcome had been unknown.
    pub(crate) fn was_unknown(&self, append: Append, receipt: Receipt) {
        self.pages().unknown.push((append, receipt));
    }

    pub(crate) fn refuse(&self, append: &Append, answer: String) {
        let ids = append.events().map(|event| event.id).collect();
        self.pages().refused.push(Refused { ids, answer });
    }

    /// A promise was broken; says so at once.
    pub(crate) fn broken(&self, what: String) {
        self.log.say(format!("BROKEN: {what}"));
        self.pages().broken.push(what);
    }

    /// Starts to look for the longest time without an acknowledged append.
    pub(crate) fn begin_window(&self) {
        let mut pages = self.pages();
        pages.longest_gap = Duration::ZERO;
        pages.last = Instant::now();
    }

    /// The longest time without one, the present one included.
    pub(crate) fn longest_gap(&self) -> Duration {
        let pages = self.pages();
        pages.longest_gap.max(pages.last.elapsed())
    }

    /// Everything, when nobody appends any more.
    pub(crate) fn close(&self) -> Closed {
        let mut pages = self.pages();
        Closed {
            acknowledged: take(&mut pages.acknowledged),
            refused: take(&mut pages.refused),
            unknown: take(&mut pages.unknown),
            broken: take(&mut pages.broken),
            counts: pages.counts,
        }
    }
}
