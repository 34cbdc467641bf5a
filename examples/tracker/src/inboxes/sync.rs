//! Issues as another service keeps them: it is told of each change, of each issue in order.

use annals::{Annals, Inbox, ReactError, Reacting, Reactor, types};
use async_trait::async_trait;
use hyper::Method;
use serde_json::json;
use url::Url;

use super::{Outgoing, issue_after};
use crate::issue::{IssueEvent, id_of};

/// Keeps another service up to date.
#[derive(Debug)]
pub struct ExternalSync {
    annals: Annals,
    outgoing: Outgoing,
    service: Url,
}

impl ExternalSync {
    /// The service at this URL, which takes `PUT issues/ID` below it.
    #[must_use]
    pub fn to(mut service: Url, outgoing: Outgoing, annals: Annals) -> Self {
        if !service.path().ends_with('/') {
            service.set_path(&format!("{}/", service.path()));
        }
        Self { annals, outgoing, service }
    }

    /// The inbox; when it is new, the service gets to know every issue.
    #[must_use]
    pub fn inbox(self) -> Inbox {
        let synced = types!(IssueEvent::{IssueCreated, StatusChanged, IssueClosed, IssueReopened});
        Inbox::new("sync", self).accepts(synced).from_beginning().ordered_by_stream()
    }
}

#[async_trait]
impl Reactor for ExternalSync {
    async fn react(&self, reacting: &Reacting) -> Result<(), ReactError> {
        let event = reacting.event();
        let Some(issue) = issue_after(&self.annals, event).await? else { return Ok(()) };
        let path = format!("issues/{}", id_of(&event.stream));
        let url = self.service.join(&path).map_err(ReactError::permanent)?;
        let body = json!({
            "title": issue.title,
            "status": issue.status,
            "action": event.event_type,
            // By which the service can tell what is older than what it has.
            "version": event.version,
        });
        let key = reacting.id().as_str();
        reacting.note(self.outgoing.send(Method::PUT, &url, key, &body).await?);
        Ok(())
    }
}
