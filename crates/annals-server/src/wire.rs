//! What the framework tells, in the form that it has on the wire.

use annals::inbox::InboxStatus;
use annals::{GenerationProgress, Lag, ProjectionStatus};
use annals_api as api;

/// The wire form of a projection's status.
#[must_use]
pub fn projection_of(status: &ProjectionStatus) -> api::Projection {
    let rebuild = status.rebuild.as_ref().map(rebuild_of);
    api::Projection::of(&status.info, status.head, lag_of(&status.lag), rebuild)
}

fn lag_of(lag: &Lag) -> api::Lag {
    api::Lag { events: lag.events, or_more: lag.or_more, seconds: lag.time.as_secs_f64() }
}

fn rebuild_of(progress: &GenerationProgress) -> api::RebuildProgress {
    api::RebuildProgress {
        done: progress.done,
        events_per_second: progress.events_per_second,
        remaining_seconds: progress.remaining.map(|remaining| remaining.as_secs_f64()),
    }
}

/// The wire form of an inbox's status.
#[must_use]
pub fn inbox_of(status: InboxStatus) -> api::Inbox {
    api::Inbox {
        name: status.inbox,
        state: status.state,
        position: status.position,
        moved_at: status.moved_at,
        reader: status.reader.as_ref().map(api::Owner::of),
        failure: status.failure.as_ref().map(api::Failure::of),
        waiting: status.waiting,
        retrying: status.retrying,
        taken: status.taken,
        dead: status.dead,
        oldest: status.oldest,
    }
}
