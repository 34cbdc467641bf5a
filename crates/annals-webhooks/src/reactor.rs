//! Webhooks as a reactor behind inboxes.

use annals::{ReactError, Reacting, Reactor};
use async_trait::async_trait;

use crate::deliver::{Errand, answer_of};
use crate::outcome::Outcome;
use crate::webhook::WebhookId;
use crate::webhooks::Webhooks;

/// Sends the event to the webhook that is the delivery's recipient, and notes the answer.
#[async_trait]
impl Reactor for Webhooks {
    async fn react(&self, reacting: &Reacting) -> Result<(), ReactError> {
        let recipient = reacting.recipient().unwrap_or_default();
        let webhook: WebhookId = recipient.parse().map_err(ReactError::permanent)?;
        let attempt = reacting.attempt();
        let is_last = attempt >= self.options().attempts_max;
        let errand = Errand { webhook: &webhook, event: reacting.event(), attempt, is_last };
        let delivered = self.deliver(&errand).await;
        if let Some(answer) = answer_of(&delivered) {
            reacting.note(answer.shown());
        }
        let Err(undelivered) = delivered else { return Ok(()) };
        Err(match undelivered.outcome() {
            Outcome::Transient { retry_after: Some(wait) } => {
                ReactError::retry_after(wait, undelivered)
            }
            Outcome::Transient { retry_after: None } => ReactError::transient(undelivered),
            Outcome::Permanent | Outcome::Gone | Outcome::Delivered => {
                ReactError::permanent(undelivered)
            }
        })
    }
}
