//! What a runner drives: a projection together with the place where its rows are.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Activation, Advance, CheckpointStore, Generation, Partition, PoisonEvent};
use crate::error::ReadSideError;
use crate::{Query, RecordedEvent, SubscriberName, Timestamp};

/// A projection and the place where its rows are kept.
///
/// Where rows and checkpoints share a database, [`project`](Self::project) commits both in one
/// transaction: every event is applied exactly once. Elsewhere it writes first and moves the
/// checkpoint then, so that events may come again, with the same positions.
#[async_trait]
pub trait Projector: Send + Sync + fmt::Debug {
    /// The projection's name.
    fn name(&self) -> &SubscriberName;

    /// The version of its code: whoever changes what it makes of events counts it up.
    fn version(&self) -> u32;

    /// Which events concern it.
    fn query(&self) -> Query;

    /// Where its checkpoints are.
    fn checkpoints(&self) -> Arc<dyn CheckpointStore>;

    /// Whether an event may concern this part. Unless said otherwise, an event belongs to the
    /// part that its stream belongs to.
    fn concerns(&self, event: &RecordedEvent, partition: Partition) -> bool {
        partition.owns(event.stream.as_str())
    }

    /// Makes room for a generation, if there is none yet: tables for example.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn prepare(&self, generation: Generation) -> Result<(), ProjectError>;

    /// Applies the events of a stretch in their order, all of them or none, and moves the
    /// checkpoint.
    ///
    /// # Errors
    /// [`ProjectError`], which says what to do. Nothing has been written then, except perhaps to
    /// a place that has no transactions.
    async fn project(&self, stretch: &Stretch) -> Result<(), ProjectError>;

    /// Puts a generation into the place of the active one, and drops what was there. As in
    /// [`CheckpointStore::activate`], readers never go back: one that is behind does not take the
    /// place.
    ///
    /// # Errors
    /// When that cannot be done; the old one stands then.
    async fn activate(
        &self,
        generation: Generation,
        now: Timestamp,
    ) -> Result<Activation, ProjectError>;

    /// Drops a generation that was being built.
    ///
    /// # Errors
    /// When that cannot be done.
    async fn discard(&self, generation: Generation) -> Result<(), ProjectError>;
}

/// A stretch of the log: events to be applied, and the checkpoint behind them.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers make it")]
pub struct Stretch {
    /// The events that [concern](Projector::concerns) the part, in order.
    pub events: Vec<RecordedEvent>,
    /// Where the checkpoint moves, and by whom.
    pub advance: Advance,
}

/// Why a stretch was not applied, grouped by what its runner does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// One event cannot be applied.
    #[error(transparent)]
    Poison(#[from] PoisonEvent),
    /// The read side refuses, or does not answer.
    #[error(transparent)]
    ReadSide(#[from] ReadSideError),
}
