//! Recording without aggregates: an event beside the application's own tables.

mod change;
mod machine;
mod throttle;

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use annals_core::error::{AppendError, Conflict, ReadError};
use annals_core::{
    Append, ExpectedVersion, InvalidName, NewEvent, Receipt, RecordedEvent, StreamId, Tag,
    Timestamp,
};

use crate::error::EncodeError;
use crate::retention::NotAppended;
use crate::{Annals, Context, Event, NotOpen};

pub use change::{Change, Changed};
pub use machine::{IllegalTransition, StateMachine, Transit, TransitError, Transition};
use throttle::Throttle;

/// What can be recorded: an [`Event`] of the domain, what [`Changed`], a [`Transition`], or a
/// [`NewEvent`] made by hand.
pub trait Recordable {
    /// The event as it is appended.
    ///
    /// # Errors
    /// When it cannot be stored.
    fn into_event(self) -> Result<NewEvent, RecordError>;
}

impl<E: Event> Recordable for E {
    fn into_event(self) -> Result<NewEvent, RecordError> {
        Ok(self.encode()?)
    }
}

impl Recordable for NewEvent {
    fn into_event(self) -> Result<NewEvent, RecordError> {
        Ok(self)
    }
}

/// Why something was not recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The append failed for another reason than a conflict. Its own group says what to do.
    #[error(transparent)]
    Append(AppendError),
    /// The stream is not what was [expected](Record::expecting), or others kept changing it.
    #[error("not recorded, because the stream has changed; look at it, and record again")]
    Conflict(#[source] Box<Conflict>),
    /// The event cannot be stored. Fix its type.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// It does not serialise as JSON. Change the field that the source names.
    #[error("what is to be recorded cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The stream, a tag or a type is no valid name. Use another.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The store could not read. Its own group says what to do.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The stream takes no more events.
    #[error(transparent)]
    Standing(#[from] NotOpen),
}

impl RecordError {
    /// The error's group in one word.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Append(error) => error.code(),
            Self::Conflict(_) => "conflict",
            Self::Encode(_) | Self::Json(_) | Self::Name(_) => "invalid",
            Self::Read(error) => error.code(),
            Self::Standing(_) => "refused",
        }
    }
}

impl From<NotAppended> for RecordError {
    fn from(not: NotAppended) -> Self {
        match not {
            NotAppended::Append(AppendError::Conflict(conflict)) => Self::Conflict(conflict),
            NotAppended::Append(error) => Self::Append(error),
            NotAppended::Read(error) => Self::Read(error),
            NotAppended::Standing(not_open) => Self::Standing(not_open),
        }
    }
}

/// What came of recording something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Recording {
    /// It was recorded.
    Recorded(Receipt),
    /// It was not, because this equal event is young enough; see [`Record::throttle`].
    Throttled(Box<RecordedEvent>),
}

impl Recording {
    /// The receipt, if it was recorded.
    #[must_use]
    pub fn receipt(&self) -> Option<&Receipt> {
        match self {
            Self::Recorded(receipt) => Some(receipt),
            Self::Throttled(_) => None,
        }
    }
}

/// An event that does not know its stream yet. Made by [`Annals::record`].
#[must_use = "nothing is recorded until it has a stream and is awaited"]
#[derive(Debug)]
pub struct Unplaced<'a> {
    annals: &'a Annals,
    event: Result<NewEvent, RecordError>,
}

/// An event that is about to be recorded; await it. Made by [`Annals::record`].
#[must_use = "nothing is recorded until it is awaited"]
#[derive(Debug)]
pub struct Record<'a> {
    annals: &'a Annals,
    event: Result<NewEvent, RecordError>,
    stream: Result<StreamId, InvalidName>,
    expected: ExpectedVersion,
    context: Context,
    throttle: Option<Throttle>,
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
    pub fn record(&self, event: impl Recordable) -> Unplaced<'_> {
        Unplaced { annals: self, event: event.into_event() }
    }
}

impl<'a> Unplaced<'a> {
    /// In this stream, named `category-id`.
    pub fn on(self, stream: impl fmt::Display) -> Record<'a> {
        Record {
            annals: self.annals,
            event: self.event,
            stream: StreamId::new(stream.to_string()),
            expected: ExpectedVersion::Any,
            context: Context::new(),
            throttle: None,
        }
    }
}

impl<'a> Record<'a> {
    /// Done by this one.
    pub fn by(mut self, actor: impl fmt::Display) -> Self {
        self.context = self.context.actor(actor);
        self
    }

    /// Done for this reason.
    pub fn because(mut self, reason: impl fmt::Display) -> Self {
        self.context = self.context.reason(reason);
        self
    }

    /// In this context, within the one that is [around](Context::scope).
    pub fn context(mut self, context: Context) -> Self {
        self.context = self.context.within(&context);
        self
    }

    /// Also found by this tag, `key:value`.
    pub fn tagged(mut self, tag: impl fmt::Display) -> Self {
        self.event = self.event.and_then(|event| Ok(event.tagged(Tag::new(tag.to_string())?)));
        self
    }

    /// Having happened at this moment.
    pub fn at(mut self, moment: Timestamp) -> Self {
        self.event = self.event.map(|event| event.occurred_at(moment));
        self
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
        self.event = self.event.and_then(|event| Ok(event.tagged(key.clone()?)));
        self.throttle = key.ok().map(|key| Throttle { within, key });
        self
    }

    /// The append, for a transaction of the application's own: `store.append_in(&tx, &append)`.
    ///
    /// Whether the stream is open and whether the event is throttled is for the transaction to
    /// see.
    ///
    /// # Errors
    /// When the event cannot be stored.
    pub fn append(self) -> Result<Append, RecordError> {
        let context = self.context.within(&Context::current());
        let mut event = self.event?;
        self.annals.stamp_event(&mut event, &context);
        Ok(Append::to(self.stream?, self.expected, [event]))
    }
}

impl<'a> IntoFuture for Record<'a> {
    type Output = Result<Recording, RecordError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(mut self) -> Self::IntoFuture {
        let (annals, throttle) = (self.annals, self.throttle.take());
        Box::pin(async move {
            let append = self.append()?;
            match throttle {
                Some(throttle) => throttle.record(annals, append).await,
                None => {
                    let receipt = annals.append_to_open(&append, &annals.retry).await?;
                    Ok(Recording::Recorded(receipt))
                }
            }
        })
    }
}
