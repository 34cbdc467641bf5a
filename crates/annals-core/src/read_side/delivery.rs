//! Deliveries: events on their way to inboxes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Advance, CheckpointStore};
use crate::error::{Invalid, ReadSideError};
use crate::limits::{within, without_nul};
use crate::{EventId, EventType, Position, StreamId, SubscriberName, Timestamp, Version};

/// What a delivery is called, the same whenever it is tried, and if the event is delivered again
/// after a crash: `inbox/event`, and behind it `/recipient` where an inbox has several.
///
/// Whoever receives it keeps it to recognise what came before.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(Arc<str>);

impl DeliveryId {
    /// The delivery of an event to an inbox, or to one recipient behind it.
    #[must_use]
    pub fn new(inbox: &SubscriberName, event: EventId, recipient: Option<&str>) -> Self {
        match recipient {
            None => Self(format!("{inbox}/{event}").into()),
            Some(recipient) => Self(format!("{inbox}/{event}/{recipient}").into()),
        }
    }

    /// An id read back from where it was kept.
    #[must_use]
    pub fn from_stored(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Which event, and where to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers make it")]
pub struct EventRef {
    /// Its id.
    pub id: EventId,
    /// Its place in the log.
    pub position: Position,
    /// Its stream.
    pub stream: StreamId,
    /// Its place there.
    pub version: Version,
    /// Its type, as stored.
    pub event_type: EventType,
}

/// A delivery that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers make it")]
pub struct NewDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// To which inbox.
    pub inbox: SubscriberName,
    /// Of which event.
    pub event: EventRef,
    /// To whom behind the inbox, where it has several. At most 512 bytes, without NUL.
    pub recipient: Option<String>,
    /// Deliveries of one inbox with the same lane are made one after the other, by position and
    /// then by id; without one, in any order. At most 512 bytes, without NUL.
    pub lane: Option<String>,
    /// Not before this moment.
    pub due_at: Timestamp,
}

impl NewDelivery {
    /// The most bytes that a recipient or a lane may have.
    pub const NAME_BYTES_MAX: usize = 512;

    /// Checks its recipient and its lane; every queue does so first.
    ///
    /// # Errors
    /// [`Invalid::LimitExceeded`], naming the limit, or [`Invalid::Nul`].
    pub fn check(&self) -> Result<(), Invalid> {
        let recipient = self.recipient.as_deref().unwrap_or_default();
        within("recipient_bytes_max", Self::NAME_BYTES_MAX, recipient.len())?;
        without_nul("a delivery's recipient", recipient)?;
        let lane = self.lane.as_deref().unwrap_or_default();
        within("lane_bytes_max", Self::NAME_BYTES_MAX, lane.len())?;
        without_nul("a delivery's lane", lane)
    }
}

/// New deliveries, and the checkpoints of the inboxes they are for.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers make it")]
pub struct Enqueue {
    /// What is to be delivered.
    pub deliveries: Vec<NewDelivery>,
    /// The checkpoints that move with it, all or none.
    pub advances: Vec<Advance>,
}

/// A wish for deliveries that are due.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers make it")]
pub struct Take {
    /// Of which inbox.
    pub inbox: SubscriberName,
    /// At most so many.
    pub limit: usize,
    /// The present moment.
    pub now: Timestamp,
    /// Until when they are hidden from others; somebody who has not settled them by then is
    /// taken for dead.
    pub until: Timestamp,
}

/// A delivery that somebody makes now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores make it")]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// To which inbox.
    pub inbox: SubscriberName,
    /// Of which event.
    pub event: EventRef,
    /// To whom behind the inbox, where it has several.
    pub recipient: Option<String>,
    /// Its lane.
    pub lane: Option<String>,
    /// The number of this attempt, from 1. Attempts that were never settled, because somebody
    /// died, count as well.
    pub attempt: u32,
    /// When it was enqueued.
    pub enqueued_at: Timestamp,
    /// Shows that the delivery is still this attempt's: each attempt of a delivery has a higher
    /// one than those before it, also after it was retried.
    pub token: u64,
}

/// What came of an attempt.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers make it")]
pub struct Settled {
    /// Of which delivery.
    pub id: DeliveryId,
    /// The attempt's token: if another attempt has begun meanwhile, this one says nothing more
    /// about what happens next.
    pub token: u64,
    /// What is remembered of it; `None` for a delivery that was not tried and is given back.
    pub attempt: Option<Attempt>,
    /// What happens next.
    pub then: Then,
}

