//! Process managers: what follows from events over days and several aggregates, with deadlines.
//!
//! A [`ProcessManager`] is an aggregate of its own. It [reacts](ProcessManager::react) to events
//! of others, to its own deadlines, and to what came of its own commands; it says what it notes of
//! that, which commands are executed, and which deadlines are set. [`Annals::process_manager`]
//! makes an [`Inbox`] of it, which runs beside others.
//!
//! ```
//! use std::time::Duration;
//! use annals::process::{Commands, ProcessManager, Steps, Trigger};
//! use annals::{Aggregate, Annals, AnyId, Apply, Command, Event, RecordedEvent};
//! # use annals::DeliveryQueue;
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Debug, Event)] enum OrderEvent { OrderPlaced { order: String }, OrderPaid { order: String }, OrderCancelled }
//! # use OrderEvent::*;
//! # #[derive(Default, Aggregate)] #[aggregate(category = "order", event = OrderEvent)] struct Order;
//! # impl Apply<OrderEvent> for Order { fn apply(&mut self, _: OrderEvent) {} }
//! # #[derive(Clone, Serialize, Deserialize)] struct CancelOrder { why: String }
//! # impl Command<Order> for CancelOrder {
//! #     type Error = std::convert::Infallible;
//! #     fn decide(self, _: &Order) -> Result<Vec<OrderEvent>, Self::Error> { Ok(vec![OrderCancelled]) }
//! # }
//!
//! #[derive(Debug, Event)]
//! enum FulfilmentEvent {
//!     PaymentAwaited,
//!     PaymentReceived,
//! }
//!
//! #[derive(Default, Aggregate)]
//! #[aggregate(category = "fulfilment", event = FulfilmentEvent)]
//! struct Fulfilment {
//!     is_paid: bool,
//! }
//!
//! impl Apply<FulfilmentEvent> for Fulfilment {
//!     fn apply(&mut self, event: FulfilmentEvent) {
//!         self.is_paid = matches!(event, FulfilmentEvent::PaymentReceived);
//!     }
//! }
//!
//! impl ProcessManager for Fulfilment {
//!     type Input = OrderEvent;
//!     const NAME: &'static str = "fulfilment";
//!
//!     fn commands() -> Commands {
//!         Commands::new().with::<Order, CancelOrder>("CancelOrder")
//!     }
//!
//!     fn process_id(event: &OrderEvent, _: &RecordedEvent) -> Option<AnyId> {
//!         match event {
//!             OrderPlaced { order } | OrderPaid { order } => Some(order.into()),
//!             OrderCancelled => None,
//!         }
//!     }
//!
//!     fn react(&self, trigger: Trigger<'_, OrderEvent>, todo: &mut Steps<Self>) {
//!         match trigger {
//!             Trigger::Event { event: OrderPlaced { .. }, .. } => {
//!                 todo.record(FulfilmentEvent::PaymentAwaited);
//!                 todo.deadline_in("payment", Duration::from_secs(3600));
//!             }
//!             Trigger::Event { event: OrderPaid { .. }, .. } => {
//!                 todo.record(FulfilmentEvent::PaymentReceived);
//!                 todo.cancel("payment");
//!                 todo.finish();
//!             }
//!             Trigger::Deadline { name: "payment" } if !self.is_paid => {
//!                 let why = "it was not paid in time".into();
//!                 todo.execute::<Order>(todo.id(), CancelOrder { why });
//!             }
//!             _ => {}
//!         }
//!     }
//! }
//!
//! # async fn run(shop: Annals, queue: std::sync::Arc<dyn DeliveryQueue>) -> Result<(), Box<dyn std::error::Error>> {
//! let running = shop.inboxes(queue).inbox(shop.process_manager::<Fulfilment>()).start().await?;
//! # running.stop().await; Ok(()) }
//! ```
//!
//! # What it guarantees
//!
//! The process's stream holds all that it is: the events it [recorded](Steps::record), and beside
//! them what the framework keeps there, in types that begin with `annals.`: the commands it issued
//! and what came of them, the deadlines it set, cancelled and met, and that it has finished.
//!
//! - What a reaction says is appended at once, all or nothing, if nothing else has come to the
//!   process meanwhile; otherwise it reacts again, to the state as it is then. A trigger is
//!   reacted to once, however often it is delivered.
//! - Each command is executed once, whatever dies in between: its id is made of the event that
//!   issued it. What came of it is kept once, and is a trigger of its own: a refusal is no failure
//!   but something to react to, by compensation for example.
//! - A deadline that is due is a trigger once, unless it was cancelled, or set anew, first.
//! - The events of a process, and what came of its commands, are delivered in the order of the
//!   log; so are its commands. A deadline waits for neither and holds up neither.
//!
//! # Why the commands are stored
//!
//! A reaction is pure, so its commands could also be found again by reacting again, after a crash,
//! to the state as it was before. But then a program that was changed meanwhile would find
//! others, of which some were executed already; and every attempt would have to fold a past.
//! Stored beside the events that explain them, they are what was decided, they can be looked at,
//! and carrying them out is nothing but another delivery.
//!
//! # When a command fails
//!
//! A refusal is an answer. An error is tried again as the inbox's [`Retries`] say: if the store
//! is away, for example. One that will not go away by itself, such as a command that is not
//! registered any more, makes a dead letter of the delivery, which [`Inboxes`] lists, retries and
//! skips; until then the process's further commands wait, and its events and deadlines do not.

