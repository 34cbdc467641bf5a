//! Process managers: given the process's own events, when something is delivered to it, then
//! events, commands and deadlines.

use std::fmt::Debug;

use annals_core::{Position, RecordedEvent, StreamId, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::event::{as_if_recorded, encode};
use crate::process::{Inputs, Issued, ProcessManager, Step, Steps, Trigger};
use crate::testing::failure::{chain, difference_of_events};
use crate::testing::world::{now, stream};
use crate::{Aggregate, Command, Event};

/// The id of the process that a test is about, unless the event says another.
const ID: &str = "1";

/// A process to which something has happened; the next word is one of the `when`s.
#[must_use = "nothing is tested until a `when` says what is delivered"]
#[derive(Debug)]
pub struct GivenProcess<P: ProcessManager> {
    events: Vec<P::Event>,
}

/// What a process manager said is to be done; each `then…` demands something of it.
#[derive(Debug)]
pub struct Reacted<P: ProcessManager> {
    when: String,
    steps: Vec<Step<P::Event>>,
}

/// A process that has recorded these events.
///
/// ```
/// # use std::time::Duration;
/// # use annals::process::{Commands, ProcessManager, Steps, Trigger};
/// # use annals::{Aggregate, AnyId, Apply, Command, Event, RecordedEvent};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, Event)] enum OrderEvent { OrderPlaced { order: String }, OrderPaid { order: String }, OrderCancelled }
/// # use OrderEvent::*;
/// # #[derive(Default, Aggregate)] #[aggregate(category = "order", event = OrderEvent)] struct Order;
/// # impl Apply<OrderEvent> for Order { fn apply(&mut self, _: OrderEvent) {} }
/// # #[derive(Clone, Serialize, Deserialize)] struct CancelOrder { why: String }
/// # impl Command<Order> for CancelOrder {
/// #     type Error = std::convert::Infallible;
/// #     fn decide(self, _: &Order) -> Result<Vec<OrderEvent>, Self::Error> { Ok(vec![OrderCancelled]) }
/// # }
/// # #[derive(Debug, PartialEq, Event)] enum FulfilmentEvent { PaymentAwaited, PaymentReceived }
/// # use FulfilmentEvent::*;
/// # #[derive(Debug, Default, Aggregate)]
/// # #[aggregate(category = "fulfilment", event = FulfilmentEvent)]
/// # struct Fulfilment;
/// # impl Apply<FulfilmentEvent> for Fulfilment { fn apply(&mut self, _: FulfilmentEvent) {} }
/// # impl ProcessManager for Fulfilment {
/// #     type Input = OrderEvent;
/// #     const NAME: &'static str = "fulfilment";
/// #     fn commands() -> Commands { Commands::new().with::<Order, CancelOrder>("CancelOrder") }
/// #     fn process_id(event: &OrderEvent, _: &RecordedEvent) -> Option<AnyId> {
/// #         match event { OrderPlaced { order } | OrderPaid { order } => Some(order.into()), _ => None }
/// #     }
/// #     fn react(&self, trigger: Trigger<'_, OrderEvent>, todo: &mut Steps<Self>) {
/// #         match trigger {
/// #             Trigger::Event { event: OrderPlaced { .. }, .. } => {
/// #                 todo.record(PaymentAwaited);
/// #                 todo.deadline_in("payment", Duration::from_secs(3600));
/// #             }
/// #             Trigger::Deadline { name: "payment" } => {
/// #                 todo.execute::<Order>(todo.id(), CancelOrder { why: "not paid".into() });
/// #             }
/// #             _ => {}
/// #         }
/// #     }
/// # }
/// use annals::testing::{given_process, now};
///
/// given_process::<Fulfilment>([])
///     .when(OrderPlaced { order: "7".into() })
///     .then_records([PaymentAwaited])
///     .then_deadline("payment", now().saturating_add(Duration::from_secs(3600)))
///     .then_nothing_else();
///
/// given_process::<Fulfilment>([PaymentAwaited])
///     .when_deadline("payment")
///     .then_executes::<Order>("1", CancelOrder { why: "not paid".into() })
///     .then_nothing_else();
///
/// given_process::<Fulfilment>([]).when_unconcerned(OrderCancelled);
/// ```
///
/// A process manager is asked in the way in which it is asked when it runs: events are read as
/// they were stored, and what it says is brought into the form in which it would be stored. It is
/// always the same moment, [`now`], and a process that is reached by no event has the id `1`.
pub fn given_process<P: ProcessManager>(
    events: impl IntoIterator<Item = P::Event>,
) -> GivenProcess<P> {
    GivenProcess { events: events.into_iter().collect() }
}

impl<P: ProcessManager> GivenProcess<P> {
    /// This event of another aggregate is delivered, to the process that it concerns.
    ///
    /// # Panics
    /// When it cannot be stored, is none of the process manager's, or concerns no process. So do
    /// the others, when what they deliver or what comes of it cannot be stored.
    #[expect(clippy::needless_pass_by_value, reason = "it is written where it is demanded")]
    #[track_caller]
    #[must_use = "nothing is tested until `then` says what should come of it"]
    pub fn when<E: Event + Debug>(self, event: E) -> Reacted<P> {
        let when = format!("{event:?}");
        let recorded = recorded(&event);
        let input = input::<P>(&recorded);
        let Some(id) = P::process_id(&input, &recorded) else {
            panic!("{when} was expected to concern a process");
        };
        let stream = match crate::aggregate::AggregateId::stream(&id, P::CATEGORY) {
            Ok(stream) => stream,
            Err(error) => panic!("the id of the process is none: {error}"),
        };
        self.react(when, stream, Trigger::Event { event: &input, recorded: &recorded })
    }

    /// This event of another aggregate concerns no process.
    #[expect(clippy::needless_pass_by_value, reason = "it is written where it is demanded")]
    #[track_caller]
    pub fn when_unconcerned<E: Event + Debug>(self, event: E) {
        let when = format!("{event:?}");
        let recorded = recorded(&event);
        let concerned = P::process_id(&input::<P>(&recorded), &recorded);
        assert!(concerned.is_none(), "{when} was expected to concern no process");
    }

    /// The deadline with this name is due.
    #[track_caller]
    #[must_use = "nothing is tested until `then` says what should come of it"]
    pub fn when_deadline(self, name: &str) -> Reacted<P> {
        let when = format!("the deadline {name}");
        self.react(when, stream(P::CATEGORY, ID), Trigger::Deadline { name })
    }

    /// A command to the aggregate with this id was executed.
    #[track_caller]
    #[must_use = "nothing is tested until `then` says what should come of it"]
    pub fn when_accepted<A: Aggregate>(
        self,
        id: impl Into<A::Id>,
        command: impl Command<A> + Serialize + 'static,
    ) -> Reacted<P> {
        let command = &issued::<P, A>(id, command);
        let when = format!("accepted: {}", told(command));
        let trigger = Trigger::Accepted { command, position: Position::START };
        self.react(when, stream(P::CATEGORY, ID), trigger)
    }

    /// A command to the aggregate with this id was refused by the domain, saying this.
    #[track_caller]
    #[must_use = "nothing is tested until `then` says what should come of it"]
    pub fn when_refused<A: Aggregate>(
        self,
        id: impl Into<A::Id>,
        command: impl Command<A> + Serialize + 'static,
        message: &str,
    ) -> Reacted<P> {
        let command = &issued::<P, A>(id, command);
        let when = format!("refused: {}: {message}", told(command));
        let trigger = Trigger::Refused { command, code: "refused", message };
        self.react(when, stream(P::CATEGORY, ID), trigger)
    }

    #[track_caller]
    fn react(self, when: String, stream: StreamId, trigger: Trigger<'_, P::Input>) -> Reacted<P> {
        let mut state = P::default();
        for event in &self.events {
            match encode(event, &stream) {
                Ok((_, read)) => read.for_each(|event| state.apply(event)),
                Err(error) => panic!("a given event cannot be stored: {}", chain(&error)),
            }
        }
        let mut steps = Steps::<P>::new(stream, now());
        state.react(trigger, &mut steps);
        match steps.checked() {
            Ok(steps) => Reacted { when, steps },
            Err(error) => panic!("when {when}: what it said cannot be stored: {}", chain(&error)),
        }
    }
}

impl<P: ProcessManager> Reacted<P> {
    /// It recorded these events of its own, no others, and in this order.
    ///
    /// # Panics
    /// When something else came of it. So do the others.
    #[track_caller]
    pub fn then_records(mut self, events: impl IntoIterator<Item = P::Event>) -> Self
    where
        P::Event: Debug + PartialEq,
    {
        let expected: Vec<_> = events.into_iter().collect();
        let mut found = Vec::new();
        let mut rest = Vec::new();
        for step in self.steps {
            match step {
                Step::Record(event) => found.push(event),
                other => rest.push(other),
            }
        }
        self.steps = rest;
        if found != expected {
            let difference = difference_of_events(&expected, &found);
            panic!("when {}: other events were expected:\n{difference}", self.when);
        }
        self
    }

    /// It executes this command on the aggregate with this id, before others that are not
    /// demanded yet.
    #[track_caller]
    pub fn then_executes<A: Aggregate>(
        self,
        id: impl Into<A::Id>,
        command: impl Command<A> + Serialize + 'static,
    ) -> Self {
        let expected = told(&issued::<P, A>(id, command));
        let first = self.steps.iter().position(|step| matches!(step, Step::Execute(_)));
        self.then_step(
            first,
            |step| matches!(step, Step::Execute(found) if told(found) == expected),
            &expected,
        )
    }

    /// It sets this deadline.
    #[track_caller]
    pub fn then_deadline(self, name: &str, due: Timestamp) -> Self {
        let is_it = |step: &Step<P::Event>| matches!(step, Step::Deadline { name: found, due: at } if found == name && *at == due);
        let at = self.steps.iter().position(is_it);
        self.then_step(at, is_it, &format!("the deadline {name} at {due}"))
    }

    /// It cancels the deadline with this name.
    #[track_caller]
    pub fn then_cancels(self, name: &str) -> Self {
        let is_it =
            |step: &Step<P::Event>| matches!(step, Step::Cancel { name: found } if found == name);
        let at = self.steps.iter().position(is_it);
        self.then_step(at, is_it, &format!("cancelling the deadline {name}"))
    }

    /// It says that the process is over.
    #[track_caller]
    pub fn then_finishes(self) -> Self {
        let is_it = |step: &Step<P::Event>| matches!(step, Step::Finish);
        let at = self.steps.iter().position(is_it);
        self.then_step(at, is_it, "finishing")
    }

    /// It says nothing that was not demanded so far.
    #[track_caller]
    pub fn then_nothing_else(self) {
        if !self.steps.is_empty() {
            panic!("when {}: nothing else was expected, but:\n{}", self.when, self.rest());
        }
    }

    #[track_caller]
    fn then_step(
        mut self,
        at: Option<usize>,
        is_it: impl Fn(&Step<P::Event>) -> bool,
        expected: &str,
    ) -> Self {
        match at.filter(|at| is_it(&self.steps[*at])) {
            Some(at) => drop(self.steps.remove(at)),
            None => panic!("when {}: expected was {expected}, but:\n{}", self.when, self.rest()),
        }
        self
    }

    /// What was not demanded so far.
    fn rest(&self) -> String {
        let line = |step: &Step<P::Event>| match step {
            Step::Record(event) => match event.encode() {
                Ok(event) => format!("    records {} {:?}\n", event.event_type, event.data),
                Err(error) => format!("    records what cannot be stored: {error}\n"),
            },
            Step::Execute(issued) => format!("    executes {}\n", told(issued)),
            Step::Deadline { name, due } => format!("    sets the deadline {name} at {due}\n"),
            Step::Cancel { name } => format!("    cancels the deadline {name}\n"),
            Step::Finish => "    finishes\n".to_owned(),
        };
        match self.steps.is_empty() {
            true => "    nothing\n".to_owned(),
            false => self.steps.iter().map(line).collect(),
        }
    }
}

fn told(issued: &Issued) -> String {
    let command: &Value = issued.as_json();
    format!("{} on {}: {command}", issued.name(), issued.stream())
}

#[track_caller]
fn issued<P: ProcessManager, A: Aggregate>(
    id: impl Into<A::Id>,
    command: impl Command<A> + Serialize + 'static,
) -> Issued {
    match Issued::about::<A, _>(&P::commands(), id, command) {
        Ok(issued) => issued,
        Err(error) => panic!("the command cannot be stored: {}", chain(&error)),
    }
}

#[track_caller]
fn recorded(event: &impl Event) -> RecordedEvent {
    let new = match event.encode() {
        Ok(new) => new,
        Err(error) => panic!("the event cannot be stored: {}", chain(&error)),
    };
    let recorded = as_if_recorded(&new, &StreamId::from_static("given-1"));
    RecordedEvent { recorded_at: now(), occurred_at: now(), ..recorded }
}

#[track_caller]
fn input<P: ProcessManager>(recorded: &RecordedEvent) -> P::Input {
    match P::Input::decode(recorded) {
        Ok(Some(input)) => input,
        Ok(None) => panic!("{} is none of the events it reacts to", recorded.event_type),
        Err(error) => panic!("the event cannot be read: {}", chain(&error)),
    }
}
