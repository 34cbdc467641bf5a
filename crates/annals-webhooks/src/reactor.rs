//! Webhooks as a reactor behind inboxes.

use annals::{ReactError, Reacting, Reactor, RecordedEvent};
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
        let (event, attempt) = (reacting.event(), reacting.attempt());
        if !self.still_wants(&webhook, event).await? {
            return Ok(());
        }
        let id = message_id(event, reacting.part());
        let is_last = attempt >= self.options().attempts_max;
        let errand = Errand { id: &id, webhook: &webhook, event, attempt, is_last };
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

/// The `webhook-id`: each of the events that one was split into is a message of its own, and
/// receivers pass over ids that they have. Without full stops, which separate what is signed.
fn message_id(event: &RecordedEvent, part: usize) -> String {
    match part {
        0 => event.id.to_string(),
        part => format!("{}-{part}", event.id),
    }
}
