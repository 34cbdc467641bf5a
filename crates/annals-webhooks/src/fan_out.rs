//! From one event to a delivery for each webhook that wants it.

use annals::{
    DeliveryId, EventId, EventRef, Inbox, Inboxes, NewDelivery, ReactError, Reacting, Reactor,
    RecordedEvent, Timestamp,
};
use async_trait::async_trait;

use crate::webhook::WebhookId;
use crate::webhooks::Webhooks;

/// Hands events on to the webhooks that want them: for each of them it puts a delivery into an
/// inbox of its own, so that a receiver that is slow or dead holds up nobody else.
///
/// It looks at the webhooks as they stand when the event was recorded, or later, so that no change
/// of them comes too late. An event that comes again, after a crash, makes the same deliveries,
/// and so no new ones.
///
/// An event that cannot be upcast stays here, as one dead letter: who wants it is not known before
/// it can be. It is handed on when it is retried.
pub(crate) struct FanOut {
    pub(crate) webhooks: Webhooks,
    pub(crate) inboxes: Inboxes,
}

impl FanOut {
    /// The inbox that reads the log, for all webhooks together.
    pub(crate) fn inbox(self) -> Inbox {
        let webhooks = self.webhooks.clone();
        Inbox::new("webhooks", self)
            .accepts_if(move |event: &RecordedEvent| !webhooks.registrations().nobody_wants(event))
            .unordered()
    }
}

#[async_trait]
impl Reactor for FanOut {
    async fn react(&self, reacting: &Reacting) -> Result<(), ReactError> {
        let event = reacting.event();
        let now = self.webhooks.options().clock.now();
        let all = self.webhooks.registrations().at(event.position).await?;
        let recipients: Vec<_> = all.values().filter(|each| each.wants(event)).collect();
        if recipients.is_empty() {
            return Ok(());
        }
        let deliveries = recipients.iter().map(|each| new_delivery(&each.id, event, None, now));
        self.inboxes.enqueue(deliveries.collect()).await?;
        Ok(())
    }
}

/// A delivery of an event to a webhook. In no lane: one message that fails holds up no other.
pub(crate) fn new_delivery(
    webhook: &WebhookId,
    event: &RecordedEvent,
    again: Option<EventId>,
    due_at: Timestamp,
) -> NewDelivery {
    let inbox = webhook.inbox();
    let again = again.map(|run| format!("again-{run}"));
    NewDelivery {
        id: DeliveryId::new(&inbox, event.id, again.as_deref()),
        inbox,
        event: EventRef {
            id: event.id,
            position: event.position,
            stream: event.stream.clone(),
            version: event.version,
            event_type: event.event_type.clone(),
        },
        recipient: Some(webhook.to_string()),
        lane: None,
        due_at,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use annals::{
        Annals, Data, DeliveryQueue, EventStoreExt, EventType, ExpectedVersion, MemoryReadSide,
        MemoryStore, NewEvent, Read, SelectDeliveries, StreamId, SubscriberName,
    };

    use super::*;
    use crate::{MemorySecrets, NewWebhook, WebhookOptions};

    async fn happens(annals: &Annals) -> RecordedEvent {
        let event = NewEvent::new(EventType::from_static("MoneyDeposited"), Data::json("{}"));
        let stream = StreamId::from_static("account-1");
        let store = annals.store();
        let append = store.append_to(stream.clone(), ExpectedVersion::Any, [event]);
        append.await.expect("appended");
        let read = store.read_to_end(Read::stream(stream).backward().limit(1));
        read.await.expect("read").remove(0)
    }

    async fn hand_on(fan_out: &FanOut, event: RecordedEvent) {
        let inbox = SubscriberName::from_static("webhooks");
        let id = DeliveryId::new(&inbox, event.id, None);
        fan_out.react(&Reacting::new(id, 1, None, event)).await.expect("handed on");
    }

    #[tokio::test]
    async fn no_event_behind_a_registration_is_missed_whoever_registered_it() {
        let annals = Annals::new(MemoryStore::new());
        let process = || {
            let secrets = MemorySecrets::default();
            Webhooks::new(annals.clone(), secrets, WebhookOptions::default()).unwrap()
        };
        let (queue, elsewhere) = (Arc::new(MemoryReadSide::new()), process());
        let inboxes = Inboxes::over(Arc::clone(&queue) as _);
        let fan_out = FanOut { webhooks: process(), inboxes };
        hand_on(&fan_out, happens(&annals).await).await;

        let crm = elsewhere.register(NewWebhook::to("https://crm.example/")).await.unwrap();
        let event = happens(&annals).await;
        assert!(!fan_out.webhooks.registrations().nobody_wants(&event));
        hand_on(&fan_out, event.clone()).await;
        hand_on(&fan_out, event.clone()).await;
        let which = SelectDeliveries::inbox(crm.id.inbox());
        let deliveries = queue.deliveries(&which, 10).await.unwrap();
        let [delivery] = &deliveries[..] else { panic!("one, also when it comes again") };
        assert_eq!(delivery.event.id, event.id);
    }
}
