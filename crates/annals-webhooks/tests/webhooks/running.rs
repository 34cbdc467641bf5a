//! Webhooks that run: from an event to its receiver.

use std::sync::Arc;
use std::time::Duration;

use annals::{
    Clock, DeliveryQueue, DeliveryState, EventType, MemoryReadSide, Position, SelectDeliveries,
    Timestamp,
};
use annals_webhooks::{EventFilter, NewWebhook, Replay, ReplayError, RunningWebhooks, WebhookId};

use crate::world::{Receiver, World, silent};

/// Long enough for a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Running {
    pub(crate) world: World,
    pub(crate) queue: Arc<dyn DeliveryQueue>,
    webhooks: RunningWebhooks,
}

impl Running {
    pub(crate) async fn start() -> Self {
        Self::of(World::new()).await
    }

    pub(crate) async fn of(world: World) -> Self {
        let queue: Arc<dyn DeliveryQueue> = Arc::new(MemoryReadSide::new());
        let webhooks = world.webhooks.start(Arc::clone(&queue)).await.expect("it runs");
        Self { world, queue, webhooks }
    }

    pub(crate) async fn register(&self, id: &str, url: String) -> WebhookId {
        let id: WebhookId = id.parse().expect("an id");
        let types = [EventType::from_static("MoneyDeposited")];
        let new = NewWebhook::to(url).id(id.clone()).types(types);
        self.world.webhooks.register(new).await.expect("it can be registered");
        id
    }

    pub(crate) async fn replay(&self, id: &WebhookId, which: Replay) -> Result<u64, ReplayError> {
        self.world.webhooks.replay(self.webhooks.inboxes(), id, which).await
    }

    async fn all(&self, id: &WebhookId) -> usize {
        let which = SelectDeliveries::inbox(id.inbox());
        self.queue.deliveries(&which, 1_000).await.expect("the queue answers").len()
    }

    async fn stands(&self, id: &WebhookId, state: DeliveryState) -> usize {
        let which = SelectDeliveries::inbox(id.inbox()).state(state);
        self.queue.deliveries(&which, 1_000).await.expect("the queue answers").len()
    }
}

/// Waits until a receiver has got so many messages, and says their ids.
pub(crate) async fn ids(receiver: &Receiver, count: usize) -> Vec<String> {
    until(async || receiver.got().len() >= count).await;
    receiver.got().iter().map(|got| got.header("webhook-id").to_owned()).collect()
}

pub(crate) async fn until(condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("it happens before the deadline");
}

#[tokio::test]
async fn what_happens_is_sent_to_whoever_is_registered_while_it_runs() {
    let (running, first, second) =
        (Running::start().await, Receiver::start().await, Receiver::start().await);
    running.world.deposit().await;
    running.register("first", first.url()).await;
    let one = running.world.deposit().await.id.to_string();
    running.register("second", second.url()).await;
    running.world.happens("account-1", "MoneyWithdrawn").await;
    let two = running.world.deposit().await.id.to_string();

    assert_eq!(
        ids(&second, 1).await[..],
        *std::slice::from_ref(&two),
        "only what it wants, from its registration on"
    );
    let mut got = ids(&first, 2).await;
    got.sort();
    assert_eq!(got, [one, two]);
    running.webhooks.stop().await;
}

#[tokio::test]
async fn a_dead_receiver_holds_up_nobody_else() {
    let (running, receiver) = (Running::start().await, Receiver::start().await);
    let dead = running.register("dead", format!("http://{}/", silent().await)).await;
    let well = running.register("well", receiver.url()).await;
    for _ in 0..50 {
        running.world.deposit().await;
    }
    ids(&receiver, 50).await;
    assert_eq!(running.stands(&well, DeliveryState::Dead).await, 0);
    assert_eq!(running.world.webhooks.attempts(&dead).len(), 0, "none has come to an end yet");
}

#[tokio::test]
async fn a_failed_message_is_tried_again_and_the_others_do_not_wait() {
    let world =
        World::with(|options| options.waits(Duration::from_hours(1), Duration::from_hours(1)));
    let (running, receiver) = (Running::of(world).await, Receiver::start().await);
    let crm = running.register("crm", receiver.url()).await;
    receiver.answers(500, &[], "");
    let first = running.world.deposit().await.id.to_string();
    ids(&receiver, 1).await;
    let second = running.world.deposit().await.id.to_string();
    assert_eq!(ids(&receiver, 2).await, [first.clone(), second.clone()]);

    // The inbox looks at the clock from time to time.
    until(async || running.world.webhooks.attempts(&crm).len() == 2).await;
    running.world.later(Duration::from_hours(2));
    assert_eq!(ids(&receiver, 3).await, [first.clone(), second, first]);
}

