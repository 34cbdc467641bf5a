//! What happens, told in a room of a chat by its incoming webhook, as Slack has them.

use annals::{Annals, Inbox, ReactError, Reacting, Reactor, types};
use async_trait::async_trait;
use hyper::Method;
use serde_json::json;

use super::{Outgoing, Secluded, issue_after};
use crate::issue::{IssueEvent, id_of};
use crate::read_models::actor;

/// Tells it in a room.
#[derive(Debug)]
pub struct Chat {
    annals: Annals,
    outgoing: Outgoing,
    room: Secluded,
}

impl Chat {
    /// In the room that this URL leads to.
    #[must_use]
    pub fn to(room: Secluded, outgoing: Outgoing, annals: Annals) -> Self {
        Self { annals, outgoing, room }
    }

    /// The inbox; when it is new, nothing is told of what has been.
    #[must_use]
    pub fn inbox(self) -> Inbox {
        let told = types!(IssueEvent::{IssueCreated, IssueAssigned, IssueClosed, IssueReopened});
        Inbox::new("chat", self).accepts(told).from_now()
    }
}

#[async_trait]
impl Reactor for Chat {
    async fn react(&self, reacting: &Reacting) -> Result<(), ReactError> {
        let event = reacting.event();
        let Some(issue) = issue_after(&self.annals, event).await? else { return Ok(()) };
        for happened in reacting.events::<IssueEvent>()? {
            let did = match happened {
                IssueEvent::IssueAssigned { to } => format!("assigned to {to}"),
                IssueEvent::IssueClosed => "closed".to_owned(),
                IssueEvent::IssueReopened => "reopened".to_owned(),
                _ => "created".to_owned(),
            };
            let id = id_of(&event.stream);
            let text = plain(&format!("{} {did}: [{id}] {}", actor(event), issue.title));
            let body = json!({ "text": text });
            let key = reacting.id().as_str();
            reacting.note(self.outgoing.send(Method::POST, &self.room.0, key, &body).await?);
        }
        Ok(())
    }
}

/// Text that mentions nobody and links to nothing, whatever is in it.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
