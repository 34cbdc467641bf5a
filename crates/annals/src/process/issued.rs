//! Commands that were stored: executed once, and what came of them kept once.

use std::any::TypeId;
use std::convert::Infallible;

use annals_core::error::Conflict;
use annals_core::{
    Append, AppendCondition, EventId, ExpectedVersion, InvalidName, Metadata, Position, Read,
    RecordedEvent, StreamId,
};
use futures_util::TryStreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::book::Entry;
use super::commands::{Answer, Commands, Failed, failed};
use crate::aggregate::stream_of;
use crate::error::{EncodeError, LoadError};
use crate::execute::attempt::{Deciding, Outcome};
use crate::execute::how::{CommandMark, How};
use crate::{Aggregate, Annals, Command, Context, ExecuteError, ReactError};

/// A command as it was issued, and stored.
#[derive(Clone, Debug)]
pub struct Issued {
    name: String,
    stream: StreamId,
    command: Value,
    types: Option<TypeId>,
}

/// Why a command or an event of a process cannot be stored, or a stored command not be executed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// What is stored is not the command that is registered under its name.
    #[error("the stored command is not the one of that name; compare their fields")]
    Data(#[source] serde_json::Error),
    /// An event of the process cannot be stored.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The command cannot be written as JSON.
    #[error("the command {command} cannot be written as JSON; change what its source names")]
    Json {
        /// Its type.
        command: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The id of an aggregate makes no stream.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// No command is registered under the stored name.
    #[error("no command is registered as {name}; add it to the `Commands`, then retry")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The command is not registered.
    #[error("the command {command} is not registered; add it to the `Commands` with a name")]
    Unregistered {
        /// Its type.
        command: &'static str,
    },
}

impl Issued {
    pub(super) fn new(name: String, stream: StreamId, command: Value) -> Self {
        Self { name, stream, command, types: None }
    }

    /// A command that is about to be stored.
    pub(crate) fn about<A, C>(
        commands: &Commands,
        id: impl Into<A::Id>,
        command: C,
    ) -> Result<Self, IssueError>
    where
        A: Aggregate,
        C: Command<A> + Serialize + 'static,
    {
        let known = commands.of::<A, C>()?;
        let stream = stream_of::<A>(id)?;
        let command = serde_json::to_value(command)
            .map_err(|source| IssueError::Json { command: known.name, source })?;
        Ok(Self { name: known.name.to_owned(), stream, command, types: Some(known.types) })
    }

    /// The same, knowing which type of command it is.
    pub(super) fn known_to(&self, commands: &Commands) -> Self {
        let types = commands.named(&self.name).ok().map(|known| known.types);
        Self { types, ..self.clone() }
    }

    /// The name it is registered under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The stream of the aggregate it is for.
    #[must_use]
    pub fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// The command itself, if it is this one to this aggregate.
    #[must_use]
    pub fn of<A: Aggregate, C: Command<A> + DeserializeOwned + 'static>(&self) -> Option<C> {
        let is_it = self.types == Some(TypeId::of::<(A, C)>());
        is_it.then(|| serde_json::from_value(self.command.clone()).ok()).flatten()
    }

    /// The command as it is stored.
    #[must_use]
    pub fn as_json(&self) -> &Value {
        &self.command
    }
}

impl Annals {
    /// Executes a command that this event has issued, unless that was settled before, and keeps
    /// what came of it in the event's stream.
    pub(super) async fn execute_issued(
        &self,
        commands: &Commands,
        by: &RecordedEvent,
        name: &str,
        stream: StreamId,
        command: Value,
    ) -> Result<(), ReactError> {
        let known = commands.named(name).map_err(ReactError::permanent)?;
        let actor = by.metadata.get(Metadata::ACTOR);
        let context = actor
            .into_iter()
            .fold(Context::new(), |context, actor| context.with(Metadata::ACTOR, actor));
        let execute = (known.execute)(self, stream, command, command_id(by.id));
        let issued = by.id;
        let (entry, left_events) = match context.scope(execute).await {
            Ok(Answer::Accepted { position, left_events }) => {
                (Entry::CommandAccepted { issued, position }, left_events)
            }
            Ok(Answer::Refused { code, message }) => {
                (Entry::CommandRefused { issued, code: code.to_owned(), message }, false)
            }
            Err(Failed::IdTaken) => match self.outcome_before(issued).await? {
                Some(accepted) => (accepted, true),
                None => return Ok(()),
            },
            Err(Failed::Otherwise(error)) => return Err(error),
        };
        self.settle(&by.stream, issued, entry, left_events).await.map(drop).map_err(failed)
    }