#[tokio::test]
async fn what_waits_while_a_webhook_is_disabled_is_sent_when_it_is_enabled() {
    let (running, receiver) = (Running::start().await, Receiver::start().await);
    let crm = running.register("crm", receiver.url()).await;
    receiver.answers(503, &[("retry-after", "60")], "");
    let waiting = running.world.deposit().await.id.to_string();
    ids(&receiver, 1).await;
    until(async || running.stands(&crm, DeliveryState::Waiting).await == 1).await;

    running.world.webhooks.disable(&crm, "it moves").await.unwrap();
    running.world.deposit().await;
    running.world.later(Duration::from_hours(1));
    running.world.webhooks.enable(&crm).await.unwrap();
    let after = running.world.deposit().await.id.to_string();
    let mut got = ids(&receiver, 3).await;
    got[1..].sort();
    let mut expected = [waiting.clone(), after];
    expected.sort();
    assert_eq!((&got[0], &got[1..]), (&waiting, &expected[..]));
}

#[tokio::test]
async fn nothing_is_kept_of_a_webhook_that_is_removed() {
    let (running, receiver) = (Running::start().await, Receiver::start().await);
    let [crm, other] = [
        running.register("crm", receiver.url()).await,
        running.register("other", receiver.url()).await,
    ];
    for _ in [&crm, &other] {
        receiver.answers(503, &[("retry-after", "60")], "");
    }
    let event = running.world.deposit().await;
    ids(&receiver, 2).await;
    for id in [&crm, &other] {
        until(async || running.stands(id, DeliveryState::Waiting).await == 1).await;
    }
    running.world.webhooks.remove(&crm).await.unwrap();
    until(async || running.queue.subscriber(&crm.inbox()).await.unwrap().is_none()).await;
    until(async || running.all(&crm).await == 0).await;
    assert_eq!(running.all(&other).await, 1);
    let replayed = running.replay(&crm, Replay::at(event.position)).await;
    assert!(matches!(replayed, Err(ReplayError::NotEnabled)), "{replayed:?}");
}

#[tokio::test]
async fn what_is_being_sent_to_a_webhook_that_is_removed_is_waited_for() {
    let world = World::with(|options| options.timeout(Duration::from_secs(2)));
    let (running, address) = (Running::of(world).await, silent().await);
    let crm = running.register("crm", format!("http://{address}/")).await;
    running.world.deposit().await;
    until(async || running.stands(&crm, DeliveryState::Taken).await == 1).await;
    running.world.webhooks.remove(&crm).await.unwrap();
    until(async || running.all(&crm).await == 0).await;
    assert_eq!(running.queue.subscriber(&crm.inbox()).await.unwrap(), None);
}

#[tokio::test]
async fn a_changed_filter_holds_from_then_on() {
    let (running, receiver) = (Running::start().await, Receiver::start().await);
    let crm = running.register("crm", receiver.url()).await;
    let deposit = running.world.deposit().await.id.to_string();
    ids(&receiver, 1).await;
    let withdrawals = EventFilter::all().types([EventType::from_static("MoneyWithdrawn")]);
    running.world.webhooks.update(&crm, receiver.url(), withdrawals, None).await.unwrap();
    until(async || running.world.told(&crm).await.len() == 2).await;
    let withdrawal = running.world.happens("account-1", "MoneyWithdrawn").await.id.to_string();
    assert_eq!(ids(&receiver, 2).await, [deposit, withdrawal]);
}

#[tokio::test]
async fn a_replay_sends_again_under_the_same_id() {
    let (running, receiver) = (Running::start().await, Receiver::start().await);
    let early = running.world.deposit().await;
    let crm = running.register("crm", receiver.url()).await;
    let event = running.world.deposit().await;
    let (early_id, id) = (early.id.to_string(), event.id.to_string());
    ids(&receiver, 1).await;

    assert_eq!(running.replay(&crm, Replay::at(event.position)).await.unwrap(), 1);
    assert_eq!(ids(&receiver, 2).await, [id.clone(), id.clone()]);
    let all = Replay::positions(Position::START, Position::END);
    assert_eq!(running.replay(&crm, all).await.unwrap(), 2, "and not that it was registered");
    let mut got = ids(&receiver, 4).await[2..].to_vec();
    got.sort();
    assert_eq!(got, [early_id, id], "also what happened before it was registered");
}

#[tokio::test]
async fn a_period_is_sent_again() {
    let (running, receiver) = (Running::start().await, Receiver::start().await);
    let crm = running.register("crm", receiver.url()).await;
    let first = running.world.deposit().await;
    until(async || annals::SystemClock.now() > first.recorded_at).await;
    let second = running.world.deposit().await;
    let between =
        async |from, until| running.replay(&crm, Replay::between(from, until)).await.unwrap();
    assert_eq!(between(first.recorded_at, second.recorded_at).await, 1);
    assert_eq!(between(Timestamp::MIN, first.recorded_at).await, 0);
    assert_eq!(between(first.recorded_at, Timestamp::MAX).await, 2);
}

#[tokio::test]
async fn what_is_disabled_is_not_replayed() {
    let (running, receiver) = (Running::start().await, Receiver::start().await);
    let crm = running.register("crm", receiver.url()).await;
    let event = running.world.deposit().await;
    running.world.webhooks.disable(&crm, "it moves").await.unwrap();
    let replayed = running.replay(&crm, Replay::at(event.position)).await;
    assert!(matches!(replayed, Err(ReplayError::NotEnabled)));
}
