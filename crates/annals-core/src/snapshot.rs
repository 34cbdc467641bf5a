//! Snapshots: cached folds of streams, which can always be thrown away.

mod memory;
mod select;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use serde::Serialize;

use crate::error::SnapshotError;
use crate::{EventId, Fingerprint, StreamId, Timestamp, Version};

pub use memory::MemorySnapshots;
pub use select::SelectSnapshots;

/// What a store keeps of its snapshots, without their states, as the consumer asks for them.
///
/// After an error the stream ends.
pub type SnapshotInfos = Pin<Box<dyn Stream<Item = Result<SnapshotInfo, SnapshotError>> + Send>>;

/// A cached fold of one stream: never a source of truth, and made again when it is missing.
///
/// Only whoever made it knows what its state means. Whoever loads it checks first that the
/// stream still holds [`last_event`](Self::last_event) at [`version`](Self::version): a log that
/// was restored from a backup may have gone on otherwise than the snapshot remembers.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The stream that was folded.
    pub stream: StreamId,
    /// Which code folded it.
    pub fold: Fingerprint,
    /// The version of the last event that was folded.
    pub version: Version,
    /// The id of the last event that was folded.
    pub last_event: EventId,
    /// When it was made, by the clock of whoever made it.
    pub taken_at: Timestamp,
    /// What the fold came to, in whatever form its maker chose; a store passes it through unread.
    pub state: Bytes,
}

impl Snapshot {
    /// The snapshot without its state.
    #[must_use]
    pub fn info(&self) -> SnapshotInfo {
        SnapshotInfo {
            stream: self.stream.clone(),
            fold: self.fold.clone(),
            version: self.version,
            taken_at: self.taken_at,
            bytes: self.state.len() as u64,
        }
    }
}

/// Without the state, which may be long, and may hold what does not belong in a log file.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, fold, version, last_event, taken_at, state } = self;
        f.debug_struct("Snapshot")
            .field("stream", stream)
            .field("fold", fold)
            .field("version", version)
            .field("last_event", last_event)
            .field("taken_at", taken_at)
            .field("state", &format_args!("{} bytes", state.len()))
            .finish()
    }
}

/// A snapshot without its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotInfo {
    /// The stream that was folded.
    pub stream: StreamId,
    /// Which code folded it.
    pub fold: Fingerprint,
    /// The version of the last event that was folded.
    pub version: Version,
    /// When it was made.
    pub taken_at: Timestamp,
    /// How many bytes its state has.
    pub bytes: u64,
}

/// A store that keeps snapshots, one of each stream for each fold.
///
/// What it keeps is a cache. It may lose snapshots when a machine fails, but never returns one
/// that is torn or mixed: what is loaded was saved just so, under that stream and that fold.
#[async_trait]
pub trait SnapshotStore: Send + Sync + fmt::Debug {
    /// Keeps a snapshot, unless a newer one of the same stream and fold is there: of those saved,
    /// in whatever order and from however many places, the one of the highest version is kept.
    /// Saving one of the same version takes the place of the one that is there.
    ///
    /// # Errors
    /// [`SnapshotError::Invalid`] when the state is larger than
    /// [`snapshot_bytes_max`](crate::Limits::snapshot_bytes_max); otherwise when the store cannot
    /// be written, in which case it is not known whether the snapshot is kept, and does not
    /// matter.
    async fn save_snapshot(&self, snapshot: Snapshot) -> Result<(), SnapshotError>;

    /// The snapshot of this stream and this fold; never one of another fold.
    ///
    /// One that was saved before the call is found, unless a newer one, or nobody, has taken its
    /// place.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn load_snapshot(
        &self,
        stream: &StreamId,
        fold: &Fingerprint,
    ) -> Result<Option<Snapshot>, SnapshotError>;

    /// Drops the snapshots that are selected, and says how many they were.
    ///
    /// # Errors
    /// When the store cannot be written; some of them may be gone then.
    async fn drop_snapshots(&self, which: SelectSnapshots) -> Result<u64, SnapshotError>;

    /// Lists the snapshots that are selected, ordered by stream and then by fold, both byte by
    /// byte, read as they are asked for and in constant memory. What is saved or dropped while
    /// they are listed may be among them or not.
    ///
    /// Errors are items of the stream, which ends after the first.
    fn snapshots(&self, which: SelectSnapshots) -> SnapshotInfos;
}

#[async_trait]
impl<S: SnapshotStore + ?Sized> SnapshotStore for Arc<S> {
    async fn save_snapshot(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        (**self).save_snapshot(snapshot).await
    }

    async fn load_snapshot(
        &self,
        stream: &StreamId,
        fold: &Fingerprint,
    ) -> Result<Option<Snapshot>, SnapshotError> {
        (**self).load_snapshot(stream, fold).await
    }

    async fn drop_snapshots(&self, which: SelectSnapshots) -> Result<u64, SnapshotError> {
        (**self).drop_snapshots(which).await
    }

    fn snapshots(&self, which: SelectSnapshots) -> SnapshotInfos {
        (**self).snapshots(which)
    }
}
