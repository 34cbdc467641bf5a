//! State machines: a status that changes only along the ways that are allowed.

use std::error::Error;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;

use annals_core::{
    Append, AppendCondition, EventType, ExpectedVersion, InvalidName, NewEvent, Position, Query,
    QueryItem, Read, Receipt, RecordedEvent, StreamId,
};
use futures_util::TryStreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Recordable;
use super::change::event_of;
use crate::error::{DecodeError, DecodeFault, EncodeError, LoadError};
use crate::execute::attempt::{Deciding, Outcome};
use crate::execute::how::{How, done_in, how_methods};
use crate::{Annals, ExecuteError};

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
    fn into_event(self) -> Result<Option<NewEvent>, EncodeError> {
        event_of(S::EVENT, &self).map(Some)
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

/// A transition that is about to be made; await it. Made by [`Annals::transit`].
#[must_use = "nothing is recorded until it is awaited"]
#[derive(Debug)]
pub struct Transit<'a, S> {
    annals: &'a Annals,
    stream: Result<StreamId, InvalidName>,
    to: S,
    how: How,
}

/// What came of a transition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transited<S> {
    /// What it was and what it is.
    pub transition: Transition<S>,
    /// Where that is recorded.
    pub receipt: Receipt,
}

impl Annals {
    /// Changes the status of what a stream is about, as its [`StateMachine`] allows: the status
    /// is what the last transition in the stream says.
    ///
    /// Of two who try at once one is first, and the other one is asked again with the new
    /// status.
    pub fn transit<S: StateMachine>(&self, stream: impl fmt::Display, to: S) -> Transit<'_, S> {
        let stream = StreamId::new(stream.to_string());
        Transit { annals: self, stream, to, how: How::default() }
    }
}

impl<S: StateMachine> Transit<'_, S> {
    how_methods!();

    async fn run(self) -> Result<Transited<S>, ExecuteError<IllegalTransition<S>>> {
        let Self { annals, stream, to, how } = self;
        let (stream, event_type) = (stream?, EventType::new(S::EVENT)?);
        let transitions = QueryItem::new().event_type(event_type).stream(stream.clone());
        let transitions = Query::of(transitions);
        let mut deciding = OnStatus { annals, stream, to, transitions, transition: None };
        Ok(match annals.attempt(&how, &mut deciding).await? {
            Outcome::Repeated(receipt, left) => {
                let transition = left.last().map(said_by).transpose()?;
                let transition = transition.expect("what was repeated has left an event");
                Transited { transition, receipt }
            }
            Outcome::Appended(receipt, _) => {
                let transition = deciding.transition.expect("what was appended was decided");
                Transited { transition, receipt }
            }
            Outcome::Nothing => unreachable!("every transition that is allowed is recorded"),
        })
    }
}

/// A transition being decided.
struct OnStatus<'a, S> {
    annals: &'a Annals,
    stream: StreamId,
    to: S,
    /// Those of the stream.
    transitions: Query,
    /// What was decided last.
    transition: Option<Transition<S>>,
}

impl<S: StateMachine> Deciding for OnStatus<'_, S> {
    type Refusal = IllegalTransition<S>;

    fn what(&self) -> String {
        format!("{} {:?} {}", S::EVENT, self.to, self.stream)
    }

    async fn decide(&mut self) -> Result<Append, ExecuteError<IllegalTransition<S>>> {
        let read = Read::query(self.transitions.clone()).backward().limit(1);
        let last = self.annals.store().read(read).try_next().await.map_err(LoadError::from)?;
        let (status, after) = match &last {
            Some(last) => (said_by::<S>(last)?.to, last.position),
            None => (S::INITIAL, Position::START),
        };
        let transition = status.to(self.to).map_err(ExecuteError::Refused)?;
        self.transition = Some(transition);
        let event = transition.into_event()?;
        let unchanged = AppendCondition::none_match_after(self.transitions.clone(), after);
        let append = Append::to(self.stream.clone(), ExpectedVersion::Any, event);
        Ok(append.only_if(unchanged))
    }
}

fn said_by<S: StateMachine>(stored: &RecordedEvent) -> Result<Transition<S>, LoadError> {
    let said = serde_json::from_slice(&stored.data.bytes);
    Ok(said.map_err(|error| DecodeError::of(stored, DecodeFault::Data(error)))?)
}

impl<'a, S: StateMachine> IntoFuture for Transit<'a, S> {
    type Output = Result<Transited<S>, ExecuteError<IllegalTransition<S>>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(mut self) -> Self::IntoFuture {
        let context = self.how.context.take();
        done_in(context, self.run())
    }
}