/// What happens next with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "nothing else can happen")]
pub enum Then {
    /// It is made.
    Done,
    /// It is tried again at this moment.
    Again(Timestamp),
    /// It was not tried, and is due again at this moment; the attempt does not count.
    GiveBack(Timestamp),
    /// It is a dead letter.
    Dead,
}

/// One attempt, for people to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers make it")]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// What went wrong, with all its reasons, at most 8 KiB; `None` when nothing did.
    pub error: Option<String>,
    /// What the other side said, if the reactor noted it, at most 8 KiB.
    pub note: Option<String>,
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeliveryState {
    /// It waits: for its moment, for its lane, or for somebody who makes it.
    Waiting,
    /// Somebody makes it.
    Taken,
    /// It ran out of attempts.
    Dead,
    /// It is made. It is remembered until it is [forgotten](DeliveryQueue::forget), so as not to
    /// be made again.
    Done,
    /// Somebody decided that it is not made.
    Skipped,
}

/// A delivery, for people to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores make it")]
pub struct DeliveryInfo {
    /// Its id.
    pub id: DeliveryId,
    /// To which inbox.
    pub inbox: SubscriberName,
    /// Of which event.
    pub event: EventRef,
    /// To whom behind the inbox.
    pub recipient: Option<String>,
    /// Its lane.
    pub lane: Option<String>,
    /// How it stands.
    pub state: DeliveryState,
    /// How many attempts were made since it was enqueued, or last retried by hand.
    pub attempts: u32,
    /// When it is due, if it waits.
    pub due_at: Timestamp,
    /// When it was enqueued.
    pub enqueued_at: Timestamp,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// Why it was skipped, and by whom.
    pub skipped: Option<String>,
}

/// Which deliveries; what is not said restricts nothing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SelectDeliveries {
    /// Just this one.
    pub id: Option<DeliveryId>,
    /// Those of this inbox.
    pub inbox: Option<SubscriberName>,
    /// Those that stand like this.
    pub state: Option<DeliveryState>,
    /// Those of events of this type.
    pub event_type: Option<EventType>,
    /// Those of events in this stream.
    pub stream: Option<StreamId>,
    /// Those to this recipient.
    pub recipient: Option<String>,
    /// Those behind this one, in the order of a list: by position, then by id.
    pub after: Option<(Position, DeliveryId)>,
}

impl SelectDeliveries {
    /// Every delivery.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Just this one.
    #[must_use]
    pub fn one(id: DeliveryId) -> Self {
        Self { id: Some(id), ..Self::default() }
    }

    /// Those of one inbox.
    #[must_use]
    pub fn inbox(inbox: SubscriberName) -> Self {
        Self { inbox: Some(inbox), ..Self::default() }
    }

    /// Those of them that stand like this.
    #[must_use]
    pub fn state(mut self, state: DeliveryState) -> Self {
        self.state = Some(state);
        self
    }

    /// Those of them whose events have this type.
    #[must_use]
    pub fn event_type(mut self, event_type: EventType) -> Self {
        self.event_type = Some(event_type);
        self
    }

    /// Those of them whose events are in this stream.
    #[must_use]
    pub fn stream(mut self, stream: StreamId) -> Self {
        self.stream = Some(stream);
        self
    }

    /// Those of them that go to this recipient.
    #[must_use]
    pub fn recipient(mut self, recipient: impl Into<String>) -> Self {
        self.recipient = Some(recipient.into());
        self
    }

    /// Those of them that follow this one in a list.
    #[must_use]
    pub fn after(mut self, position: Position, id: DeliveryId) -> Self {
        self.after = Some((position, id));
        self
    }

    /// Whether a delivery is one of them.
    #[must_use]
    pub fn selects(&self, info: &DeliveryInfo) -> bool {
        fn fits<T: PartialEq>(asked: Option<&T>, found: &T) -> bool {
            asked.is_none_or(|asked| asked == found)
        }
        fits(self.id.as_ref(), &info.id)
            && fits(self.inbox.as_ref(), &info.inbox)
            && fits(self.state.as_ref(), &info.state)
            && fits(self.event_type.as_ref(), &info.event.event_type)
            && fits(self.stream.as_ref(), &info.event.stream)
            && self.recipient.as_ref().is_none_or(|one| info.recipient.as_ref() == Some(one))
            && self
                .after
                .as_ref()
                .is_none_or(|(position, id)| (info.event.position, &info.id) > (*position, id))
    }
}

