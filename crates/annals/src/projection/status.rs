//! How a projection stands, for people to look at.

use std::fmt;
use std::time::Duration;

use annals_core::{
    Failure, GenerationInfo, Position, Query, Read, ReadError, SubscriberInfo, SubscriberState,
    Timestamp,
};
use futures_util::TryStreamExt;

use crate::Annals;
use crate::upcast::Upcasted;

/// Events behind a checkpoint are counted up to so many.
const COUNTED_MAX: u64 = 10_000;

/// How a projection stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProjectionStatus {
    /// Its checkpoints, part by part, and who works them.
    pub info: SubscriberInfo,
    /// Where the log is.
    pub head: Position,
    /// How far the rows that are read are behind.
    pub lag: Lag,
    /// How far a rebuild has come, if one is under way.
    pub rebuild: Option<GenerationProgress>,
    /// Why it does not run in this process, or a part of it does not: rows of another version, for
    /// example, or a table that cannot be made. What may pass is tried again.
    pub trouble: Option<String>,
}

/// What a projection does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProjectionState {
    /// It follows the log.
    Running,
    /// It is made anew beside the rows that are read.
    Rebuilding,
    /// It was told to wait.
    Paused,
    /// A part has stopped.
    Failed(Failure),
}

/// How far a projection is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lag {
    /// How many of its events are still to be applied.
    pub events: u64,
    /// Whether there are even more: they are counted up to 10,000.
    pub or_more: bool,
    /// For how long the oldest of them has been in the log.
    pub time: Duration,
}

/// How far a rebuild has come. All of it is estimated, for people.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GenerationProgress {
    /// The share of the log that is done, 0 to 1.
    pub done: f64,
    /// Events applied per second since it began.
    pub events_per_second: f64,
    /// How long the rest takes, if it goes on like this; unknown at the beginning.
    pub remaining: Option<Duration>,
}

impl ProjectionStatus {
    /// What it does.
    #[must_use]
    pub fn state(&self) -> ProjectionState {
        let generations = self.info.generations.iter();
        let mut failures =
            generations.flat_map(|one| &one.partitions).filter_map(|part| part.failure.as_ref());
        match failures.next() {
            Some(failure) => ProjectionState::Failed(failure.clone()),
            None if self.info.state != SubscriberState::Running => ProjectionState::Paused,
            None if self.rebuild.is_some() => ProjectionState::Rebuilding,
            None => ProjectionState::Running,
        }
    }

    pub(super) async fn of(
        annals: &Annals,
        info: SubscriberInfo,
        query: Query,
        trouble: Option<String>,
    ) -> Result<Self, ReadError> {
        let head = annals.store().head().await?;
        let now = annals.clock.now();
        let position = info.active().map_or(Position::START, GenerationInfo::position);
        let lag = lag(annals, query.clone(), position, now).await?;
        let rebuild = match info.building() {
            Some(building) => Some(progress(annals, building, query, head, now).await?),
            None => None,
        };
        Ok(Self { info, head, lag, rebuild, trouble })
    }
}

/// Counts what waits. An event that cannot be read is one that waits, too.
async fn lag(
    annals: &Annals,
    mut query: Query,
    after: Position,
    now: Timestamp,
) -> Result<Lag, ReadError> {
    let lens = annals.lens(&mut query);
    let mut waiting = annals.store().read(Read::query(query).after(after));
    let (mut events, mut oldest) = (0_u64, None);
    while events <= COUNTED_MAX
        && let Some(stored) = waiting.try_next().await?
    {
        events += match lens.current(&stored) {
            Ok(Upcasted::Became(current)) => current.len() as u64,
            Ok(Upcasted::AsStored) | Err(_) => 1,
        };
        if events > 0 {
            oldest.get_or_insert(stored.recorded_at);
        }
    }
    let time = oldest.map_or(Duration::ZERO, |oldest| elapsed(oldest, now));
    Ok(Lag { events: events.min(COUNTED_MAX), or_more: events > COUNTED_MAX, time })
}

/// Positions are calculated with here and nowhere else: what comes of it is only shown.
async fn progress(
    annals: &Annals,
    building: &GenerationInfo,
    query: Query,
    head: Position,
    now: Timestamp,
) -> Result<GenerationProgress, ReadError> {
    let query = annals.upcasters.as_stored(&query);
    let first = annals.store().read(Read::query(query).limit(1)).try_next().await?;
    let first = first.map_or(head, |event| event.position);
    let share = |part: Position| {
        let (first, part, head) = (first.get(), part.get(), head.get());
        let whole = head.saturating_sub(first).max(1);
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let share = part.saturating_sub(first) as f64 / whole as f64;
        share.clamp(0.0, 1.0)
    };
    let parts = &building.partitions;
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let done =
        parts.iter().map(|part| share(part.position)).sum::<f64>() / parts.len().max(1) as f64;
    let seconds = elapsed(building.begun_at, now).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let events = parts.iter().map(|part| part.events).sum::<u64>() as f64;
    let is_known = done > 0.0 && seconds > 0.0;
    Ok(GenerationProgress {
        done,
        events_per_second: if seconds > 0.0 { events / seconds } else { 0.0 },
        remaining: is_known
            .then(|| Duration::try_from_secs_f64(seconds * (1.0 - done) / done).ok())
            .flatten(),
    })
}

fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    let micros = now.as_micros().saturating_sub(since.as_micros());
    Duration::from_micros(micros.max(0).unsigned_abs())
}

impl fmt::Display for ProjectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Rebuilding => f.write_str("rebuilding"),
            Self::Paused => f.write_str("paused"),
            Self::Failed(failure) => match failure.event {
                Some((position, id)) => {
                    write!(f, "failed at event {id} (position {position}): {}", failure.error)
                }
                None => write!(f, "failed: {}", failure.error),
            },
        }
    }
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.or_more { " or more" } else { "" };
        write!(f, "{}{more} events, {:.1} s", self.events, self.time.as_secs_f64())
    }
}
