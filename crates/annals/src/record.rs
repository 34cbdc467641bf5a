//! Recording without aggregates: an event beside the application's own tables.

mod change;
mod machine;
mod throttle;

use std::convert::Infallible;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use annals_core::error::Conflict;
use annals_core::{
    Append, ExpectedVersion, InvalidName, NewEvent, Receipt, RecordedEvent, StreamId, Tag,
    Timestamp,
};

use crate::error::EncodeError;
use crate::event::encode;
use crate::execute::attempt::{Deciding, Outcome};
use crate::execute::how::{How, check_not_reserved, done_in, how_methods};
use crate::{Annals, Context, Event, ExecuteError};

pub use change::{Change, Changed};
pub use machine::{IllegalTransition, StateMachine, Transit, Transited, Transition};
use throttle::Throttle;

/// What can be recorded: an [`Event`] of the domain, what [`Changed`], a [`Transition`], or a
/// [`NewEvent`] made by hand.
pub trait Recordable {
    /// Whether it comes with an id of its own, as an event made by hand does: recorded again, it
    /// is the same event and written once (S7).
    const HAS_ID: bool = false;

    /// The event as it is appended; `None` when there is nothing to record.
    ///
    /// # Errors
    /// When it cannot be stored.
    fn into_event(self) -> Result<Option<NewEvent>, EncodeError>;
}

impl<E: Event> Recordable for E {
    fn into_event(self) -> Result<Option<NewEvent>, EncodeError> {
        // It has no stream yet; only an error would name it.
        let (event, _) = encode(&self, &StreamId::from_static("unplaced"))?;
        Ok(Some(event))
    }
}

impl Recordable for NewEvent {
    const HAS_ID: bool = true;

    fn into_event(self) -> Result<Option<NewEvent>, EncodeError> {
        Ok(Some(self))
    }
}

/// Why something was not recorded; it is never refused.
pub type RecordError = ExecuteError<Infallible>;

/// What came of recording something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recording {
    /// It was recorded, now or before under the same id.
    Recorded(Receipt),
    /// It was not, because this equal event is young enough; see [`Record::throttle`].
    Throttled(Box<RecordedEvent>),
    /// It was not, because nothing [has changed](Changed).
    Unchanged,
}

impl Recording {
    /// The receipt, if it was recorded.
    #[must_use]
    pub fn receipt(&self) -> Option<&Receipt> {
        match self {
            Self::Recorded(receipt) => Some(receipt),
            Self::Throttled(_) | Self::Unchanged => None,
        }
    }
}

/// An event that does not know its stream yet. Made by [`Annals::record`].
#[must_use = "nothing is recorded until it has a stream and is awaited"]
pub struct Unplaced<'a> {
    annals: &'a Annals,
    event: Result<Option<NewEvent>, RecordError>,
    has_id: bool,
}

/// An event that is about to be recorded; await it. Made by [`Annals::record`].
#[must_use = "nothing is recorded until it is awaited"]
pub struct Record<'a> {
    annals: &'a Annals,
    event: Result<Option<NewEvent>, RecordError>,
    has_id: bool,
    stream: Result<StreamId, InvalidName>,
    expected: ExpectedVersion,
    throttle: Option<Throttle>,
    how: How,
}

impl Annals {
    /// Records an event, without any aggregate: an application that keeps its state in tables of
    /// its own says what happened to it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use annals::{Annals, Event, MemoryStore, Recording};
    ///
    /// #[derive(Event)]
    /// enum IssueEvent {
    ///     IssueAssigned { to: String },
    ///     IssueViewed,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tracker = Annals::new(MemoryStore::new());
    /// let assigned = IssueEvent::IssueAssigned { to: "bob".into() };
    /// tracker.record(assigned).on("issue-7").by("ada").because("she is on leave").await?;
    ///
    /// // At most once in five minutes for each viewer:
    /// let view = || tracker.record(IssueEvent::IssueViewed).on("issue-7").by("ada")
    ///     .throttle(Duration::from_secs(300), "viewer:ada");
    /// assert!(matches!(view().await?, Recording::Recorded(_)));
    /// assert!(matches!(view().await?, Recording::Throttled(_)));
    /// # Ok(()) }
    /// ```
    pub fn record<R: Recordable>(&self, event: R) -> Unplaced<'_> {
        let event = event.into_event().map_err(RecordError::from);
        Unplaced { annals: self, event, has_id: R::HAS_ID }
    }
}

impl<'a> Unplaced<'a> {
    /// In this stream, named `category-id`.
    pub fn on(self, stream: impl fmt::Display) -> Record<'a> {
        Record {
            annals: self.annals,
            event: self.event,
            has_id: self.has_id,
            stream: StreamId::new(stream.to_string()),
            expected: ExpectedVersion::Any,
            throttle: None,
            how: How::default(),
        }
    }
}