mod book;
mod commands;
mod inputs;
mod issued;
mod manager;
mod react;
mod schedule;
mod steps;

use annals_core::{Position, RecordedEvent};

use crate::Aggregate;

pub use commands::Commands;
pub use inputs::Inputs;
pub use issued::{IssueError, Issued};
pub use schedule::{Cancelled, Schedule, ScheduleError};
pub use steps::Steps;

pub(crate) use book::is_kept;
#[cfg(feature = "testing")]
pub(crate) use steps::Step;

#[cfg(doc)]
use crate::inbox::Retries;
#[cfg(doc)]
use crate::{Annals, Inbox, Inboxes};

/// An aggregate that reacts to events of others, and issues commands and sets deadlines because
/// of them. The [module](self) says what is guaranteed.
pub trait ProcessManager: Aggregate {
    /// The events it reacts to: an enum of events, or several with [`inputs!`](crate::inputs).
    type Input: Inputs;

    /// The name of its inbox, under which it keeps how far it has come.
    const NAME: &'static str;

    /// The commands it may issue, and the names under which they are stored.
    fn commands() -> Commands;

    /// Which process an event concerns; `None` for none. Pure.
    fn process_id(event: &Self::Input, recorded: &RecordedEvent) -> Option<Self::Id>;

    /// What is to be done now, in the state that the process's own events have come to.
    ///
    /// Pure, because it is asked again when something else has come to the process meanwhile.
    /// What it passes over in silence, neither recording an event nor saying what to do, leaves
    /// no trace.
    fn react(&self, trigger: Trigger<'_, Self::Input>, todo: &mut Steps<Self>);
}

/// What a process manager reacts to.
#[derive(Debug)]
#[non_exhaustive]
pub enum Trigger<'a, I> {
    /// An event that concerns it.
    Event {
        /// The event, as the domain knows it.
        event: &'a I,
        /// The same as it is stored.
        recorded: &'a RecordedEvent,
    },
    /// A deadline of its own is due, and was neither cancelled nor set anew.
    Deadline {
        /// As it was named.
        name: &'a str,
    },
    /// A command of its own was executed.
    Accepted {
        /// Which.
        command: &'a Issued,
        /// The position of the last event of the stream that it was executed on: hand it to a
        /// reader to read what it has written.
        position: Position,
    },
    /// A command of its own was refused, by the domain, by its own validation, by who may, or by
    /// a stream that takes no more events. Nothing was recorded of it.
    Refused {
        /// Which.
        command: &'a Issued,
        /// The group of the refusal: `refused`, `invalid` or `denied`.
        code: &'a str,
        /// What the refusal said.
        message: &'a str,
    },
}
