//! Projections on the wire.

use annals_core::{
    EventId, Generation, GenerationInfo, Parked, PartitionInfo, Position, Role, SubscriberInfo,
    SubscriberName, SubscriberState, Timestamp,
};
use serde::{Deserialize, Serialize, Serializer};

use crate::Malformed;

/// How a projection stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Projection {
    /// Its name.
    pub name: SubscriberName,
    /// What it does: `running`, `rebuilding`, `paused` or `failed`.
    pub state: &'static str,
    /// How far the rows that are read have come.
    pub position: Position,
    /// Where the log is.
    pub head: Position,
    /// How far they are behind.
    pub lag: Lag,
    /// How far a rebuild has come, if one is under way.
    pub rebuild: Option<RebuildProgress>,
    /// The generation that is read, and one that is being built.
    pub generations: Vec<ProjectionGeneration>,
}

impl Projection {
    /// The wire form of what is known of a projection.
    #[must_use]
    pub fn of(
        info: &SubscriberInfo,
        head: Position,
        lag: Lag,
        rebuild: Option<RebuildProgress>,
    ) -> Self {
        let generations: Vec<_> = info.generations.iter().map(ProjectionGeneration::of).collect();
        let has_failed =
            generations.iter().flat_map(|one| &one.parts).any(|part| part.failure.is_some());
        let state = match info.state {
            _ if has_failed => "failed",
            SubscriberState::Running if rebuild.is_some() => "rebuilding",
            SubscriberState::Running => "running",
            _ => "paused",
        };
        Self {
            name: info.subscriber.clone(),
            state,
            position: info.active().map_or(Position::START, GenerationInfo::position),
            head,
            lag,
            rebuild,
            generations,
        }
    }
}

/// How far a projection is behind the log, events counted that do not concern it as well.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Lag {
    /// So many events of the log come after its position.
    pub events: u64,
    /// Whether there are more than that.
    pub or_more: bool,
    /// For how long the oldest of them has been in the log.
    pub seconds: f64,
}

/// How far a rebuild has come. All of it is estimated, for people.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RebuildProgress {
    /// The share of the log that is done, 0 to 1.
    pub done: f64,
    /// Events applied per second since it began.
    pub events_per_second: f64,
    /// How long the rest takes, if it goes on like this; unknown at the beginning.
    pub remaining_seconds: Option<f64>,
}

/// One building of a projection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProjectionGeneration {
    /// Which one.
    #[serde(serialize_with = "number")]
    pub generation: Generation,
    /// Which version of the code makes it.
    pub version: u32,
    /// Whether it is read, or being built.
    pub role: Role,
    /// Since when it has been made.
    pub begun_at: Timestamp,
    /// How far all of its parts have come.
    pub position: Position,
    /// Its parts, by their index.
    pub parts: Vec<Part>,
}

fn number<S: Serializer>(generation: &Generation, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(generation.get())
}

impl ProjectionGeneration {
    fn of(info: &GenerationInfo) -> Self {
        Self {
            generation: info.generation,
            version: info.version,
            role: info.role,
            begun_at: info.begun_at,
            position: info.position(),
            parts: info.partitions.iter().map(Part::of).collect(),
        }
    }
}

/// One part of a generation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// Which one, counted from 0.
    pub index: u32,
    /// Of how many.
    pub count: u32,
    /// Its checkpoint.
    pub position: Position,
    /// How many events were applied to come so far.
    pub events: u64,
    /// How many of them were parked.
    pub parked: u64,
    /// When the checkpoint last moved.
    pub moved_at: Timestamp,
    /// Who works it.
    pub owner: Option<Owner>,
    /// Why it does not go on.
    pub failure: Option<Failure>,
}

impl Part {
    fn of(info: &PartitionInfo) -> Self {
        Self {
            index: info.partition.index,
            count: info.partition.count,
            position: info.position,
            events: info.events,
            parked: info.parked,
            moved_at: info.moved_at,
            owner: info.owner.as_ref().map(Owner::of),
            failure: info.failure.as_ref().map(Failure::of),
        }
    }
}

/// Who works a part, or reads the log for an inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// The name it gave itself.
    pub name: String,
    /// Until when that is certain; others may take its place from then on.
    pub until: Timestamp,
}

impl Owner {
    /// The wire form of an owner.
    #[must_use]
    pub fn of((name, until): &(String, Timestamp)) -> Self {
        Self { name: name.clone(), until: *until }
    }
}

/// Why a part does not go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Where the event stands that could not be applied, if it was one.
    pub position: Option<Position>,
    /// Its id.
    pub event_id: Option<EventId>,
    /// What went wrong, with all its reasons.
    pub error: String,
    /// Since when.
    pub at: Timestamp,
}

impl Failure {
    /// The wire form of a failure.
    #[must_use]
    pub fn of(failure: &annals_core::Failure) -> Self {
        Self {
            position: failure.event.map(|(position, _)| position),
            event_id: failure.event.map(|(_, id)| id),
            error: failure.error.clone(),
            at: failure.at,
        }
    }
}

/// An event that a projection has put aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParkedEvent {
    /// Where it stands.
    pub position: Position,
    /// Its id.
    pub event_id: EventId,
    /// What went wrong, with all its reasons.
    pub error: String,
    /// When.
    pub at: Timestamp,
}

impl ParkedEvent {
    /// The wire form of a parked event.
    #[must_use]
    pub fn of(parked: &Parked) -> Self {
        Self {
            position: parked.position,
            event_id: parked.event,
            error: parked.error.clone(),
            at: parked.at,
        }
    }
}

/// A wish for a projection to be made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RebuildRequest {
    /// In how many parts; as many as now when left out.
    pub partitions: Option<u32>,
    /// Only from what came after this position.
    pub after: Option<Position>,
}

impl RebuildRequest {
    /// Reads the request from JSON; nothing at all is a request without wishes.
    ///
    /// # Errors
    /// When it is not JSON, has unknown fields, or asks for more parts than there may be.
    pub fn from_json(json: &[u8]) -> Result<Self, Malformed> {
        let request: Self = crate::delivery::object(json)?;
        match request.partitions {
            Some(0) => Err(annals_core::Invalid::NoPartitions.into()),
            Some(count) => {
                let max = annals_core::Partition::COUNT_MAX as usize;
                crate::event::within("partitions_max", max, count as usize)?;
                Ok(request)
            }
            None => Ok(request),
        }
    }
}
