//! What people do with projections, whether they run here or elsewhere.

use std::sync::Arc;
use std::time::Duration;

use annals_core::{
    CheckpointStore, Deleted, Enrol, Generation, GenerationInfo, OnNewVersion, Parked, Position,
    Query, ReadSideError, SubscriberInfo, SubscriberName, SubscriberState,
};
use tokio::time::sleep_until;

use super::deadline::Deadline;
use super::options::Rebuild;
use super::running::{StatusError, WaitError, failure};
use super::status::ProjectionStatus;
use crate::Annals;

/// How often a checkpoint is looked at that another process moves.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What people do with projections: see how they stand, pause them, have them rebuilt, and delete
/// those that nobody runs any more.
///
/// It needs nothing but the checkpoints: the projections may run in other processes, which notice
/// within a second or two. Nothing is applied here, so a rebuild that is asked for goes on only
/// where a process runs the projection.
///
/// What a projection reads is not known here, so lag and progress are told as if it read every
/// event of the log; its own [status](super::RunningProjection::status) counts only those that
/// concern it.
///
/// ```
/// use annals::{Annals, CheckpointStore, Projections, Rebuild, SubscriberName};
/// # use std::sync::Arc;
///
/// # async fn look(bank: Annals, read_side: Arc<dyn CheckpointStore>) -> Result<(), Box<dyn std::error::Error>> {
/// let projections = Projections::over(bank, read_side);
/// for status in projections.list().await? {
///     println!("{} is {}, {} behind", status.info.subscriber, status.state(), status.lag);
/// }
/// projections.rebuild(&SubscriberName::new("balances")?, Rebuild::new().partitions(2)).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Projections {
    annals: Annals,
    checkpoints: Arc<dyn CheckpointStore>,
}

impl Projections {
    /// The projections of a log whose checkpoints are in `checkpoints`.
    #[must_use]
    pub fn over(annals: Annals, checkpoints: Arc<dyn CheckpointStore>) -> Self {
        Self { annals, checkpoints }
    }

    /// How all of them stand, by name.
    ///
    /// # Errors
    /// When the log or the checkpoints cannot be read.
    pub async fn list(&self) -> Result<Vec<ProjectionStatus>, StatusError> {
        let mut projections = Vec::new();
        for info in self.checkpoints.subscribers().await? {
            if !info.is_inbox() {
                projections.push(self.status_of(info).await?);
            }
        }
        Ok(projections)
    }

    /// How one of them stands.
    ///
    /// # Errors
    /// [`ReadSideError::Unknown`] when no projection of this name was ever run; or when the log
    /// or the checkpoints cannot be read.
    pub async fn status(&self, name: &SubscriberName) -> Result<ProjectionStatus, StatusError> {
        let info = self.info(name).await?;
        self.status_of(info).await
    }

    async fn status_of(&self, info: SubscriberInfo) -> Result<ProjectionStatus, StatusError> {
        Ok(ProjectionStatus::of(&self.annals, info, Query::all(), None).await?)
    }

    async fn info(&self, name: &SubscriberName) -> Result<SubscriberInfo, ReadSideError> {
        let info = self.checkpoints.subscriber(name).await?;
        info.filter(|info| !info.is_inbox()).ok_or_else(|| ReadSideError::Unknown(name.clone()))
    }

    /// Tells it to wait, in all processes, until it is resumed, also after a restart.
    ///
    /// # Errors
    /// [`ReadSideError::Unknown`], or when the read side does not answer. So do the others.
    /// [`ReadSideError::Unsupported`] for one that runs inline on PostgreSQL, which cannot wait.
    pub async fn pause(&self, name: &SubscriberName) -> Result<(), ReadSideError> {
        self.set(name, SubscriberState::Paused).await
    }

