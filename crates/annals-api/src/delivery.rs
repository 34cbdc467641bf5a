//! Inboxes and deliveries on the wire.

use annals_core::{
    DeliveryId, DeliveryInfo, DeliveryState, EventId, EventType, Position, SelectDeliveries,
    StreamId, SubscriberName, SubscriberState, Timestamp, Version,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::event::within;
use crate::{Failure, Malformed, Owner};

/// How an inbox stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inbox {
    /// Its name.
    pub name: SubscriberName,
    /// Whether it works: `running`, `paused` or `disabled`.
    pub state: SubscriberState,
    /// Up to where the log was looked at for it; 0 if it is fed by others.
    pub position: Position,
    /// When that position last moved.
    pub moved_at: Timestamp,
    /// Who reads the log for it.
    pub reader: Option<Owner>,
    /// Why the log is not read for it any more.
    pub failure: Option<Failure>,
    /// Deliveries that wait, and were not tried yet.
    pub waiting: u64,
    /// Deliveries that wait to be tried again.
    pub retrying: u64,
    /// Deliveries that somebody makes.
    pub taken: u64,
    /// Dead letters.
    pub dead: u64,
    /// Since when the oldest delivery that is neither made nor dead waits.
    pub oldest: Option<Timestamp>,
}

/// One event on its way to one inbox.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Delivery {
    /// Its id.
    pub id: String,
    /// To which inbox.
    pub inbox: SubscriberName,
    /// How it stands.
    pub state: DeliveryState,
    /// Where the event stands in the log.
    pub position: Position,
    /// The event's id.
    pub event_id: EventId,
    /// The event's stream.
    pub stream: StreamId,
    /// Its place there.
    pub version: Version,
    /// The event's type.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// To whom behind the inbox.
    pub recipient: Option<String>,
    /// Which deliveries it is made in a row with.
    pub lane: Option<String>,
    /// How many attempts were made since it was enqueued, or last retried by hand.
    pub attempts: u32,
    /// When it is due, if it waits.
    pub due_at: Timestamp,
    /// When it was enqueued.
    pub enqueued_at: Timestamp,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// Why it was skipped.
    pub skipped: Option<String>,
}

impl Delivery {
    /// The wire form of a delivery.
    #[must_use]
    pub fn of(info: DeliveryInfo) -> Self {
        Self {
            id: info.id.as_str().to_owned(),
            inbox: info.inbox,
            state: info.state,
            position: info.event.position,
            event_id: info.event.id,
            stream: info.event.stream,
            version: info.event.version,
            event_type: info.event.event_type,
            recipient: info.recipient,
            lane: info.lane,
            attempts: info.attempts,
            due_at: info.due_at,
            enqueued_at: info.enqueued_at,
            last_error: info.last_error,
            skipped: info.skipped,
        }
    }
}

/// A delivery and the attempts that are remembered of it, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeliveryHistory {
    /// The delivery.
    pub delivery: Delivery,
    /// The attempts.
    pub attempts: Vec<Attempt>,
}

/// One attempt to make a delivery.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// What went wrong, with all its reasons; nothing when nothing did.
    pub error: Option<String>,
    /// What the other side said, if the reactor noted it.
    pub note: Option<String>,
}

impl Attempt {
    /// The wire form of an attempt.
    #[must_use]
    pub fn of(attempt: annals_core::Attempt) -> Self {
        Self {
            number: attempt.number,
            at: attempt.at,
            seconds: attempt.duration.as_secs_f64(),
            error: attempt.error,
            note: attempt.note,
        }
    }
}

/// Which deliveries; what is left out restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WhichDeliveries {
    /// Just this one.
    pub id: Option<String>,
    /// Those of this inbox.
    pub inbox: Option<SubscriberName>,
    /// Those that stand like this.
    pub state: Option<DeliveryState>,
    /// Those of events of this type.
    #[serde(rename = "type")]
    pub event_type: Option<EventType>,
    /// Those of events in this stream.
    pub stream: Option<StreamId>,
    /// Those to this recipient.
    pub recipient: Option<String>,
}

