//! When nothing is sent any more.

use std::time::Duration;

use annals::ReactErrorKind;
use annals_webhooks::{Disabling, WebhookStatus};

use crate::world::{Receiver, World};

#[tokio::test]
async fn a_receiver_that_is_gone_is_disabled() {
    let (world, receiver) = (World::new(), Receiver::start().await);
    let crm = world.register(&receiver.url()).await;
    let event = world.deposit().await;
    receiver.answers(410, &[], "");
    let error = world.attempt(&crm.id, &event, 1).await.unwrap_err();
    assert_eq!(error.kind(), ReactErrorKind::Permanent);
    let webhook = world.webhooks.get(&crm.id).await.unwrap().unwrap().webhook;
    let reason = "the receiver answered 410 Gone".to_owned();
    assert_eq!(webhook.status, WebhookStatus::Disabled { reason });

    let error = world.attempt(&crm.id, &event, 2).await.unwrap_err();
    assert_eq!(error.kind(), ReactErrorKind::RetryAfter(Duration::from_mins(1)));
    assert!(error.source().to_string().contains("when it is enabled"), "{}", error.source());
    assert_eq!(receiver.got().len(), 1);
}

#[tokio::test]
async fn what_fails_for_too_long_is_disabled() {
    let disabling = Disabling::never().failing_from(2).failing_for(Duration::from_hours(24));
    let world = World::with(|options| options.disabling(disabling));
    let receiver = Receiver::start().await;
    let crm = world.register(&receiver.url()).await;
    let event = world.deposit().await;
    for attempt in 1..=4 {
        receiver.answers(500, &[], "");
        world.attempt(&crm.id, &event, attempt).await.unwrap_err();
        world.later(Duration::from_hours(8));
    }
    let types = ["WebhookRegistered", "WebhookFailing", "WebhookDisabled"];
    assert_eq!(world.told(&crm.id).await, types);

    world.webhooks.enable(&crm.id).await.unwrap();
    receiver.answers(500, &[], "");
    world.attempt(&crm.id, &event, 5).await.unwrap_err();
    let webhook = world.webhooks.get(&crm.id).await.unwrap().unwrap().webhook;
    assert_eq!(webhook.status, WebhookStatus::Enabled, "what was before does not count");
}

#[tokio::test]
async fn one_that_arrives_ends_the_failing() {
    let disabling = Disabling::never().failing_from(2).failing_for(Duration::from_hours(24));
    let world = World::with(|options| options.disabling(disabling));
    let receiver = Receiver::start().await;
    let crm = world.register(&receiver.url()).await;
    let event = world.deposit().await;
    for status in [500, 500, 204, 500, 204, 204] {
        receiver.answers(status, &[], "");
        let _ = world.attempt(&crm.id, &event, 1).await;
        world.later(Duration::from_hours(20));
    }
    let types = ["WebhookRegistered", "WebhookFailing", "WebhookRecovered"];
    assert_eq!(world.told(&crm.id).await, types, "a single failure is not recorded");
}

#[tokio::test]
async fn so_many_lost_messages_in_a_row_disable_a_webhook() {
    let disabling = Disabling::never().exhausted_max(3);
    let world = World::with(|options| options.disabling(disabling).attempts_max(2));
    let receiver = Receiver::start().await;
    let crm = world.register(&receiver.url()).await;
    let event = world.deposit().await;
    // The last of two attempts, and two that no further attempt can mend.
    for (attempt, status) in [(1, 500), (2, 500), (1, 400), (1, 302)] {
        receiver.answers(status, &[], "");
        world.attempt(&crm.id, &event, attempt).await.unwrap_err();
    }
    let webhook = world.webhooks.get(&crm.id).await.unwrap().unwrap().webhook;
    let reason = "3 messages in a row could not be delivered".to_owned();
    assert_eq!(webhook.status, WebhookStatus::Disabled { reason });
    assert_eq!(receiver.got().len(), 4);
}
