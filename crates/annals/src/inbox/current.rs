//! What a stored event is now, and what it is to an inbox.

use std::panic::{AssertUnwindSafe, catch_unwind};

use annals_core::{DeliveryId, EventRef, NewDelivery, RecordedEvent, Timestamp};
use sha2::{Digest, Sha256};

use super::definition::Lanes;
use super::Inbox;
use crate::Upcasters;
use crate::error::DecodeError;
use crate::upcast::Upcasted;

/// A stored event, and the events that it is read as now.
pub(super) struct Current {
    pub(super) stored: RecordedEvent,
    events: Result<Vec<RecordedEvent>, DecodeError>,
}

/// Why it is not clear what an event is to an inbox. It is delivered all the same, and each
/// attempt fails with this until it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unclear {
    /// It cannot be upcast.
    #[error("what it is read as now cannot be said")]
    Decode(#[source] Unreadable),
    /// A closure of the inbox has panicked.
    #[error("the inbox's `{what}` panicked: {said}")]
    Panicked { what: &'static str, said: String },
    /// A name that it was given does not fit into the queue.
    #[error(transparent)]
    Invalid(#[from] annals_core::error::Invalid),
}

/// A fault that is with the event, and told of each attempt at it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreadable(String);

impl Current {
    pub(super) fn of(stored: RecordedEvent, upcasters: &Upcasters) -> Self {
        let events = upcasters.apply(&stored).map(|upcasted| match upcasted {
            Upcasted::AsStored => vec![stored.clone()],
            Upcasted::Became(events) => events,
        });
        Self { stored, events }
    }

    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        let stored = self.stored.data.bytes.len() + self.stored.metadata.as_json().len();
        let changed = self.events.iter().flatten().map(|event| event.data.bytes.len());
        stored + changed.sum::<usize>()
    }

    fn event_ref(&self) -> EventRef {
        let RecordedEvent { id, position, stream, version, event_type, .. } = &self.stored;
        EventRef {
            id: *id,
            position: *position,
            stream: stream.clone(),
            version: *version,
            event_type: event_type.clone(),
        }
    }
}

impl Inbox {
    /// The events among those it is read as that this inbox accepts, by their numbers.
    pub(super) fn accepted<'a>(
        &self,
        current: &'a Current,
    ) -> Result<Vec<(usize, &'a RecordedEvent)>, Unclear> {
        let events = current.events.as_ref().map_err(|error| {
            Unclear::Decode(Unreadable(super::attempt::chain(error)))
        })?;
        let mut accepted = Vec::new();
        for (part, event) in events.iter().enumerate() {
            if self.query.matches(event)
                && self.ask("accepts_if", self.accepts_if.as_ref(), event)?.unwrap_or(true)
            {
                accepted.push((part, event));
            }
        }
        Ok(accepted)
    }

    /// The deliveries that a stored event leads to. When that is not clear it is one, which finds
    /// out later.
    pub(super) fn deliveries(
        &self,
        current: &Current,
        upcasters: &Upcasters,
        now: Timestamp,
    ) -> Vec<NewDelivery> {
        match self.clear_deliveries(current, now) {
            Ok(deliveries) => deliveries,
            Err(Unclear::Decode(_))
                if !upcasters.as_stored(&self.query).matches(&current.stored) =>
            {
                Vec::new()
            }
            Err(_) => {
                let lane = match self.lanes {
                    Lanes::Stream => Some(current.stored.stream.to_string()),
                    Lanes::None | Lanes::Of(_) => None,
                };
                vec![self.delivery(current, None, lane, now)]
            }
        }
    }

    /// The deliveries that a stored event leads to.
    pub(super) fn clear_deliveries(
        &self,
        current: &Current,
        now: Timestamp,
    ) -> Result<Vec<NewDelivery>, Unclear> {
        let accepted = self.accepted(current)?;
        let Some((_, first)) = accepted.first() else { return Ok(Vec::new()) };
        let lane = match &self.lanes {
            Lanes::Stream => Some(first.stream.to_string()),
            Lanes::None => None,
            Lanes::Of(lane) => self.ask("lanes", Some(lane), first)?.flatten(),
        };
        let due = self.due_at(first)?.unwrap_or(now);
        if self.recipients.is_none() {
            let delivery = self.delivery(current, None, lane, due);
            delivery.check()?;
            return Ok(vec![delivery]);
        }
        let mut recipients = Vec::new();
        for (_, event) in accepted {
            let more = self.ask("recipients", self.recipients.as_ref(), event)?;
            recipients.extend(more.unwrap_or_default());
        }
        recipients.sort_unstable();
        recipients.dedup();
        let deliveries = recipients.into_iter().map(|recipient| {
            let lane = lane.as_deref().map(|lane| lane_of(&recipient, lane));
            let delivery = self.delivery(current, Some(recipient), lane, due);
            delivery.check()?;
            Ok(delivery)
        });
        deliveries.collect()
    }

    /// Before when an event is not delivered.
    pub(super) fn due_at(&self, event: &RecordedEvent) -> Result<Option<Timestamp>, Unclear> {
        Ok(self.ask("due", self.due.as_ref(), event)?.flatten())
    }

    fn delivery(
        &self,
        current: &Current,
        recipient: Option<String>,
        lane: Option<String>,
        due_at: Timestamp,
    ) -> NewDelivery {
        NewDelivery {
            id: DeliveryId::new(&self.name, current.stored.id, recipient.as_deref()),
            inbox: self.name.clone(),
            event: current.event_ref(),
            recipient,
            lane,
            due_at,
        }
    }

    /// Asks a closure, which may panic and must not take others with it.
    fn ask<T>(
        &self,
        what: &'static str,
        closure: Option<&super::definition::OfEvent<T>>,
        event: &RecordedEvent,
    ) -> Result<Option<T>, Unclear> {
        let Some(closure) = closure else { return Ok(None) };
        let answer = catch_unwind(AssertUnwindSafe(|| closure(event)));
        answer.map(Some).map_err(|panic| {
            let said = super::attempt::said(&*panic);
            tracing::error!(inbox = %self.name, event = %event.id, what, said, "a closure of an inbox panicked");
            Unclear::Panicked { what, said }
        })
    }
}

/// The lane of one recipient.
fn lane_of(recipient: &str, lane: &str) -> String {
    let whole = format!("{recipient}/{lane}");
    if whole.len() <= NewDelivery::NAME_BYTES_MAX {
        return whole;
    }
    let digest = Sha256::digest(whole.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
