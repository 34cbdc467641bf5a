//! One reaction of a process: load, react, append, and on a conflict react again.

use std::marker::PhantomData;

use annals_core::{Append, EventId, ExpectedVersion, RecordedEvent, StreamId, Timestamp};

use super::book::{Book, Entry};
use super::commands::failed;
use super::issued::{IssueError, Issued};
use super::{ProcessManager, Steps, Trigger};
use crate::execute::attempt::Deciding;
use crate::execute::how::How;
use crate::{Annals, Context, ExecuteError, ReactError};

/// What was delivered to a process.
pub(super) enum Delivered<I> {
    Event(I),
    DeadlineSet { name: String, due: Timestamp },
    Outcome(Entry),
}

impl Annals {
    /// Reacts to it, unless that was done before under this id.
    pub(super) async fn react_once<P: ProcessManager>(
        &self,
        stream: StreamId,
        id: String,
        recorded: &RecordedEvent,
        delivered: &Delivered<P::Input>,
    ) -> Result<(), ReactError> {
        let context = Context::new().actor(P::NAME);
        let how = How { id: Some(id), ..How::default() };
        let mut reaction =
            Reaction::<P> { annals: self, stream, recorded, delivered, manager: PhantomData };
        let reacted = context.scope(self.attempt(&how, &mut reaction)).await;
        reacted.map(drop).map_err(failed)
    }
}

struct Reaction<'a, P: ProcessManager> {
    annals: &'a Annals,
    stream: StreamId,
    recorded: &'a RecordedEvent,
    delivered: &'a Delivered<P::Input>,
    manager: PhantomData<fn() -> P>,
}

impl<P: ProcessManager> Deciding for Reaction<'_, P> {
    type Refusal = IssueError;
    const BLIND: bool = false;
    const OURS: bool = true;

    fn what(&self) -> String {
        format!("{} {}", P::NAME, self.stream)
    }

    async fn decide(&mut self) -> Result<Append, ExecuteError<IssueError>> {
        let loaded = self.annals.load_in::<P>(self.stream.clone()).await?;
        // Exactly what the state was folded with, so that one version stands for both.
        let book = self.annals.book(&self.stream, loaded.position).await?;
        if book.is_finished {
            return Ok(Append::default());
        }
        let command = self.outcome_of(&book);
        let Some(trigger) = self.trigger(&book, command.as_ref()) else {
            return Ok(Append::default());
        };
        loaded.check_open().map_err(ExecuteError::Standing)?;
        let met = match trigger {
            Trigger::Deadline { name } => Some(Entry::DeadlineMet { name: name.to_owned() }),
            _ => None,
        };
        let moment = match self.delivered {
            Delivered::DeadlineSet { due, .. } => *due,
            _ => self.recorded.recorded_at,
        };
        let mut steps = Steps::new(self.stream.clone(), moment);
        loaded.state.react(trigger, &mut steps);
        let steps = steps.into_events().map_err(ExecuteError::Refused)?;
        let events: Vec<_> = met.iter().map(Entry::encode).chain(steps).collect();
        if events.is_empty() {
            return Ok(Append::default());
        }
        Ok(Append::to(self.stream.clone(), ExpectedVersion::Exact(loaded.version), events))
    }
}

impl<P: ProcessManager> Reaction<'_, P> {
    /// The command whose outcome was delivered, if that is what it was.
    fn outcome_of(&self, book: &Book) -> Option<Issued> {
        let issued: EventId = match self.delivered {
            Delivered::Outcome(
                Entry::CommandAccepted { issued, .. } | Entry::CommandRefused { issued, .. },
            ) => *issued,
            _ => return None,
        };
        book.issued(issued).map(|issued| issued.known_to(&P::commands()))
    }

    /// `None` when it is none any more.
    fn trigger<'t>(
        &'t self,
        book: &Book,
        command: Option<&'t Issued>,
    ) -> Option<Trigger<'t, P::Input>> {
        match self.delivered {
            Delivered::Event(event) => Some(Trigger::Event { event, recorded: self.recorded }),
            Delivered::DeadlineSet { name, .. } => {
                book.awaits(name, self.recorded.id).then_some(Trigger::Deadline { name })
            }
            Delivered::Outcome(Entry::CommandAccepted { position, .. }) => {
                Some(Trigger::Accepted { command: command?, position: *position })
            }
            Delivered::Outcome(Entry::CommandRefused { code, message, .. }) => {
                Some(Trigger::Refused { command: command?, code, message })
            }
            Delivered::Outcome(_) => None,
        }
    }
}
