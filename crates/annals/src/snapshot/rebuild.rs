//! Making, checking and dropping the snapshots of all streams of an aggregate.

use annals_core::error::{ReadError, SnapshotError};
use annals_core::{
    Category, InvalidName, ListStreams, SelectSnapshots, StreamCatalog, StreamId, Timestamp,
};
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
    /// How many streams could not be folded or kept; the log of the process says why.
    pub failed: u64,
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
    /// Brings the snapshots of all streams of the aggregate up to date: a job for the night.
    ///
    /// `progress` is told after each stream. It can be stopped at any time, and goes on where it
    /// was when it is called again, since what is up to date is not written again. A stream that
    /// cannot be folded is counted, and the others follow.
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
        let mut streams = catalog.streams(ListStreams::all().category(category));
        let mut done = Rebuilt::default();
        while let Some(info) = streams.try_next().await? {
            let stream = info.stream;
            match self.make_snapshot(snapshots, how, stream.clone(), from).await {
                Ok(written) => done.written += u64::from(written),
                Err(error) => {
                    tracing::warn!(%stream, %error, "no snapshot was made");
                    done.failed += 1;
                }
            }
            done.streams += 1;
            progress(&stream, done);
        }
        Ok(done)
    }

    async fn make_snapshot<A: Aggregate>(
        &self,
        snapshots: &Snapshots,
        how: Snapshotting<A>,
        stream: StreamId,
        from: Begin,
    ) -> Result<bool, SnapshotsError> {
        let loaded: Loaded<A> = match from {
            Begin::TheFirstEvent => {
                self.uncache::<A>(&stream);
                let fold = snapshots.fold_of::<A>(how);
                let kept = SelectSnapshots::all().stream(stream.clone()).fold(fold);
                snapshots.store.drop_snapshots(kept).await?;
                self.fold_whole(stream).await?
            }
            Begin::TheSnapshot => self.load_unless_cached(stream).await?,
        };
        Ok(loaded.tail().events > 0 && self.write_now(snapshots, how, &loaded).await?)
    }

    /// Drops the snapshots of other folds of the aggregate's category that were taken before a
    /// moment: those of builds that nobody runs any more. It does not know which these are, so
    /// choose a moment before which none was running that is running now.
    ///
    /// # Errors
    /// When there are none here, or when they cannot be written.
    pub async fn prune_snapshots<A: Aggregate>(
        &self,
        taken_before: Timestamp,
    ) -> Result<u64, SnapshotsError> {
        let (snapshots, how) = self.snapshots_of::<A>().ok_or(SnapshotsError::None)?;
        let others = SelectSnapshots::all()
            .category(Category::new(A::CATEGORY)?)
            .every_fold_but(snapshots.fold_of::<A>(how))
            .taken_before(taken_before);
        Ok(snapshots.store.drop_snapshots(others).await?)
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
        let folded: Loaded<A> = self.fold_as_of(stream.clone(), kept.version.into()).await?;
        let right = (folded.version, folded.last_event, folded.standing)
            == (kept.version, kept.last_event, kept.standing)
            && folded.state == kept.state;
        if !right {
            let fold = snapshots.fold_of::<A>(how);
            let wrong = SelectSnapshots::all().stream(stream).fold(fold);
            snapshots.store.drop_snapshots(wrong).await?;
            self.uncache_all();
        }
        Ok(Some(right))
    }

    /// Drops the snapshots that are selected, and says how many they were; and whatever this
    /// process has in its cache, but not what others have. They are made again when they are
    /// wanted.
    ///
    /// # Errors
    /// When there are none here, or when they cannot be written.
    pub async fn drop_snapshots(&self, which: SelectSnapshots) -> Result<u64, SnapshotsError> {
        let snapshots = self.snapshots.as_ref().ok_or(SnapshotsError::None)?;
        self.uncache_all();
        Ok(snapshots.store.drop_snapshots(which).await?)
    }
}