    /// Tells it to go on, also where it stopped at an event that it could not apply.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn resume(&self, name: &SubscriberName) -> Result<(), ReadSideError> {
        self.set(name, SubscriberState::Running).await
    }

    async fn set(
        &self,
        name: &SubscriberName,
        state: SubscriberState,
    ) -> Result<(), ReadSideError> {
        self.info(name).await?;
        self.checkpoints.set_state(name, state).await
    }

    /// Asks for its rows to be made anew beside those that are read, by the version of the code
    /// that made these, and says which generation that is. One that is being built is given up.
    ///
    /// # Errors
    /// As [`pause`](Self::pause); [`ReadSideError::Unsupported`] for any that runs inline, which
    /// no process would rebuild. The error says what to do instead.
    pub async fn rebuild(
        &self,
        name: &SubscriberName,
        rebuild: Rebuild,
    ) -> Result<Generation, ReadSideError> {
        let info = self.info(name).await?;
        let active = info.active().ok_or_else(|| ReadSideError::Unknown(name.clone()))?;
        let parts = u32::try_from(active.partitions.len()).unwrap_or(u32::MAX);
        let enrol = Enrol {
            subscriber: name.clone(),
            version: active.version,
            partitions: rebuild.partitions.unwrap_or(parts),
            after: rebuild.after,
            on_new_version: OnNewVersion::Rebuild,
            now: self.annals.clock.now(),
        };
        self.checkpoints.begin_generation(enrol).await
    }

    /// Gives up the rebuild that is under way, and says which it was, if there is one.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn cancel_rebuild(
        &self,
        name: &SubscriberName,
    ) -> Result<Option<Generation>, ReadSideError> {
        let info = self.info(name).await?;
        let Some(building) = info.building() else { return Ok(None) };
        self.checkpoints.discard(name, building.generation).await?;
        Ok(Some(building.generation))
    }

    /// Deletes one that nobody runs any more, because it was renamed or taken out: its checkpoint,
    /// what it has parked, its rows, and its tables where it is one in SQL. Says what went. What a
    /// [`Sink`](super::Sink) has written elsewhere stays there.
    ///
    /// It cannot be undone, but for starting it again: it begins as a new one then. When it fails
    /// midway, delete it once more.
    ///
    /// # Errors
    /// [`ReadSideError::InUse`] while somebody runs it, which says what to do;
    /// [`ReadSideError::Unknown`] when there is none of this name; or when the read side does not
    /// answer.
    pub async fn delete(&self, name: &SubscriberName) -> Result<Deleted, ReadSideError> {
        // One that was deleted in part is known no more.
        if self.checkpoints.subscriber(name).await?.is_some_and(|info| info.is_inbox()) {
            return Err(ReadSideError::Unknown(name.clone()));
        }
        self.checkpoints.delete(name, self.annals.clock.now()).await
    }

    /// The events that it has put aside, the lowest position first, at most so many.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn parked(
        &self,
        name: &SubscriberName,
        limit: usize,
    ) -> Result<Vec<Parked>, ReadSideError> {
        self.info(name).await?;
        self.checkpoints.parked(name, limit).await
    }

    /// Waits until everything up to a position is in the rows that are read, and safe there.
    ///
    /// It is told by the checkpoints, which follow within a tenth of a second over events that
    /// concern nobody; where the projection runs, its own
    /// [`wait_for`](super::RunningProjection::wait_for) knows sooner.
    ///
    /// # Errors
    /// [`WaitError`]; nothing else changes because of it.
    pub async fn wait_for(
        &self,
        name: &SubscriberName,
        position: Position,
        timeout: Duration,
    ) -> Result<(), WaitError> {
        let deadline = Deadline::within(timeout);
        loop {
            let info = self.info(name).await?;
            let reached = info.active().map_or(Position::START, GenerationInfo::position);
            if reached >= position {
                return Ok(());
            }
            if let Some(failure) = failure(&info) {
                let failure = failure.clone();
                return Err(WaitError::Failed { projection: name.clone(), failure });
            }
            if deadline.has_passed() {
                return Err(WaitError::TimedOut { projection: name.clone(), reached });
            }
            sleep_until(deadline.or_in(LOOK_INTERVAL)).await;
        }
    }
}
