//! Reactors: code that runs because an event happened.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_core::{DeliveryId, RecordedEvent};
use async_trait::async_trait;

use crate::error::DecodeError;
use crate::{Decoded, Event};

/// Code that runs because an event happened, durably: it is tried until it succeeds, or its
/// inbox gives up and keeps the delivery as a dead letter.
///
/// It may run more than once for the same event: when the process dies behind the deed and
/// before it was noted, for example. What it does elsewhere it marks with the
/// [delivery's id](Reacting::id), which is the same each time, and what it executes here with
/// [`command_id`](Reacting::command_id), which makes a repeat of it.
///
/// It runs in a [`Context`](crate::Context) in which the event is the cause, so that whatever it
/// records belongs to the same conversation.
///
/// ```
/// use annals::{Event, ReactError, Reacting, Reactor};
///
/// #[derive(Debug, Event)]
/// enum IssueEvent {
///     IssueAssigned { to: String },
/// }
///
/// struct Email;
///
/// #[async_trait::async_trait]
/// impl Reactor for Email {
///     async fn react(&self, reacting: &Reacting) -> Result<(), ReactError> {
///         for IssueEvent::IssueAssigned { to } in reacting.events::<IssueEvent>()? {
///             send(&to, &reacting.id().to_string()).await?;
///         }
///         Ok(())
///     }
/// }
/// # async fn send(to: &str, id: &str) -> Result<(), std::io::Error> { Ok(()) }
/// ```
#[async_trait]
pub trait Reactor: Send + Sync + 'static {
    /// Reacts to one event.
    ///
    /// # Errors
    /// [`ReactError`] says whether to try again. Any other error that `?` turns into one is
    /// taken for transient.
    async fn react(&self, reacting: &Reacting) -> Result<(), ReactError>;
}

#[async_trait]
impl<R: Reactor + ?Sized> Reactor for Arc<R> {
    async fn react(&self, reacting: &Reacting) -> Result<(), ReactError> {
        (**self).react(reacting).await
    }
}

/// What a reactor gets to see: an event on its way, and which attempt this is. Clones share the
/// note.
#[derive(Clone)]
pub struct Reacting {
    id: DeliveryId,
    attempt: u32,
    recipient: Option<String>,
    event: RecordedEvent,
    /// Which of the events that the stored one was split into, from 0.
    part: usize,
    note: Arc<Mutex<Option<String>>>,
}

impl Reacting {
    /// An event as it is handed to a reactor.
    #[must_use]
    pub fn new(
        id: DeliveryId,
        attempt: u32,
        recipient: Option<String>,
        event: RecordedEvent,
    ) -> Self {
        Self { id, attempt, recipient, event, part: 0, note: Arc::default() }
    }

    /// The same attempt at another of the events that the stored one was split into.
    pub(crate) fn with_part(&self, part: usize, event: RecordedEvent) -> Self {
        Self { event, part, ..self.clone() }
    }

    /// What the delivery is called, the same in every attempt.
    #[must_use]
    pub fn id(&self) -> &DeliveryId {
        &self.id
    }

    /// The number of this attempt, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// To whom behind the inbox, where it has several recipients.
    #[must_use]
    pub fn recipient(&self) -> Option<&str> {
        self.recipient.as_deref()
    }

    /// The event, in its newest shape.
    #[must_use]
    pub fn event(&self) -> &RecordedEvent {
        &self.event
    }

    /// Which of the events that the stored one was split into this is, from 0. They come one after
    /// the other in the same attempt, and have the same id, version and position.
    #[must_use]
    pub fn part(&self) -> usize {
        self.part
    }

    /// The event as a domain knows it: one, unless an upcaster splits or drops it, and none if
    /// its type is not one of `E`'s.
    ///
    /// # Errors
    /// When the stored data do not fit, which no further attempt will change.
    pub fn events<E: Event>(&self) -> Result<Decoded<E>, ReactError> {
        crate::event::decode(&self.event, crate::UnknownTypes::Skip)
            .map_err(ReactError::undecodable)
    }

    /// The id of the command that a reactor executes because of this delivery; `what` tells one
    /// from another where there are several. The same in every attempt, so that it is executed
    /// once.
    #[must_use]
    pub fn command_id(&self, what: &str) -> String {
        match self.part {
            0 => format!("{}/{what}", self.id),
            // Commands because of the one part are no repeats of those because of another.
            part => format!("{}/{what}/{part}", self.id),
        }
    }

    /// Notes what the other side said, for people who look at the attempts. The last note counts;
    /// what is longer than 8 KiB is cut.
    pub fn note(&self, note: impl Into<String>) {
        *self.note.lock().expect("nobody panics while holding the note") = Some(note.into());
    }

    /// What was noted.
    pub fn noted(&self) -> Option<String> {
        self.note.lock().expect("nobody panics while holding the note").clone()
    }
}

impl fmt::Debug for Reacting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, attempt, recipient, event, .. } = self;
        f.debug_struct("Reacting")
            .field("id", id)
            .field("attempt", attempt)
            .field("recipient", recipient)
            .field("event", event)
            .finish_non_exhaustive()
    }
}

/// Why a reactor did not succeed, and whether it makes sense to try again.
///
/// It is made of any error with `?`, which is taken for transient then. So that this is possible
/// it is no [`Error`] itself; [`source`](Self::source) is.
#[derive(Debug)]
pub struct ReactError {
    kind: ReactErrorKind,
    source: Box<dyn Error + Send + Sync>,
}

/// What to do about a reactor's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else to do")]
pub enum ReactErrorKind {
    /// Try again, as the inbox does that.
    Transient,
    /// Try again, but not before this time has passed.
    RetryAfter(Duration),
    /// Do not try again: the delivery is a dead letter.
    Permanent,
}

impl ReactError {
    /// Another attempt may succeed.
    pub fn transient(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: ReactErrorKind::Transient, source: source.into() }
    }

    /// Another attempt may succeed, but not before this time has passed.
    pub fn retry_after(wait: Duration, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: ReactErrorKind::RetryAfter(wait), source: source.into() }
    }

    /// No other attempt will succeed.
    pub fn permanent(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: ReactErrorKind::Permanent, source: source.into() }
    }

    fn undecodable(error: DecodeError) -> Self {
        Self::permanent(error)
    }

    /// What to do about it.
    #[must_use]
    pub fn kind(&self) -> ReactErrorKind {
        self.kind
    }

    /// What went wrong.
    #[must_use]
    pub fn source(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.source
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for ReactError {
    fn from(error: E) -> Self {
        Self::transient(error)
    }
}