    /// Keeps what came of a command, and says what did: if something else was kept before, that.
    ///
    /// A command that was accepted has left events with its id, and is known by them. Where it
    /// has left none, because it was refused, cancelled, or had nothing to do, the outcome gets
    /// its id: so that from then on whoever still tries to execute it finds the id taken, and
    /// whoever has executed it meanwhile stands against this outcome.
    pub(super) async fn settle(
        &self,
        stream: &StreamId,
        issued: EventId,
        entry: Entry,
        left_events: bool,
    ) -> Result<Entry, ExecuteError<Infallible>> {
        let fence = if left_events { None } else { Some(mark(issued)?) };
        let mut settling = Settling { stream, issued, entry, fence };
        let how = How { id: Some(format!("annals.outcome/{issued}")), ..How::default() };
        match self.attempt(&how, &mut settling).await? {
            Outcome::Nothing | Outcome::Appended(..) => Ok(settling.entry),
            Outcome::Repeated(_, left) => {
                let kept = left.first().map(Entry::of).transpose().map_err(LoadError::from)?;
                Ok(kept.flatten().unwrap_or(settling.entry))
            }
        }
    }

    /// What came of a command whose id is taken: `None` when that is kept already. Nobody else can
    /// have its id; so what was left under it are events of the command, executed when its type
    /// still had another name in the program.
    async fn outcome_before(&self, issued: EventId) -> Result<Option<Entry>, ReactError> {
        let left: Vec<_> =
            self.store().read(Read::query(mark(issued)?.left())).try_collect().await?;
        let kept = left.first().map(Entry::of).transpose().map_err(ReactError::permanent)?;
        let position = left.last().map_or(Position::START, |last| last.position);
        Ok(kept.flatten().is_none().then_some(Entry::CommandAccepted { issued, position }))
    }
}

/// The id under which a command that was issued by this event is executed.
fn command_id(issued: EventId) -> String {
    format!("annals.issued/{issued}")
}

fn mark(issued: EventId) -> Result<CommandMark, InvalidName> {
    let how = How { id: Some(command_id(issued)), ..How::default() };
    Ok(how.mark(String::new)?.expect("it has an id"))
}

/// An outcome that is about to be kept.
struct Settling<'a> {
    stream: &'a StreamId,
    issued: EventId,
    entry: Entry,
    fence: Option<CommandMark>,
}

impl Deciding for Settling<'_> {
    type Refusal = Infallible;
    const OURS: bool = true;

    fn what(&self) -> String {
        format!("the outcome of {}", self.issued)
    }

    async fn decide(&mut self) -> Result<Append, ExecuteError<Infallible>> {
        let mut event = self.entry.encode();
        event.tags.extend(self.fence.as_ref().map(|fence| fence.tag.clone()));
        let mut append = Append::to(self.stream.clone(), ExpectedVersion::Any, [event]);
        let fence = self.fence.as_ref().map(|fence| AppendCondition::none_match(fence.left()));
        append.conditions.extend(fence);
        Ok(append)
    }

    /// If the command was executed meanwhile, it was, and this is not what came of it.
    fn may_decide_again(&self, conflict: &Conflict) -> bool {
        let Conflict::Condition { condition, .. } = conflict else { return true };
        self.fence.as_ref().is_none_or(|fence| condition.query != fence.left())
    }
}
