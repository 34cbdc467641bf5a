//! The handle of a projection that runs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_core::{
    Enrol, Failure, Generation, GenerationInfo, OnNewVersion, Position, Projector, ReadError,
    ReadSideError, SubscriberInfo, SubscriberName, SubscriberState,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::deadline::Deadline;
use super::options::{Options, Rebuild};
use super::progress::Progress;
use super::status::ProjectionStatus;
use crate::Annals;

/// How often a checkpoint is asked for that another process may move.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A projection that runs in this process. It stops when this is dropped.
pub struct RunningProjection {
    pub(super) inner: Arc<Inner>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) supervising: JoinHandle<()>,
}

pub(super) struct Inner {
    pub(super) annals: Annals,
    pub(super) projector: Arc<dyn Projector>,
    pub(super) options: Arc<Options>,
    pub(super) progress: Arc<Progress>,
    /// Whether this process has said once that it runs it.
    pub(super) is_enrolled: AtomicBool,
    /// Why it does not run at all.
    pub(super) trouble: watch::Sender<Option<String>>,
}

impl Inner {
    /// The projection as it is to be known.
    pub(super) fn enrol(&self, on_new_version: OnNewVersion) -> Enrol {
        let Self { annals, projector, options, .. } = self;
        Enrol {
            subscriber: projector.name().clone(),
            version: projector.version(),
            partitions: options.partitions,
            after: options.after,
            on_new_version,
            now: annals.clock.now(),
        }
    }
}

/// Why a projection did not come as far as somebody waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// A part has stopped at an event that it cannot apply, and will not come so far.
    #[error("the projection {projection} has stopped: {}; mend it, then resume or rebuild it", failure.error)]
    Failed {
        /// Which projection.
        projection: SubscriberName,
        /// Where and why.
        failure: Failure,
    },
    /// It does not run in this process.
    #[error("the projection {projection} does not run here: {trouble}")]
    NotEnrolled {
        /// Which projection.
        projection: SubscriberName,
        /// What is in the way.
        trouble: String,
    },
    /// The checkpoints cannot be read.
    #[error(transparent)]
    ReadSide(#[from] ReadSideError),
    /// The time is up.
    #[error(
        "the projection {projection} has come to position {reached} only; wait longer, or look at its status"
    )]
    TimedOut {
        /// Which projection.
        projection: SubscriberName,
        /// How far it has come.
        reached: Position,
    },
}

impl RunningProjection {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &SubscriberName {
        self.inner.projector.name()
    }

    /// Waits until everything up to a position is in the rows that are read: the `last_position`
    /// of a receipt, for whoever wants to read their own write. Another process may be the one
    /// that works.
    ///
    /// # Errors
    /// [`WaitError`]; nothing else changes because of it.
    pub async fn wait_for(&self, position: Position, timeout: Duration) -> Result<(), WaitError> {
        let deadline = Deadline::within(timeout);
        loop {
            let changed = self.inner.progress.next_change();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let info = self.info().await?;
            let reached = self.reached(info.as_ref());
            if reached >= position {
                return Ok(());
            }
            if let Some(failure) = info.as_ref().and_then(failure) {
                let projection = self.name().clone();
                return Err(WaitError::Failed { projection, failure: failure.clone() });
            }
            if deadline.has_passed() {
                return Err(WaitError::TimedOut { projection: self.name().clone(), reached });
            }
            // Whichever comes first.
            let _ = tokio::time::timeout_at(deadline.or_in(LOOK_INTERVAL), changed).await;
        }
    }

    /// Waits until no rebuild is under way: neither one that is known already, nor one that begins
    /// with the [start](super::Projecting::start), since the version of the code is another.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for), and [`WaitError::NotEnrolled`] when it does not get as far
    /// as to know of a rebuild.
    pub async fn wait_for_rebuild(&self, timeout: Duration) -> Result<(), WaitError> {
        let deadline = Deadline::within(timeout);
        loop {
            // Asked first: what is enrolled afterwards is not in the answer yet.
            let is_enrolled = self.inner.is_enrolled.load(Ordering::SeqCst);
            let info = self.info().await?;
            let building = info.as_ref().and_then(SubscriberInfo::building);
            let projection = || self.name().clone();
            match building {
                None if is_enrolled => return Ok(()),
                None => {
                    if let Some(trouble) = self.inner.trouble.borrow().clone() {
                        return Err(WaitError::NotEnrolled { projection: projection(), trouble });
                    }
                }
                Some(building) => {
                    let mut parts = building.partitions.iter();
                    if let Some(failure) = parts.find_map(|part| part.failure.clone()) {
                        return Err(WaitError::Failed { projection: projection(), failure });
                    }
                }
            }
            if deadline.has_passed() {
                let reached = building.map_or(Position::START, GenerationInfo::position);
                return Err(WaitError::TimedOut { projection: projection(), reached });
            }
            tokio::time::sleep_until(deadline.or_in(LOOK_INTERVAL)).await;
        }
    }

