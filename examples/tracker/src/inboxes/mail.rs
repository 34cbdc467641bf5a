//! E-mail to whoever subscribes to an issue, except whoever did what it is about.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use annals::{Annals, Inbox, LoadError, ReactError, Reacting, Reactor, StreamId, Timestamp, types};
use async_trait::async_trait;
use lettre::address::Envelope;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::issue_after;
use crate::issue::{IssueEvent, id_of};
use crate::read_models::{IssueRow, People, actor};

/// How long the server may be silent.
const SERVER_PATIENCE: Duration = Duration::from_secs(10);

/// Sends mail by a server on this machine, which takes it without a password and in the clear.
#[derive(Debug)]
pub struct Mail {
    annals: Annals,
    server: AsyncSmtpTransport<Tokio1Executor>,
}

impl Mail {
    /// By the server at this address.
    #[must_use]
    pub fn by(server: SocketAddr, annals: Annals) -> Self {
        let server =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.ip().to_string())
                .port(server.port())
                .timeout(Some(SERVER_PATIENCE))
                .build();
        Self { annals, server }
    }

    /// The inbox; when it is new, nobody gets mail about what has been.
    #[must_use]
    pub fn inbox(self) -> Inbox {
        let notified = types!(IssueEvent::{IssueAssigned, IssueCommented, StatusChanged});
        Inbox::new("email", self).accepts(notified).from_now()
    }

    /// Their addresses, as the log has them.
    async fn addresses(&self, people: &[&String]) -> Result<Vec<Address>, LoadError> {
        let mut addresses = Vec::new();
        for id in people {
            // What rules and strangers are called is not always the name of a stream.
            let Ok(stream) = StreamId::of("person", id) else { continue };
            let person = self.annals.live(People).of_stream(stream).rows().await?;
            let Some(person) = person.into_values().next() else { continue };
            if let Ok(address) = person.email.parse::<Address>() {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }
}

#[async_trait]
impl Reactor for Mail {
    async fn react(&self, reacting: &Reacting) -> Result<(), ReactError> {
        let event = reacting.event();
        let Some(issue) = issue_after(&self.annals, event).await? else { return Ok(()) };
        let who = actor(event);
        let others: Vec<_> = issue.subscribers.iter().filter(|one| **one != who).collect();
        let to = self.addresses(&others).await?;
        if to.is_empty() {
            reacting.note("nobody to tell");
            return Ok(());
        }
        let count = to.len();
        for happened in reacting.events::<IssueEvent>()? {
            let text = said(&who, &happened);
            let message = message(reacting, &issue, &text, to.clone());
            let message = message.map_err(ReactError::permanent)?;
            let answer = self.server.send(message).await.map_err(failure)?;
            let said: Vec<_> = answer.message().collect();
            reacting.note(format!("{count} told; {} {}", answer.code(), said.join(" ")));
        }
        Ok(())
    }
}

/// One message to all, who do not see each other, so that all of them get it or none; and the same
/// one in each attempt, so that whoever gets it twice can tell.
fn message(
    reacting: &Reacting,
    issue: &IssueRow,
    text: &str,
    to: Vec<Address>,
) -> Result<Message, lettre::error::Error> {
    let event = reacting.event();
    let id = id_of(&event.stream);
    let delivery = reacting.id().as_str().replace('/', ".");
    let tracker: Address = "tracker@localhost".parse().expect("it is an address");
    // Whom it goes to is not whom it names for all to see.
    let envelope = Envelope::new(Some(tracker.clone()), to)?;
    let message = Message::builder()
        .envelope(envelope)
        .message_id(Some(format!("<{delivery}@tracker.localhost>")))
        .references(format!("<{}@tracker.localhost>", event.stream))
        .date(moment(event.occurred_at))
        .from(Mailbox::new(Some("Tracker".to_owned()), tracker.clone()))
        .to(Mailbox::new(Some(format!("Subscribers of {id}")), tracker.clone()))
        .subject(format!("[{id}] {}", issue.title));
    message.body(format!("{text}\n\n{}\n", issue.title))
}

fn moment(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(at.as_micros().max(0).unsigned_abs())
}

/// What happened, in a sentence.
fn said(who: &str, event: &IssueEvent) -> String {
    match event {
        IssueEvent::IssueAssigned { to } => format!("{who} assigned it to {to}."),
        IssueEvent::IssueCommented { text } => format!("{who} commented:\n\n{text}"),
        IssueEvent::StatusChanged { from, to } => {
            format!("{who} changed it from {} to {}.", from.words(), to.words())
        }
        IssueEvent::IssueCreated { .. } => format!("{who} created it."),
        IssueEvent::IssueClosed => format!("{who} closed it."),
        IssueEvent::IssueReopened => format!("{who} reopened it."),
        IssueEvent::IssueViewed => format!("{who} viewed it."),
    }
}

/// A server that says no for good is not asked again.
fn failure(error: smtp::Error) -> ReactError {
    if error.is_permanent() { ReactError::permanent(error) } else { ReactError::transient(error) }
}
