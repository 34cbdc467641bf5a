//! Inboxes: named durable reactors, each with its own query, queue, retries and dead letters.
//!
//! An [`Inbox`] says what is to happen because of which events, and how it is tried again.
//! [`Annals::inboxes`] runs them: one loop reads the log for all of them and puts what they accept
//! into a [`DeliveryQueue`], together with how far it has looked; from there each inbox takes its
//! own deliveries with its own workers, so that none of them holds up another.
//!
//! ```
//! use std::time::Duration;
//! use annals::inbox::Retries;
//! use annals::{Annals, DeliveryQueue, Event, Inbox, ReactError, Reacting, types};
//! # use std::sync::Arc;
//!
//! #[derive(Debug, Event)]
//! enum IssueEvent {
//!     IssueAssigned { to: String },
//!     IssueClosed,
//! }
//!
//! # async fn run(app: Annals, read_side: Arc<dyn DeliveryQueue>) -> Result<(), Box<dyn std::error::Error>> {
//! let email = Inbox::on(
//!     "email",
//!     types!(IssueEvent::{IssueAssigned}),
//!     |event: IssueEvent, delivery: Reacting| async move {
//!         if let IssueEvent::IssueAssigned { to } = event {
//!             send(&to, delivery.id().as_str()).await?;
//!         }
//!         Ok(())
//!     },
//! );
//! let inboxes = app
//!     .inboxes(read_side)
//!     .inbox(email.concurrency(4).retry(Retries::default().attempts_max(5)))
//!     .start()
//!     .await?;
//! // …
//! inboxes.pause("email").await?;
//! inboxes.stop().await;
//! # Ok(()) }
//! # async fn send(to: &str, id: &str) -> Result<(), std::io::Error> { Ok(()) }
//! ```
//!
//! # What it guarantees
//!
//! Every event that an inbox accepts is delivered to it at least once, whatever dies in between,
//! and nearly always exactly once; a delivery that comes again has the same
//! [id](crate::Reacting::id). A delivery that fails is tried again as [`Retries`] say; when those
//! are used up it is a dead letter, which people look at, retry or skip with [`Inboxes`].
//!
//! When a process dies in the middle of an attempt, that attempt counts, and so do those that it
//! made at the same time: whoever kills every process that tries it is a dead letter in the end.
//!
//! Any number of processes may run the same inboxes on one read side. One of them reads the log
//! for an inbox at a time; all of them make its deliveries. What a process held that died is
//! taken over when its [lease](InboxRunner::lease) is up.

mod attempt;
mod cohort;
mod current;
mod definition;
mod delivering;
mod dispatcher;
mod enduring;
mod engine;
mod forgetting;
mod hosted;
mod hours;
mod inboxes;
mod places;
mod rate;
mod reading;
mod retries;
mod runner;
mod running;
mod settling;
mod signals;
mod waiting;

pub use definition::{Accepted, Inbox};
pub use dispatcher::Dispatcher;
pub use hours::{InvalidHours, OpenHours, Weekday};
pub use inboxes::{InboxStatus, Inboxes};
pub use rate::RateLimit;
pub use retries::Retries;
pub use runner::{InboxRunner, StartError};
pub use running::RunningInboxes;
pub use waiting::WaitError;

#[cfg(doc)]
use crate::{Annals, DeliveryQueue};
