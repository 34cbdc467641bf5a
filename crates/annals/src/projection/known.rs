//! The rows that a part's last stretches left behind, so that the next one need not ask for them.
//!
//! Nobody else writes the rows of a part while its lease holds, and a stretch that was written
//! under it has shown that it held. So what was written is what is there, until a lease with
//! another fence comes, or a stretch fails: then all of it is forgotten.

use std::collections::HashMap;
use std::sync::Mutex;

use annals_core::{Generation, Lease, Row, RowKey};
use bytes::Bytes;

/// More rows than this are not kept of one part.
const ROWS_MAX: usize = 20_000;
/// Nor are they if those that were read and written had more bytes than this.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// What is known of the parts that are worked here.
pub(super) struct Known<R>(Mutex<HashMap<(Generation, u32), KnownRows<R>>>);

/// What is known of one part.
pub(super) struct KnownRows<R> {
    fence: u64,
    pub(super) rows: HashMap<RowKey, KnownRow<R>>,
    /// How many bytes were read and written of them.
    pub(super) bytes: usize,
}

/// What is known of one row.
pub(super) enum KnownRow<R> {
    /// There is none.
    Absent,
    /// As it was read.
    Stored(Bytes),
    /// As the projection left it.
    Decoded(R),
}

impl<R> Known<R> {
    /// Takes what is known under this lease; whoever succeeds [puts it back](Self::put_back).
    pub(super) fn take(&self, lease: &Lease) -> KnownRows<R> {
        let known = self.parts().remove(&(lease.generation, lease.partition.index));
        let same = known.filter(|known| known.fence == lease.fence);
        same.unwrap_or_else(|| KnownRows { fence: lease.fence, rows: HashMap::new(), bytes: 0 })
    }

    pub(super) fn put_back(&self, lease: &Lease, known: KnownRows<R>) {
        if known.rows.len() <= ROWS_MAX && known.bytes <= BYTES_MAX {
            self.parts().insert((lease.generation, lease.partition.index), known);
        }
    }

    fn parts(&self) -> std::sync::MutexGuard<'_, HashMap<(Generation, u32), KnownRows<R>>> {
        self.0.lock().expect("nobody panics while holding the rows")
    }
}

impl<R> Default for Known<R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<R> KnownRows<R> {
    /// The keys of which nothing is known.
    pub(super) fn missing<'k>(&self, keys: impl Iterator<Item = &'k RowKey>) -> Vec<RowKey> {
        keys.filter(|key| !self.rows.contains_key(key)).cloned().collect()
    }

    /// Takes note of stored rows.
    pub(super) fn learn(&mut self, stored: Vec<Row>) {
        self.bytes += stored.iter().map(|row| row.value.len()).sum::<usize>();
        self.rows.extend(stored.into_iter().map(|row| (row.key, KnownRow::Stored(row.value))));
    }

    /// The row under a key that is known, or was asked for in vain.
    pub(super) fn take(&mut self, key: &RowKey) -> KnownRow<R> {
        self.rows.remove(key).unwrap_or(KnownRow::Absent)
    }
}