impl WhichDeliveries {
    /// The most bytes that the id of a delivery may have: those of its parts.
    pub const ID_BYTES_MAX: usize = 2_048;

    /// Whether nothing is restricted.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// The deliveries it stands for.
    ///
    /// # Errors
    /// [`Malformed`], when a text is longer than any that is stored, or holds what none does.
    pub fn select(&self) -> Result<SelectDeliveries, Malformed> {
        let mut select = SelectDeliveries::all();
        select.id = self.id.as_deref().map(delivery_id).transpose()?;
        select.inbox.clone_from(&self.inbox);
        select.state = self.state;
        select.event_type.clone_from(&self.event_type);
        select.stream.clone_from(&self.stream);
        if let Some(recipient) = &self.recipient {
            let max = annals_core::NewDelivery::NAME_BYTES_MAX;
            select.recipient = Some(text("recipient_bytes_max", max, recipient)?.to_owned());
        }
        Ok(select)
    }
}

/// The id of a delivery, as somebody has typed it.
///
/// # Errors
/// [`Malformed`], when none can be like that.
pub fn delivery_id(id: &str) -> Result<DeliveryId, Malformed> {
    let id = text("delivery_id_bytes_max", WhichDeliveries::ID_BYTES_MAX, id)?;
    Ok(DeliveryId::from_stored(id))
}

fn text<'a>(limit: &'static str, max: usize, text: &'a str) -> Result<&'a str, Malformed> {
    within(limit, max, text.len())?;
    match text.contains('\0') {
        true => Err(annals_core::Invalid::Nul("the name of a delivery").into()),
        false => Ok(text),
    }
}

/// A wish that deliveries be tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryRequest {
    /// Which.
    pub deliveries: WhichDeliveries,
    /// Whether all are meant, if nothing is restricted.
    #[serde(default)]
    pub all: bool,
}

/// A wish that deliveries be given up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkipRequest {
    /// Which.
    pub deliveries: WhichDeliveries,
    /// Whether all are meant, if nothing is restricted.
    #[serde(default)]
    pub all: bool,
    /// Why, for whoever asks later.
    pub reason: String,
}

/// The most bytes of a reason.
const REASON_BYTES_MAX: usize = 4_096;

impl RetryRequest {
    /// Reads the request from JSON.
    ///
    /// # Errors
    /// When it is not JSON, or has unknown or missing fields; the error names them.
    pub fn from_json(json: &[u8]) -> Result<Self, Malformed> {
        object(json)
    }

    /// The deliveries it stands for.
    ///
    /// # Errors
    /// [`Malformed`], as [`WhichDeliveries::select`], and when all would be meant although nobody
    /// says so.
    pub fn select(&self) -> Result<SelectDeliveries, Malformed> {
        meant(&self.deliveries, self.all)
    }
}

impl SkipRequest {
    /// Reads the request from JSON.
    ///
    /// # Errors
    /// As [`RetryRequest::from_json`].
    pub fn from_json(json: &[u8]) -> Result<Self, Malformed> {
        object(json)
    }

    /// The deliveries it stands for.
    ///
    /// # Errors
    /// As [`RetryRequest::select`], and when the reason is missing or too long.
    pub fn select(&self) -> Result<SelectDeliveries, Malformed> {
        text("reason_bytes_max", REASON_BYTES_MAX, &self.reason)?;
        if self.reason.trim().is_empty() {
            return Err(Malformed::NoReason);
        }
        meant(&self.deliveries, self.all)
    }
}

fn meant(which: &WhichDeliveries, all: bool) -> Result<SelectDeliveries, Malformed> {
    match which.is_all() && !all {
        true => Err(Malformed::AllDeliveries),
        false => which.select(),
    }
}

/// Reads an object, which may be left out as a whole if nothing in it must be there.
pub(crate) fn object<T: DeserializeOwned>(json: &[u8]) -> Result<T, Malformed> {
    let json = if json.trim_ascii().is_empty() { b"{}" } else { json };
    serde_json::from_slice(json).map_err(Malformed::body)
}
