//! Handlers by the types of events they are for.

use crate::{Event, EventTypes, Inbox, ReactError, Reacting};

/// What is to happen because of which types of events, said in one place.
///
/// Each durable handler becomes an [inbox](crate::Inbox) of the same name: it survives crashes,
/// is retried, and disturbs no other.
///
/// ```
/// use annals::{Dispatcher, Event, ReactError, Reacting, types};
///
/// #[derive(Debug, Event)]
/// enum IssueEvent {
///     IssueAssigned { to: String },
///     IssueClosed,
/// }
/// use IssueEvent::*;
///
/// let dispatcher = Dispatcher::new()
///     .on("email", types!(IssueEvent::{IssueAssigned}), |event: IssueEvent, _| async move {
///         println!("to be sent: {event:?}");
///         Ok(())
///     })
///     .on("external-sync", types!(IssueEvent), |event: IssueEvent, delivery: Reacting| async move {
///         tell(delivery.id().as_str(), matches!(event, IssueClosed)).await?;
///         Ok(())
///     });
/// # async fn tell(id: &str, closed: bool) -> Result<(), std::io::Error> { Ok(()) }
/// ```
///
/// Handlers that run within the append's transaction, and can veto it, belong to the backends
/// that have transactions.
#[derive(Debug, Default)]
pub struct Dispatcher {
    /// The durable handlers.
    inboxes: Vec<Inbox>,
}

impl Dispatcher {
    /// Without any handler yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, and because of each event of these types `handler` runs, durably: as
    /// [`Inbox::on`].
    ///
    /// # Panics
    /// When `name` is no valid [`SubscriberName`](crate::SubscriberName): a mistake in the
    /// program.
    #[must_use]
    pub fn on<E, F, R>(self, name: &'static str, types: EventTypes, handler: F) -> Self
    where
        E: Event,
        F: Fn(E, Reacting) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), ReactError>> + Send + 'static,
    {
        self.inbox(Inbox::on(name, types, handler))
    }

    /// The same with an inbox that says more.
    #[must_use]
    pub fn inbox(mut self, inbox: Inbox) -> Self {
        self.inboxes.push(inbox);
        self
    }

    /// The durable handlers.
    pub(super) fn into_inboxes(self) -> Vec<Inbox> {
        self.inboxes
    }
}