/// An inbox in figures.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores make it")]
pub struct InboxInfo {
    /// Which one.
    pub inbox: SubscriberName,
    /// Deliveries that wait, and were not tried yet, or not since they were retried by hand.
    pub waiting: u64,
    /// Deliveries that wait to be tried again.
    pub retrying: u64,
    /// Deliveries that somebody makes.
    pub taken: u64,
    /// Dead letters.
    pub dead: u64,
    /// When the oldest delivery that waits or is taken was enqueued.
    pub oldest: Option<Timestamp>,
}

/// A database that keeps deliveries.
///
/// An inbox is a subscriber, with one generation and one part: its checkpoint says up to where
/// the log was looked at for it. What was found is in the queue, so that a failure holds up
/// nobody.
///
/// Of the deliveries of one inbox with one lane, only that with the lowest position, and then
/// the lowest id, that is neither done nor skipped can be taken: a dead letter holds up its lane until it is retried or
/// skipped, and nothing else.
#[async_trait]
pub trait DeliveryQueue: CheckpointStore {
    /// Adds deliveries and moves checkpoints, both or neither; a delivery that was added before,
    /// however it stands now, is passed over. Says how many were new.
    ///
    /// # Errors
    /// [`ReadSideError::Fenced`] as in [`advance`](CheckpointStore::advance) for one of the
    /// checkpoints, [`ReadSideError::Invalid`] for what [`NewDelivery::check`] refuses: then
    /// nothing happened.
    async fn enqueue(&self, enqueue: Enqueue, now: Timestamp) -> Result<u64, ReadSideError>;

    /// Takes deliveries that are due, the lowest positions first, and begins an attempt of each.
    /// Nobody else gets them before [`Take::until`], and then only with another token.
    ///
    /// Those of an inbox that is paused are not taken; those of a disabled one, or of one that
    /// never enrolled, are.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn take(&self, take: Take) -> Result<Vec<Delivery>, ReadSideError>;

    /// Says what came of attempts. Where another attempt has begun meanwhile, or the delivery is
    /// not taken any more, that is left as it is, and this attempt only remembered, once. What is
    /// not known is passed over.
    ///
    /// NUL in the texts may be kept as another character.
    ///
    /// # Errors
    /// When the database does not answer: then nothing is settled.
    async fn settle(&self, settled: Vec<Settled>, now: Timestamp) -> Result<(), ReadSideError>;

    /// Keeps deliveries hidden from others for longer. Those that were lost are passed over.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn keep(
        &self,
        taken: &[(DeliveryId, u64)],
        until: Timestamp,
    ) -> Result<(), ReadSideError>;

    /// When the next delivery of an inbox is due, or may be taken from somebody who died; also in
    /// the past. `None` when none waits. Deliveries that wait for their lane are not looked at.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn next_due(&self, inbox: &SubscriberName) -> Result<Option<Timestamp>, ReadSideError>;

    /// Deliveries, by position and then by id, at most so many.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn deliveries(
        &self,
        which: &SelectDeliveries,
        limit: usize,
    ) -> Result<Vec<DeliveryInfo>, ReadSideError>;

    /// The attempts that are remembered of a delivery, in the order in which they began. One that
    /// succeeded is remembered only behind others: of a delivery that was made at once, none.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn attempts(&self, id: &DeliveryId) -> Result<Vec<Attempt>, ReadSideError>;

    /// Makes dead letters, and those that wait to be tried again, due at once, and counts their
    /// attempts anew: they wait then as if they had not been tried, but what is remembered of
    /// their attempts stays. Says how many.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn retry(&self, which: &SelectDeliveries, now: Timestamp) -> Result<u64, ReadSideError>;

    /// Decides that deliveries which wait, or are dead, are not made, and remembers why. Says how
    /// many.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn skip(
        &self,
        which: &SelectDeliveries,
        reason: &str,
        now: Timestamp,
    ) -> Result<u64, ReadSideError>;

    /// Inboxes in figures, by name: those that have deliveries which are neither made nor skipped.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn inboxes(&self) -> Result<Vec<InboxInfo>, ReadSideError>;

    /// Forgets deliveries of an inbox that were made or skipped before a moment, with their
    /// attempts, at most so many, and says how many. Those can be enqueued again afterwards: keep
    /// them for as long as an event may be enqueued a second time.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn forget(
        &self,
        inbox: &SubscriberName,
        before: Timestamp,
        limit: usize,
    ) -> Result<u64, ReadSideError>;
}
