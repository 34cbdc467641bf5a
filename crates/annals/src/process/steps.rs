//! What a process manager says is to be done.

use std::time::Duration;

use annals_core::{NewEvent, StreamId, Timestamp};
use serde::Serialize;

use super::book::Entry;
use super::issued::{IssueError, Issued};
use super::{Commands, ProcessManager};
use crate::event::encode;
use crate::execute::how::check_not_reserved;
use crate::{Aggregate, Command, Event};

/// What is to be done because of a trigger, in the order in which it is said. It is kept all at
/// once, or not at all.
#[derive(Debug)]
pub struct Steps<P: ProcessManager> {
    stream: StreamId,
    moment: Timestamp,
    commands: Commands,
    steps: Vec<Step<P::Event>>,
    /// What cannot be done; the first counts.
    fault: Option<IssueError>,
}

#[derive(Debug)]
pub(crate) enum Step<E> {
    Record(E),
    Execute(Issued),
    Deadline { name: String, due: Timestamp },
    Cancel { name: String },
    Finish,
}

impl<P: ProcessManager> Steps<P> {
    pub(crate) fn new(stream: StreamId, moment: Timestamp) -> Self {
        Self { stream, moment, commands: P::commands(), steps: Vec::new(), fault: None }
    }

    /// The id of this process, as text.
    #[must_use]
    pub fn id(&self) -> String {
        self.stream.id().to_owned()
    }

    /// The moment of the trigger: when the store recorded the event, or when the deadline was
    /// due. It is the same whenever this trigger is reacted to.
    #[must_use]
    pub fn moment(&self) -> Timestamp {
        self.moment
    }

    /// Records an event of the process itself.
    pub fn record(&mut self, event: P::Event) {
        self.steps.push(Step::Record(event));
    }

    /// Executes a command on the aggregate with this id, soon. What comes of it is a
    /// [trigger](super::Trigger) of its own.
    ///
    /// One that is not among the [commands](ProcessManager::commands), or cannot be written as
    /// JSON, makes a dead letter of the trigger.
    pub fn execute<A: Aggregate>(
        &mut self,
        id: impl Into<A::Id>,
        command: impl Command<A> + Serialize + 'static,
    ) {
        match Issued::about(&self.commands, id, command) {
            Ok(issued) => self.steps.push(Step::Execute(issued)),
            Err(fault) => drop(self.fault.get_or_insert(fault)),
        }
    }

    /// Sets a deadline: once this moment has come, it is a [trigger](super::Trigger). One that
    /// was set before under the same name is not one any more.
    pub fn deadline_at(&mut self, name: impl Into<String>, due: Timestamp) {
        self.steps.push(Step::Deadline { name: name.into(), due });
    }

    /// Sets a deadline so long after the [moment](Self::moment) of the trigger.
    pub fn deadline_in(&mut self, name: impl Into<String>, time: Duration) {
        self.deadline_at(name, self.moment.saturating_add(time));
    }

    /// Cancels the deadline with this name, if there is one.
    pub fn cancel(&mut self, name: impl Into<String>) {
        self.steps.push(Step::Cancel { name: name.into() });
    }

    /// The process is over: nothing is a trigger to it any more. Commands that were issued are
    /// executed.
    pub fn finish(&mut self) {
        self.steps.push(Step::Finish);
    }

    /// What was said, if it can be kept.
    #[cfg(feature = "testing")]
    pub(crate) fn checked(self) -> Result<Vec<Step<P::Event>>, IssueError> {
        self.fault.map_or(Ok(()), Err)?;
        for step in &self.steps {
            step.encode(&self.stream)?;
        }
        Ok(self.steps)
    }

    /// The events that keep all of it.
    pub(super) fn into_events(self) -> Result<Vec<NewEvent>, IssueError> {
        let Self { stream, steps, fault, .. } = self;
        fault.map_or(Ok(()), Err)?;
        steps.iter().map(|step| step.encode(&stream)).collect()
    }
}

impl<E: Event> Step<E> {
    fn encode(&self, stream: &StreamId) -> Result<NewEvent, IssueError> {
        let entry = match self {
            Self::Record(event) => {
                let (event, _) = encode(event, stream)?;
                check_not_reserved(&event)?;
                return Ok(event);
            }
            Self::Execute(issued) => Entry::issuing(issued, None),
            Self::Deadline { name, due } => Entry::DeadlineSet { name: name.clone(), due: *due },
            Self::Cancel { name } => Entry::DeadlineCancelled { name: name.clone() },
            Self::Finish => Entry::ProcessFinished {},
        };
        Ok(entry.encode())
    }
}
