//! Commands that are executed later.

use std::fmt::Display;

use annals_core::{
    Append, Category, EventStoreExt, EventType, ExpectedVersion, Query, QueryItem, Read, StreamId,
    Timestamp,
};
use async_trait::async_trait;
use serde::Serialize;

use super::Commands;
use super::book::{COMMAND_ISSUED, Entry};
use super::issued::{IssueError, Issued};
use crate::error::LoadError;
use crate::execute::attempt::Deciding;
use crate::execute::how::How;
use crate::{Aggregate, Annals, Command, ExecuteError, Inbox, ReactError, Reacting, Reactor};

/// What the streams of scheduled commands begin with, and the name of their inbox.
const SCHEDULE: &str = "annals.schedule";

/// Commands that are executed later, even if the program is restarted meanwhile. Made by
/// [`Annals::schedule`].
#[derive(Clone, Debug)]
pub struct Schedule {
    annals: Annals,
    commands: Commands,
}

/// Why a command was not scheduled, or not cancelled.
pub type ScheduleError = ExecuteError<IssueError>;

/// What came of cancelling a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cancelled {
    /// It is cancelled, now or before, and will never be executed.
    Cancelled,
    /// It was executed before, or refused.
    TooLate,
    /// Nothing was ever scheduled under this id.
    Unknown,
}

impl Annals {
    /// Commands that are executed later: these.
    ///
    /// ```
    /// # use annals::{Aggregate, Annals, Apply, Command, DeliveryQueue, Event, Timestamp};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Event)] enum InvoiceEvent { Reminded }
    /// # #[derive(Default, Aggregate)] #[aggregate(category = "invoice", event = InvoiceEvent)] struct Invoice;
    /// # impl Apply<InvoiceEvent> for Invoice { fn apply(&mut self, _: InvoiceEvent) {} }
    /// # #[derive(Clone, Serialize, Deserialize)] struct Remind;
    /// # impl Command<Invoice> for Remind {
    /// #     type Error = std::convert::Infallible;
    /// #     fn decide(self, _: &Invoice) -> Result<Vec<InvoiceEvent>, Self::Error> { Ok(vec![InvoiceEvent::Reminded]) }
    /// # }
    /// use annals::process::{Cancelled, Commands};
    ///
    /// # async fn run(app: Annals, queue: std::sync::Arc<dyn DeliveryQueue>, due: Timestamp) -> Result<(), Box<dyn std::error::Error>> {
    /// let schedule = app.schedule(Commands::new().with::<Invoice, Remind>("Remind"));
    /// let running = app.inboxes(queue).inbox(schedule.inbox()).start().await?;
    ///
    /// schedule.at(due, "2026-17", Remind, "remind-2026-17").await?;
    /// // It was paid:
    /// assert_eq!(schedule.cancel("remind-2026-17").await?, Cancelled::Cancelled);
    /// # running.stop().await; Ok(()) }
    /// ```
    #[must_use]
    pub fn schedule(&self, commands: Commands) -> Schedule {
        Schedule { annals: self.clone(), commands }
    }
}

impl Schedule {
    /// Has a command executed on the aggregate with this id, once the moment `due` has come. It is
    /// stored now, and executed once, by whoever was the [actor](crate::Context::actor) now.
    ///
    /// The same under the same `schedule_id` again changes nothing, also when it was executed or
    /// cancelled.
    ///
    /// # Errors
    /// [`ExecuteError::CommandId`] when something else was scheduled under this id,
    /// [`ExecuteError::Refused`] when the command is not registered or cannot be written as JSON;
    /// or when the store does not answer.
    pub async fn at<A: Aggregate>(
        &self,
        due: Timestamp,
        id: impl Into<A::Id>,
        command: impl Command<A> + Serialize + 'static,
        schedule_id: impl Display,
    ) -> Result<(), ScheduleError> {
        let issued = Issued::about(&self.commands, id, command).map_err(ExecuteError::Refused)?;
        let stream = StreamId::of(SCHEDULE, &schedule_id)?;
        let entry = Entry::issuing(&issued, Some(due));
        let how = How { id: Some(format!("{SCHEDULE}/{schedule_id}")), ..How::default() };
        self.annals.attempt(&how, &mut Scheduling { stream, entry }).await.map(drop)
    }

    /// Sees to it that a command is not executed, unless it was.
    ///
    /// Whatever it answers holds for ever: also when the command is just being executed.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn cancel(&self, schedule_id: impl Display) -> Result<Cancelled, ScheduleError> {
        let stream = StreamId::of(SCHEDULE, schedule_id)?;
        let scheduled = self.annals.store().read_to_end(Read::stream(stream.clone()).limit(1));
        let scheduled = scheduled.await.map_err(LoadError::from)?;
        let Some(first) = scheduled.first() else { return Ok(Cancelled::Unknown) };
        let entry = Entry::CommandCancelled { issued: first.id };
        match self.annals.settle(&stream, first.id, entry, false).await {
            Ok(Entry::CommandCancelled { .. }) => Ok(Cancelled::Cancelled),
            // That its events are there stands against it.
            Ok(_) | Err(ExecuteError::Conflict { .. }) => Ok(Cancelled::TooLate),
            Err(error) => Err(error.map(|never| match never {})),
        }
    }

    /// The inbox that executes them, to be [run](Annals::inboxes) beside others.
    ///
    /// What a command left is in its aggregate's stream; what came of it, a refusal too, is an
    /// event in the stream `annals.schedule-` with its id. One that fails is retried, and then a
    /// dead letter.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        let scheduled = QueryItem::new()
            .event_type(EventType::from_static(COMMAND_ISSUED))
            .category(Category::from_static(SCHEDULE));
        let due = |event: &_| match Entry::of(event) {
            Ok(Some(Entry::CommandIssued { due, .. })) => due,
            _ => None,
        };
        Inbox::new(SCHEDULE, self.clone()).accepts(Query::of(scheduled)).unordered().due(due)
    }
}

#[async_trait]
impl Reactor for Schedule {
    async fn react(&self, reacting: &Reacting) -> Result<(), ReactError> {
        let by = reacting.event();
        let entry = Entry::of(by).map_err(ReactError::permanent)?;
        let Some(Entry::CommandIssued { name, stream, command, .. }) = entry else { return Ok(()) };
        self.annals.execute_issued(&self.commands, by, &name, stream, command).await
    }
}

/// A command that is about to be scheduled.
struct Scheduling {
    stream: StreamId,
    entry: Entry,
}

impl Deciding for Scheduling {
    type Refusal = IssueError;
    const BLIND: bool = false;
    const OURS: bool = true;

    fn what(&self) -> String {
        format!("schedule {}", String::from_utf8_lossy(&self.entry.encode().data.bytes))
    }

    async fn decide(&mut self) -> Result<Append, ExecuteError<IssueError>> {
        let event = self.entry.encode();
        Ok(Append::to(self.stream.clone(), ExpectedVersion::NoStream, [event]))
    }
}
