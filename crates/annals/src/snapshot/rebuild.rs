//! Making, checking and dropping the snapshots of all streams of an aggregate.

use annals_core::error::{ReadError, SnapshotError};
use annals_core::{Category, InvalidName, ListStreams, SelectSnapshots, StreamCatalog, StreamId};
use futures_util::TryStreamExt;

use super::{Snapshots, envelope};
use crate::aggregate::stream_of;
use crate::error::LoadError;
use crate::load::Loaded;
use crate::{Aggregate, Annals, Snapshotting};

/// What was done with the snapshots of an aggregate's streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rebuilt {
    /// How many streams were looked at.
    pub streams: u64,
    /// How many snapshots were written.
    pub written: u64,
    /// How many snapshots of older folds were dropped.
    pub dropped: u64,
}

/// Why snapshots could not be made or dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotsError {
    /// The aggregate keeps none, or the handle does not.
    #[error(
        "there are no snapshots here; mark the aggregate `#[aggregate(snapshot)]`, and say with \
         `Annals::with_snapshots` where they are kept"
    )]
    None,
    /// A stream cannot be folded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The streams cannot be listed.
    #[error(transparent)]
    List(#[from] ReadError),
    /// The snapshots cannot be read or written.
    #[error(transparent)]
    Store(#[from] SnapshotError),
}

impl From<InvalidName> for SnapshotsError {
    fn from(error: InvalidName) -> Self {
        Self::Load(error.into())
    }
}

/// From where a fold begins.
#[derive(Clone, Copy)]
enum Begin {
    TheFirstEvent,
    TheSnapshot,
}

impl Annals {
    /// Brings the snapshots of all streams of the aggregate up to date, and drops those of its
    /// older folds: a job for the night.
    ///
    /// `progress` is told after each stream. It can be stopped at any time, and goes on where it
    /// was when it is called again, since what is up to date is not written again.
    ///
    /// # Errors
    /// [`SnapshotsError`]; what was written stays.
    pub async fn refresh_snapshots<A: Aggregate>(
        &self,
        catalog: &dyn StreamCatalog,
        progress: impl FnMut(&StreamId, Rebuilt) + Send,
    ) -> Result<Rebuilt, SnapshotsError> {
        self.make_snapshots::<A>(catalog, Begin::TheSnapshot, progress).await
    }

    /// Folds all streams of the aggregate from their first events and writes their snapshots
    /// anew, whatever is kept.
    ///
    /// # Errors
    /// As [`refresh_snapshots`](Self::refresh_snapshots).
    pub async fn rebuild_snapshots<A: Aggregate>(
        &self,
        catalog: &dyn StreamCatalog,
        progress: impl FnMut(&StreamId, Rebuilt) + Send,
    ) -> Result<Rebuilt, SnapshotsError> {
        self.make_snapshots::<A>(catalog, Begin::TheFirstEvent, progress).await
    }

    async fn make_snapshots<A: Aggregate>(
        &self,
        catalog: &dyn StreamCatalog,
        from: Begin,
        mut progress: impl FnMut(&StreamId, Rebuilt) + Send,
    ) -> Result<Rebuilt, SnapshotsError> {
        let (snapshots, how) = self.snapshots_of::<A>().ok_or(SnapshotsError::None)?;
        let category = Category::new(A::CATEGORY)?;
        let mut streams = catalog.streams(ListStreams::all().category(category.clone()));
        let mut done = Rebuilt::default();
        while let Some(info) = streams.try_next().await? {
            let loaded = match from {
                Begin::TheFirstEvent => self.fold_whole(info.stream).await?,
                Begin::TheSnapshot => self.load_kept::<A>(info.stream).await?,
            };
            done.streams += 1;
            if loaded.tail().events > 0 && self.write_now(snapshots, how, &loaded).await? {
                done.written += 1;
            }
            progress(&loaded.stream, done);
        }
        let fold = snapshots.fold_of::<A>(how);
        let older = SelectSnapshots::all().category(category).every_fold_but(fold);
        done.dropped = snapshots.store.drop_snapshots(older).await?;
        Ok(done)
    }

    async fn write_now<A: Aggregate>(
        &self,
        snapshots: &Snapshots,
        how: Snapshotting<A>,
        loaded: &Loaded<A>,
    ) -> Result<bool, SnapshotError> {
        let Some(unsealed) = snapshots.unsealed(loaded, how, &*self.clock) else {
            return Ok(false);
        };
        snapshots.store.save_snapshot(envelope::seal(unsealed)).await?;
        Ok(true)
    }

    /// Whether the snapshot of this aggregate is what its events fold to; `None` when there is
    /// none. One that is not is dropped.
    ///
    /// It never is wrong unless something that the fold's fingerprint does not see has changed:
    /// a function that `apply` calls, for example.
    ///
    /// # Errors
    /// As [`refresh_snapshots`](Self::refresh_snapshots).
    pub async fn check_snapshot<A: Aggregate + PartialEq>(
        &self,
        id: impl Into<A::Id>,
    ) -> Result<Option<bool>, SnapshotsError> {
        let (snapshots, how) = self.snapshots_of::<A>().ok_or(SnapshotsError::None)?;
        let stream = stream_of::<A>(id)?;
        let Some(kept) = self.kept_snapshot::<A>(&stream).await else { return Ok(None) };
        let folded: Loaded<A> = self.load_as_of_in(stream.clone(), kept.version.into()).await?;
        let right = (folded.version, folded.last_event, folded.standing)
            == (kept.version, kept.last_event, kept.standing)
            && folded.state == kept.state;
        if !right {
            let fold = snapshots.fold_of::<A>(how);
            let wrong = SelectSnapshots::all().stream(stream).fold(fold);
            snapshots.store.drop_snapshots(wrong).await?;
        }
        Ok(Some(right))
    }

    /// Drops the snapshots that are selected, and says how many they were. They are made again
    /// when they are wanted.
    ///
    /// # Errors
    /// When there are none here, or when they cannot be written.
    pub async fn drop_snapshots(&self, which: SelectSnapshots) -> Result<u64, SnapshotsError> {
        let snapshots = self.snapshots.as_ref().ok_or(SnapshotsError::None)?;
        Ok(snapshots.store.drop_snapshots(which).await?)
    }
}