impl Record<'_> {
    how_methods!();

    /// Also found by this tag, `key:value`.
    pub fn tagged(self, tag: impl fmt::Display) -> Self {
        let tag = Tag::new(tag.to_string());
        self.with(|event| Ok(event.tagged(tag?)))
    }

    /// Having happened at this moment.
    pub fn at(self, moment: Timestamp) -> Self {
        self.with(|event| Ok(event.occurred_at(moment)))
    }

    /// Only if the stream is as expected.
    pub fn expecting(mut self, expected: ExpectedVersion) -> Self {
        self.expected = expected;
        self
    }

    /// Only if no equal event was recorded in the stream within this time: one of the same type
    /// with the same key, which is a tag, `key:value`, that this event gets as well.
    ///
    /// However many try at once, one succeeds. Whether an event is young enough is seen by
    /// [this process's clock](Annals::with_clock) and the store's.
    pub fn throttle(mut self, within: Duration, key: impl fmt::Display) -> Self {
        let key = Tag::new(key.to_string());
        self.throttle = key.clone().ok().map(|key| Throttle { within, key });
        self.with(|event| Ok(event.tagged(key?)))
    }

    fn with(mut self, change: impl FnOnce(NewEvent) -> Result<NewEvent, InvalidName>) -> Self {
        self.event = match self.event {
            Ok(Some(event)) => change(event).map(Some).map_err(RecordError::from),
            other => other,
        };
        self
    }

    /// The append, for a transaction of the application's own: `store.append_in(&tx, &append)`;
    /// without streams when there is nothing to record.
    ///
    /// What was recorded before under the same [id](Self::id) is a conflict there. Whether the
    /// stream is open and whether the event is throttled is for the transaction to see.
    ///
    /// # Errors
    /// When the event cannot be stored.
    pub fn append(mut self) -> Result<Append, RecordError> {
        let (annals, how, has_id) = (self.annals, std::mem::take(&mut self.how), self.has_id);
        let mut append = self.into_append()?;
        append.events().try_for_each(check_not_reserved)?;
        let context = how.context.clone().unwrap_or_default().within(&Context::current());
        let command = how.mark(|| what(&append))?;
        annals.stamp_in(&mut append, command.as_ref(), context);
        if !has_id {
            annals.identify(&mut append);
        }
        Ok(append)
    }

    fn into_append(self) -> Result<Append, RecordError> {
        let (event, stream) = (self.event?, self.stream?);
        let append = |event| Append::to(stream, self.expected, [event]);
        Ok(event.map_or_else(Append::default, append))
    }

    async fn run(mut self) -> Result<Recording, RecordError> {
        let (annals, how) = (self.annals, std::mem::take(&mut self.how));
        let (throttle, has_id) = (self.throttle.take(), self.has_id);
        let append = self.into_append()?;
        let mut deciding = Once { annals, append, throttle, has_id, throttled: None };
        let outcome = annals.attempt(&how, &mut deciding).await?;
        Ok(match (outcome, deciding.throttled) {
            (Outcome::Appended(receipt, _) | Outcome::Repeated(receipt, _), _) => {
                Recording::Recorded(receipt)
            }
            (Outcome::Nothing, Some(last)) => Recording::Throttled(Box::new(last)),
            (Outcome::Nothing, None) => Recording::Unchanged,
        })
    }
}

/// One event, about to be recorded.
struct Once<'a> {
    annals: &'a Annals,
    append: Append,
    throttle: Option<Throttle>,
    has_id: bool,
    throttled: Option<RecordedEvent>,
}

/// What is recorded, in one line.
fn what(append: &Append) -> String {
    let streams = append.streams.iter();
    let parts = streams.flat_map(|part| part.events.iter().map(move |event| (part, event)));
    parts.map(|(part, event)| format!("{} {}", event.event_type, part.stream)).collect()
}

impl Deciding for Once<'_> {
    type Refusal = Infallible;

    fn keeps_ids(&self) -> bool {
        self.has_id
    }

    fn what(&self) -> String {
        what(&self.append)
    }

    async fn decide(&mut self) -> Result<Append, RecordError> {
        let append = self.append.clone();
        let Some(throttle) = self.throttle.as_ref().filter(|_| !append.streams.is_empty()) else {
            return Ok(append);
        };
        match throttle.look(self.annals, &append).await? {
            Ok(none_since) => Ok(append.only_if(none_since)),
            Err(young) => {
                self.throttled = Some(young);
                Ok(Append::default())
            }
        }
    }

    /// The event stays what it is; only what it was to find is looked at again.
    fn may_decide_again(&self, conflict: &Conflict) -> bool {
        matches!(conflict, Conflict::Condition { .. })
    }
}

impl<'a> IntoFuture for Record<'a> {
    type Output = Result<Recording, RecordError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(mut self) -> Self::IntoFuture {
        let context = self.how.context.take();
        done_in(context, self.run())
    }
}

impl fmt::Debug for Unplaced<'_> {
    /// Without the event, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unplaced").finish_non_exhaustive()
    }
}

impl fmt::Debug for Record<'_> {
    /// Without the event, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("stream", &self.stream).finish_non_exhaustive()
    }
}