    /// How far the rows that are read have come.
    fn reached(&self, info: Option<&SubscriberInfo>) -> Position {
        let Some(active) = info.and_then(SubscriberInfo::active) else { return Position::START };
        let reached = active.partitions.iter().map(|part| {
            let here = self.inner.progress.of(active.generation, part.partition.index);
            here.map_or(part.position, |here| here.max(part.position))
        });
        reached.min().unwrap_or(Position::START)
    }

    async fn info(&self) -> Result<Option<SubscriberInfo>, ReadSideError> {
        self.inner.projector.checkpoints().subscriber(self.name()).await
    }

    /// How it stands.
    ///
    /// # Errors
    /// When the log or the checkpoints cannot be read.
    pub async fn status(&self) -> Result<ProjectionStatus, StatusError> {
        let Some(info) = self.info().await? else {
            return Err(ReadSideError::Unknown(self.name().clone()).into());
        };
        let trouble = self.inner.trouble.borrow().clone().or_else(|| self.inner.progress.trouble());
        let query = self.inner.projector.query();
        Ok(ProjectionStatus::of(&self.inner.annals, info, query, trouble).await?)
    }

    /// Tells it to wait, in all processes, until it is resumed, also after a restart.
    ///
    /// # Errors
    /// When the read side does not answer.
    pub async fn pause(&self) -> Result<(), ReadSideError> {
        self.set_state(SubscriberState::Paused).await
    }

    /// Tells it to go on, also where it stopped at an event that it could not apply.
    ///
    /// # Errors
    /// When the read side does not answer.
    pub async fn resume(&self) -> Result<(), ReadSideError> {
        self.set_state(SubscriberState::Running).await
    }

    async fn set_state(&self, state: SubscriberState) -> Result<(), ReadSideError> {
        self.inner.projector.checkpoints().set_state(self.name(), state).await
    }

    /// Begins to make the rows anew, beside those that are read, whose place they take once they
    /// have come as far. A rebuild that is under way is given up.
    ///
    /// It goes on where it was after a restart, and in whatever process runs this version of the
    /// projection. Inboxes and reactors see nothing of it.
    ///
    /// # Errors
    /// When the read side does not answer, or appends run it.
    pub async fn rebuild(&self, rebuild: Rebuild) -> Result<Generation, RebuildError> {
        let projector = &self.inner.projector;
        let info = match self.info().await? {
            Some(info) => Some(info),
            // It has just been started.
            None => {
                Some(projector.checkpoints().enrol(self.inner.enrol(OnNewVersion::Refuse)).await?)
            }
        };
        let building = info.as_ref().and_then(SubscriberInfo::building);
        if let Some(building) = building {
            projector.discard(building.generation).await?;
        }
        let active = info.as_ref().and_then(SubscriberInfo::active);
        let parts = active.map_or(self.inner.options.partitions, |active| {
            u32::try_from(active.partitions.len()).unwrap_or(u32::MAX)
        });
        let enrol = Enrol {
            partitions: rebuild.partitions.unwrap_or(parts),
            after: rebuild.after,
            ..self.inner.enrol(OnNewVersion::Rebuild)
        };
        let generation = projector.checkpoints().begin_generation(enrol).await?;
        self.inner.progress.changed();
        Ok(generation)
    }

    /// Gives up the rebuild that is under way, if there is one.
    ///
    /// # Errors
    /// When the read side does not answer.
    pub async fn cancel_rebuild(&self) -> Result<(), RebuildError> {
        let info = self.info().await?;
        if let Some(building) = info.as_ref().and_then(SubscriberInfo::building) {
            self.inner.projector.discard(building.generation).await?;
        }
        Ok(())
    }

    /// Stops it here, behind the stretch that is being applied, and gives its parts back, so that
    /// others need not wait for them.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // One that panicked has said so.
        let _ = self.supervising.await;
    }
}

/// Why a status cannot be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The checkpoints cannot be read.
    #[error(transparent)]
    ReadSide(#[from] ReadSideError),
}

/// Why a rebuild was not begun, or not given up.
pub type RebuildError = annals_core::ProjectError;

pub(super) fn failure(info: &SubscriberInfo) -> Option<&Failure> {
    info.active()?.partitions.iter().find_map(|part| part.failure.as_ref())
}

impl fmt::Debug for RunningProjection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningProjection").field("name", self.name()).finish_non_exhaustive()
    }
}
