//! Sending again what was sent before, or what was missed.

use std::future::ready;

use annals::{
    Ids, Inboxes, LoadError, Position, RandomIds, Read, ReadSideError, RecordedEvent, Timestamp,
};
use futures_util::TryStreamExt;

use crate::fan_out::new_delivery;
use crate::registrations::{Registration, RegistrationsError};
use crate::webhook::WebhookId;
use crate::webhooks::Webhooks;

/// Which events are sent again: of these, those that pass the webhook's filter as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay(Which);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    At(Position),
    Between(Timestamp, Timestamp),
    Positions(Position, Position),
}

impl Replay {
    /// The one event at this position, if the webhook wants it.
    #[must_use]
    pub fn at(position: Position) -> Self {
        Self(Which::At(position))
    }

    /// The events that were recorded from one moment until before another, and that the webhook
    /// wants.
    #[must_use]
    pub fn between(from: Timestamp, until: Timestamp) -> Self {
        Self(Which::Between(from, until))
    }

    /// The events after one position and up to another that the webhook wants.
    #[must_use]
    pub fn positions(after: Position, up_to: Position) -> Self {
        Self(Which::Positions(after, up_to))
    }
}

/// How many deliveries are enqueued at once.
const CHUNK: usize = 500;

impl Webhooks {
    /// Sends events to a webhook again, beside what waits to be sent, and says how many. These
    /// are new deliveries with their own attempts; the `webhook-id` of each message is that of
    /// before, so that a receiver which keeps ids passes over what it has.
    ///
    /// Doing it twice sends twice. When it fails, what was enqueued until then is sent: also at an
    /// event that cannot be upcast, beyond which another replay goes on.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub async fn replay(
        &self,
        inboxes: &Inboxes,
        id: &WebhookId,
        which: Replay,
    ) -> Result<u64, ReplayError> {
        let all = self.registrations().now().await?;
        let registration = all.get(id).filter(|each| each.webhook.is_enabled());
        let registration = registration.ok_or(ReplayError::NotEnabled)?;
        let (run, mut count) = (RandomIds.next(), 0);
        let events = self.annals().read(read(which, registration));
        // Those that one event was split into are one delivery, since they have one id.
        let mut chunks =
            events.try_filter(|event| ready(selects(which, registration, event))).try_chunks(CHUNK);
        while let Some(events) = chunks.try_next().await.map_err(|error| error.1)? {
            let now = self.options().clock.now();
            let deliveries = events.iter().map(|event| new_delivery(id, event, Some(run), now));
            count += inboxes.enqueue(deliveries.collect()).await?;
        }
        Ok(count)
    }
}

fn read(which: Replay, registration: &Registration) -> Read {
    let wanted = Read::query(registration.webhook.filter.query());
    match which.0 {
        Which::At(position) => Read::all().up_to(position).backward().limit(1),
        Which::Between(_, until) => wanted.as_at(until),
        Which::Positions(after, up_to) => wanted.after(after).up_to(up_to),
    }
}

fn selects(which: Replay, registration: &Registration, event: &RecordedEvent) -> bool {
    let wanted = registration.webhook.filter.matches(event);
    match which.0 {
        Which::At(position) => wanted && event.position == position,
        Which::Between(from, until) => {
            wanted && from <= event.recorded_at && event.recorded_at < until
        }
        Which::Positions(..) => wanted,
    }
}

/// Why events are not sent again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// There is no such webhook, or it is disabled.
    #[error("there is no such webhook, or it is disabled; enable it first")]
    NotEnabled,
    /// The queue does not answer.
    #[error(transparent)]
    Queue(#[from] ReadSideError),
    /// The log cannot be read, or one of its events cannot be upcast.
    #[error(transparent)]
    Read(#[from] LoadError),
    /// The log could not tell which webhooks there are.
    #[error(transparent)]
    Registrations(#[from] RegistrationsError),
}
