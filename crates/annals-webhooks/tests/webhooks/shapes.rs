//! Events that are read in other shapes than they are stored in.

use annals::{
    Annals, DeliveryState, MemoryStore, Part, Position, SelectDeliveries, SubscriberName, Upcasters,
};
use annals_webhooks::{NewWebhook, Replay, ReplayError, WebhookId};

use crate::running::{Running, ids, until};
use crate::world::{Receiver, World};

async fn running(upcasters: &Upcasters) -> Running {
    let annals = Annals::new(MemoryStore::new()).with_upcasters(upcasters);
    Running::of(World::over(annals, |options| options)).await
}

/// A transfer is a withdrawal and a deposit now.
fn split() -> Upcasters {
    Upcasters::new().split("MoneyMoved", 1, &["MoneyWithdrawn", "MoneyDeposited"], |_| {
        let part = |event_type| Part::new(event_type, 1, serde_json::json!({ "amount": 100 }));
        vec![part("MoneyWithdrawn"), part("MoneyDeposited")]
    })
}

async fn wanting_all(running: &Running, id: &str, receiver: &Receiver) -> WebhookId {
    let id: WebhookId = id.parse().expect("an id");
    let new = NewWebhook::to(receiver.url()).id(id.clone());
    running.world.webhooks.register(new).await.expect("it can be registered");
    id
}

async fn dead(running: &Running, inbox: SubscriberName) -> usize {
    let dead = SelectDeliveries::inbox(inbox).state(DeliveryState::Dead);
    running.queue.deliveries(&dead, 9).await.expect("the queue answers").len()
}

#[tokio::test]
async fn parts_of_an_event_are_messages_with_ids_of_their_own() {
    let (running, all, deposits) =
        (running(&split()).await, Receiver::start().await, Receiver::start().await);
    let id = wanting_all(&running, "all", &all).await;
    running.register("deposits", deposits.url()).await;
    let event = running.world.happens("account-1", "MoneyMoved").await.id.to_string();
    let second = format!("{event}-1");
    assert_eq!(ids(&all, 2).await, [event.clone(), second.clone()]);
    let types: Vec<_> = all.got().iter().map(|got| got.event_type()).collect();
    assert_eq!(types, ["MoneyWithdrawn", "MoneyDeposited"]);
    let attempts = running.world.webhooks.attempts(&id);
    assert_eq!((&attempts[0].id, attempts[0].event.to_string()), (&second, event.clone()));
    // Whoever wants the one gets the one, under the same id.
    assert_eq!(ids(&deposits, 1).await[..], *std::slice::from_ref(&second));
    let replay = Replay::positions(Position::START, Position::END);
    assert_eq!(running.replay(&id, replay).await.unwrap(), 1, "one delivery, of both");
    assert_eq!(ids(&all, 4).await[2..], [event, second]);
    assert_eq!(deposits.got().len(), 1);
}

#[tokio::test]
async fn what_was_stored_under_an_older_name_is_replayed() {
    let upcasters = Upcasters::new().rename("Deposited", "MoneyDeposited");
    let (running, receiver) = (running(&upcasters).await, Receiver::start().await);
    let old = running.world.happens("account-1", "Deposited").await;
    running.world.happens("account-1", "MoneyWithdrawn").await;
    let id = running.register("crm", receiver.url()).await;
    let all = Replay::positions(Position::START, Position::END);
    assert_eq!(running.replay(&id, all).await.unwrap(), 1);
    assert_eq!(running.replay(&id, Replay::at(old.position)).await.unwrap(), 1);
    assert_eq!(ids(&receiver, 2).await, [old.id.to_string(), old.id.to_string()]);
    assert_eq!(receiver.got()[0].event_type(), "MoneyDeposited");
}

#[tokio::test]
async fn an_event_that_cannot_be_upcast_is_a_dead_letter_of_no_webhook() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Euros {
        euros: u32,
    }
    let upcasters = Upcasters::new().upcast_typed("MoneyDeposited", 1, |old: Euros| old);
    let (running, receiver) = (running(&upcasters).await, Receiver::start().await);
    let deposits = running.register("deposits", receiver.url()).await;
    let all = wanting_all(&running, "all", &receiver).await;
    let bad = running.world.happens("account-1", "MoneyDeposited").await;
    let reading = SubscriberName::from_static("webhooks");
    until(async || dead(&running, reading.clone()).await == 1).await;
    // What comes behind it is sent.
    let good = running.world.happens("account-1", "MoneyWithdrawn").await;
    assert_eq!(ids(&receiver, 1).await, [good.id.to_string()]);
    assert_eq!(dead(&running, deposits.inbox()).await, 0);
    assert_eq!(dead(&running, all.inbox()).await, 0);
    let replayed = running.replay(&all, Replay::at(bad.position)).await;
    assert!(matches!(replayed, Err(ReplayError::Read(_))), "{replayed:?}");
}
