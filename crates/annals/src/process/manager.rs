//! The inbox of a process manager.

use std::marker::PhantomData;

use annals_core::{Category, EventType, NewDelivery, Query, QueryItem, RecordedEvent, StreamId};
use async_trait::async_trait;

use super::book::{COMMAND_ACCEPTED, COMMAND_ISSUED, COMMAND_REFUSED, DEADLINE_SET, Entry};
use super::react::Delivered;
use super::{Commands, Inputs, ProcessManager};
use crate::aggregate::stream_of;
use crate::execute::how::hash_of;
use crate::inbox::Accepted;
use crate::{Annals, Inbox, ReactError, Reacting, Reactor};

impl Annals {
    /// The inbox of a process manager, to be [run](Self::inboxes) beside others. How often it
    /// tries, with how many workers, and where it begins if it is new, is said as of any inbox;
    /// which events it accepts, when and in which order is its own.
    ///
    /// ```no_run
    /// # use annals::process::ProcessManager;
    /// # use annals::{Annals, DeliveryQueue};
    /// # use std::sync::Arc;
    /// # async fn run<Fulfilment: ProcessManager>(shop: Annals, queue: Arc<dyn DeliveryQueue>) -> Result<(), Box<dyn std::error::Error>> {
    /// let fulfilment = shop.process_manager::<Fulfilment>().concurrency(8).from_now();
    /// let running = shop.inboxes(queue).inbox(fulfilment).start().await?;
    /// # running.stop().await; Ok(()) }
    /// ```
    ///
    /// # Panics
    /// When its name or its category is no valid name: a mistake in the program.
    #[must_use]
    pub fn process_manager<P: ProcessManager>(&self) -> Inbox {
        let types = P::Input::types();
        let upcasters = types.upcasters().clone();
        let own = [COMMAND_ISSUED, COMMAND_ACCEPTED, COMMAND_REFUSED, DEADLINE_SET];
        let own = QueryItem::new()
            .types(own.map(EventType::from_static))
            .category(Category::from_static(P::CATEGORY));
        let inputs = Query::from(types);
        let query = inputs.items().iter().cloned().chain([own]).collect();
        let manager =
            Manager::<P> { annals: self.clone(), commands: P::commands(), manager: PhantomData };
        Inbox::new(P::NAME, manager)
            .accepts(Accepted { query, upcasters })
            .accepts_if(concerns::<P>)
            .lanes(lane::<P>)
            .due(|event| match Entry::of(event) {
                Ok(Some(Entry::DeadlineSet { due, .. })) => Some(due),
                _ => None,
            })
    }
}

struct Manager<P> {
    annals: Annals,
    commands: Commands,
    manager: PhantomData<fn() -> P>,
}

#[async_trait]
impl<P: ProcessManager> Reactor for Manager<P> {
    async fn react(&self, reacting: &Reacting) -> Result<(), ReactError> {
        let recorded = reacting.event();
        let id = reacting.command_id("reaction");
        let entry = Entry::of(recorded).map_err(ReactError::permanent)?;
        let delivered = match entry {
            None => return self.react_to_input(recorded, id).await,
            Some(Entry::CommandIssued { name, stream, command, .. }) => {
                let Self { annals, commands, .. } = self;
                return annals.execute_issued(commands, recorded, &name, stream, command).await;
            }
            Some(Entry::DeadlineSet { name, due }) => Delivered::DeadlineSet { name, due },
            Some(outcome) => Delivered::Outcome(outcome),
        };
        let stream = recorded.stream.clone();
        self.annals.react_once::<P>(stream, id, recorded, &delivered).await
    }
}

impl<P: ProcessManager> Manager<P> {
    async fn react_to_input(&self, recorded: &RecordedEvent, id: String) -> Result<(), ReactError> {
        let input = P::Input::decode(recorded).map_err(ReactError::permanent)?;
        let Some(input) = input else { return Ok(()) };
        let Some(process) = P::process_id(&input, recorded) else { return Ok(()) };
        let stream = stream_of::<P>(process).map_err(ReactError::permanent)?;
        self.annals.react_once::<P>(stream, id, recorded, &Delivered::Event(input)).await
    }
}

/// What cannot be read concerns it as well: so that this shows.
fn concerns<P: ProcessManager>(event: &RecordedEvent) -> bool {
    if super::is_kept(event.event_type.as_str()) {
        return true;
    }
    match P::Input::decode(event) {
        Ok(Some(input)) => P::process_id(&input, event).is_some(),
        Ok(None) => false,
        Err(_) => true,
    }
}

/// All that a process reacts to comes one after the other, and so do its commands. A deadline
/// that is not due would hold up others, so it has no lane: what else comes to the process while
/// it reacts to a deadline is seen by the version of its stream.
fn lane<P: ProcessManager>(event: &RecordedEvent) -> Option<String> {
    match event.event_type.as_str() {
        DEADLINE_SET => None,
        COMMAND_ISSUED => Some(fitting(format!("commands of {}", event.stream))),
        COMMAND_ACCEPTED | COMMAND_REFUSED => Some(fitting(event.stream.to_string())),
        _ => Some(fitting(process::<P>(event)?.to_string())),
    }
}

fn process<P: ProcessManager>(event: &RecordedEvent) -> Option<StreamId> {
    let input = P::Input::decode(event).ok()??;
    stream_of::<P>(P::process_id(&input, event)?).ok()
}

fn fitting(lane: String) -> String {
    if lane.len() > NewDelivery::NAME_BYTES_MAX { hash_of(&lane) } else { lane }
}
