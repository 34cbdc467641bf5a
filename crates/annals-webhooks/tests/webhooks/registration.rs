//! Registering webhooks and changing them.

use std::time::Duration;

use annals::{Category, EventStoreExt, EventType, Read, RecordedEvent};
use annals_webhooks::{
    EventFilter, NewWebhook, Secrets, WebhookId, WebhookOptions, WebhookRefusal, Webhooks,
    WebhooksError,
};

use crate::world::World;

const URL: &str = "https://crm.example/hook";

#[tokio::test]
async fn no_secret_is_ever_in_the_log() {
    let world = World::new();
    let crm = world.register(URL).await;
    let new = world.webhooks.rotate(&crm.id, Duration::from_hours(1)).await.unwrap();
    let events = world.annals.store().read_to_end(Read::all()).await.unwrap();
    assert_eq!(events.len(), 2);
    for secret in [crm.secret, new] {
        let text = secret.reveal();
        let inner = text.trim_start_matches("whsec_");
        for event in &events {
            let data = String::from_utf8_lossy(&event.data.bytes).into_owned();
            assert!(!data.contains(inner) && !data.contains("whsec_"), "{data}");
        }
    }
}

async fn wanting(webhooks: &Webhooks, event: &RecordedEvent) -> Vec<String> {
    let all = webhooks.list().await.expect("the log is read");
    all.iter().filter(|each| each.wants(event)).map(|each| each.id.to_string()).collect()
}

#[tokio::test]
async fn an_event_goes_to_those_who_want_it() {
    let world = World::new();
    let before = world.deposit().await;
    let register = async |id: &str, new: NewWebhook| {
        let id: WebhookId = id.parse().unwrap();
        world.webhooks.register(new.id(id)).await.unwrap();
    };
    register("all", NewWebhook::to(URL)).await;
    let deposits = [EventType::from_static("MoneyDeposited")];
    register("deposits", NewWebhook::to(URL).types(deposits)).await;
    let orders = [Category::from_static("order")];
    register("orders", NewWebhook::to(URL).categories(orders)).await;
    let webhooks = [Category::from_static("webhook")];
    register("webhooks", NewWebhook::to(URL).categories(webhooks)).await;

    let recipients = async |event| wanting(&world.webhooks, &event).await;
    let none: [&str; 0] = [];
    assert_eq!(recipients(before).await, none, "what happened before is not sent");
    assert_eq!(recipients(world.deposit().await).await, ["all", "deposits"]);
    let placed = world.happens("order-1", "OrderPlaced").await;
    assert_eq!(recipients(placed).await, ["all", "orders"]);

    let stream = annals::StreamId::from_static("webhook-webhooks");
    let told = world.annals.store().read_to_end(Read::stream(stream)).await.unwrap();
    assert_eq!(recipients(told[0].clone()).await, none, "where others lead is not for all");

    let all: WebhookId = "all".parse().unwrap();
    world.webhooks.disable(&all, "for a while").await.unwrap();
    let stream = annals::StreamId::new("webhook-all").unwrap();
    let disabled = world.annals.store().read_to_end(Read::stream(stream)).await.unwrap();
    assert_eq!(recipients(disabled[1].clone()).await, ["webhooks"]);
    let meanwhile = world.deposit().await;
    assert_eq!(recipients(meanwhile.clone()).await, ["deposits"]);
    world.webhooks.enable(&all).await.unwrap();
    assert_eq!(recipients(meanwhile).await, ["deposits"], "what happened meanwhile is not sent");
    assert_eq!(recipients(world.deposit().await).await, ["all", "deposits"]);
}

#[tokio::test]
async fn another_process_sees_what_was_registered() {
    let world = World::new();
    let elsewhere = Webhooks::new(
        world.annals.clone(),
        std::sync::Arc::clone(&world.secrets),
        WebhookOptions::default(),
    )
    .unwrap();
    assert!(elsewhere.list().await.unwrap().is_empty());
    let crm = world.register(URL).await;
    let event = world.deposit().await;
    assert_eq!(wanting(&elsewhere, &event).await, [crm.id.to_string()]);
    assert_eq!(elsewhere.list().await.unwrap(), world.webhooks.list().await.unwrap());
}

#[tokio::test]
async fn an_id_is_given_once() {
    let world = World::new();
    let id: WebhookId = "crm".parse().unwrap();
    let new = || NewWebhook::to(URL).id(id.clone());
    let first = world.webhooks.register(new()).await.unwrap();
    let again = world.webhooks.register(new()).await.unwrap_err();
    assert_eq!(again.refusal(), Some(&WebhookRefusal::Exists));
    let key = &stored_key(&world, &id).await;
    let kept = world.secrets.get(&id, key).await.unwrap().unwrap();
    assert_eq!(*kept.reveal(), *first.secret.reveal(), "the refused one has changed nothing");

    world.webhooks.remove(&id).await.unwrap();
    world.webhooks.remove(&id).await.unwrap();
    assert!(world.webhooks.list().await.unwrap().is_empty());
    assert!(world.secrets.get(&id, key).await.unwrap().is_none(), "its secret is forgotten");
    let again = world.webhooks.register(new()).await.unwrap_err();
    assert_eq!(again.refusal(), Some(&WebhookRefusal::Exists));
    let gone = world.webhooks.enable(&id).await.unwrap_err();
    assert_eq!(gone.refusal(), Some(&WebhookRefusal::Removed));
}

async fn stored_key(world: &World, id: &WebhookId) -> annals_webhooks::KeyId {
    let history = world.annals.history::<annals_webhooks::Webhook>(id.as_str());
    let events: Vec<_> =
        futures_util::TryStreamExt::try_collect(history).await.expect("the log is read");
    let first: &annals::Recorded<annals_webhooks::WebhookEvent> = &events[0];
    match &first.event {
        annals_webhooks::WebhookEvent::WebhookRegistered { key, .. } => key.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn secrets_that_have_run_out_are_forgotten_at_the_next_rotation() {
    let world = World::new();
    let crm = world.register(URL).await;
    let first = stored_key(&world, &crm.id).await;
    world.webhooks.rotate(&crm.id, Duration::from_hours(1)).await.unwrap();
    assert!(world.secrets.get(&crm.id, &first).await.unwrap().is_some());
    world.later(Duration::from_hours(1));
    world.webhooks.rotate(&crm.id, Duration::from_hours(1)).await.unwrap();
    assert!(world.secrets.get(&crm.id, &first).await.unwrap().is_none());
}

#[tokio::test]
async fn limits_are_kept() {
    let world = World::with(|options| options.webhooks_max(1));
    world.register(URL).await;
    let error = world.webhooks.register(NewWebhook::to(URL)).await.unwrap_err();
    assert!(matches!(error, WebhooksError::TooMany { max: 1 }), "{error}");

    let world = World::new();
    let long = NewWebhook::to(URL).description("x".repeat(501));
    let error = world.webhooks.register(long).await.unwrap_err();
    assert_eq!(error.to_string(), "description: write at most 500 characters");
    let types = (0..=EventFilter::NAMES_MAX).map(|n| EventType::new(format!("T{n}")).unwrap());
    let error = world.webhooks.register(NewWebhook::to(URL).types(types)).await.unwrap_err();
    assert_eq!(error.to_string(), "filter: name at most 100 types and 100 categories");
    for id in ["", "a b", "ä", &"x".repeat(49)] {
        id.parse::<WebhookId>().unwrap_err();
    }
}
