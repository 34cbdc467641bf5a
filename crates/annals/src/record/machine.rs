//! State machines: a status that changes only along the ways that are allowed.

use std::error::Error;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;

use annals_core::error::AppendError;
use annals_core::{
    Append, AppendCondition, Data, EventType, ExpectedVersion, InvalidName, NewEvent, Position,
    Query, QueryItem, Read, Receipt, RecordedEvent, StreamId,
};
use futures_util::TryStreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{RecordError, Recordable};
use crate::error::{DecodeError, DecodeFault};
use crate::retention::NotAppended;
use crate::retry::Attempts;
use crate::{Annals, Context};

/// A status, and which may follow on which.
///
/// ```
/// use annals::{Annals, MemoryStore, StateMachine};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
/// #[serde(rename_all = "snake_case")]
/// enum Status { Open, InProgress, Resolved, Closed }
///
/// impl StateMachine for Status {
///     const INITIAL: Self = Self::Open;
///     const EVENT: &'static str = "StatusChanged";
///
///     fn next(self) -> &'static [Self] {
///         match self {
///             Self::Open => &[Self::InProgress],
///             Self::InProgress => &[Self::Resolved, Self::Open],
///             Self::Resolved => &[Self::Closed, Self::Open],
///             Self::Closed => &[Self::Open],
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tracker = Annals::new(MemoryStore::new());
/// // The status is in the log:
/// tracker.transit("issue-7", Status::InProgress).by("ada").await?;
/// let refused = tracker.transit("issue-7", Status::Closed).by("ada").await.unwrap_err();
/// assert_eq!(refused.to_string(), "InProgress cannot become Closed; it can become Resolved, Open");
///
/// // Or it is a column of a row, and what happened to it is recorded beside:
/// let transition = Status::Open.to(Status::InProgress)?;
/// tracker.record(transition).on("issue-8").by("ada").await?;
/// # Ok(()) }
/// ```
pub trait StateMachine:
    Copy + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The status before the first transition.
    const INITIAL: Self;
    /// The type under which transitions are recorded, such as `StatusChanged`.
    const EVENT: &'static str;

    /// What this status may become.
    fn next(self) -> &'static [Self];

    /// The transition from this status to another.
    ///
    /// # Errors
    /// [`IllegalTransition`], which says what it may become.
    fn to(self, to: Self) -> Result<Transition<Self>, IllegalTransition<Self>> {
        if self.next().contains(&to) {
            Ok(Transition { from: self, to })
        } else {
            Err(IllegalTransition { from: self, to })
        }
    }
}

/// A change of status that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Transition<S> {
    /// What it was.
    pub from: S,
    /// What it is now.
    pub to: S,
}

impl<S: StateMachine> Recordable for Transition<S> {
    fn into_event(self) -> Result<NewEvent, RecordError> {
        Ok(NewEvent::new(EventType::new(S::EVENT)?, Data::of(&self)?))
    }
}

/// A change of status that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IllegalTransition<S> {
    /// What it is.
    pub from: S,
    /// What it should become.
    pub to: S,
}

impl<S: StateMachine> fmt::Display for IllegalTransition<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} cannot become {:?}; ", self.from, self.to)?;
        let next: Vec<_> = self.from.next().iter().map(|next| format!("{next:?}")).collect();
        match &next[..] {
            [] => f.write_str("it stays what it is"),
            next => write!(f, "it can become {}", next.join(", ")),
        }
    }
}

impl<S: StateMachine> Error for IllegalTransition<S> {}

/// Why a transition was not recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransitError<S: StateMachine> {
    /// The status permits no such transition.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition<S>),
    /// The last transition in the stream cannot be read.
    #[error(transparent)]
    Decode(Box<DecodeError>),
    /// It could not be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// A transition that is about to be made; await it. Made by [`Annals::transit`].
#[must_use = "nothing is recorded until it is awaited"]
#[derive(Debug)]
pub struct Transit<'a, S> {
    annals: &'a Annals,
    stream: Result<StreamId, InvalidName>,
    to: S,
    context: Context,
}

impl Annals {
    /// Changes the status of what a stream is about, as its [`StateMachine`] allows: the status
    /// is what the last transition in the stream says.
    ///
    /// Of two who try at once one is first, and the other one is asked again with the new
    /// status.
    pub fn transit<S: StateMachine>(&self, stream: impl fmt::Display, to: S) -> Transit<'_, S> {
        let stream = StreamId::new(stream.to_string());
        Transit { annals: self, stream, to, context: Context::new() }
    }
}

impl<S: StateMachine> Transit<'_, S> {
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

    async fn run(self) -> Result<(Transition<S>, Receipt), TransitError<S>> {
        let Self { annals, stream, to, context } = self;
        let stream = stream.map_err(RecordError::from)?;
        let event_type = EventType::new(S::EVENT).map_err(RecordError::from)?;
        let transitions = QueryItem::new().event_type(event_type).stream(stream.clone());
        let transitions = Query::of(transitions);
        let context = context.within(&Context::current());
        let mut attempts = Attempts::first(&annals.retry);
        loop {
            let (status, after) = last::<S>(annals, &transitions).await?;
            let transition = status.to(to)?;
            let mut event = transition.into_event()?;
            annals.stamp_event(&mut event, &context);
            let append = Append::to(stream.clone(), ExpectedVersion::Any, [event])
                .only_if(AppendCondition::none_match_after(transitions.clone(), after));
            match annals.append_to_open(&append, &annals.retry).await {
                Ok(receipt) => return Ok((transition, receipt)),
                Err(NotAppended::Append(AppendError::Conflict(_))) if attempts.next().await => {}
                Err(error) => return Err(RecordError::from(error).into()),
            }
        }
    }
}

/// The status that the last transition led to, and where that stands.
async fn last<S: StateMachine>(
    annals: &Annals,
    transitions: &Query,
) -> Result<(S, Position), TransitError<S>> {
    let mut last = annals.store().read(Read::query(transitions.clone()).backward().limit(1));
    let last: Option<RecordedEvent> = last.try_next().await.map_err(RecordError::from)?;
    let Some(last) = last else { return Ok((S::INITIAL, Position::START)) };
    let transition: Transition<S> = serde_json::from_slice(&last.data.bytes).map_err(|error| {
        TransitError::Decode(Box::new(DecodeError::of(&last, DecodeFault::Data(error))))
    })?;
    Ok((transition.to, last.position))
}

impl<'a, S: StateMachine> IntoFuture for Transit<'a, S> {
    type Output = Result<(Transition<S>, Receipt), TransitError<S>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
