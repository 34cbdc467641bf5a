//! Many webhooks in one engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use annals::{
    Annals, Append, AppendError, EventStore, EventStream, Limits, MemoryStore, Position, Read,
    ReadError, Receipt, SelectDeliveries, Subscribe, Subscription,
};
use async_trait::async_trait;

use crate::running::{Running, ids, until};
use crate::world::{Receiver, World, silent};

/// A log that counts who follows it.
#[derive(Debug)]
struct Followed {
    inner: MemoryStore,
    followed: Arc<AtomicUsize>,
}

#[async_trait]
impl EventStore for Followed {
    async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        self.inner.append(append).await
    }

    fn read(&self, read: Read) -> EventStream {
        self.inner.read(read)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        self.followed.fetch_add(1, Ordering::SeqCst);
        self.inner.subscribe(subscribe)
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.inner.head().await
    }

    fn limits(&self) -> &Limits {
        self.inner.limits()
    }
}

#[tokio::test]
async fn however_many_webhooks_there_are_the_log_is_followed_once() {
    let followed = Arc::new(AtomicUsize::new(0));
    let log = Followed { inner: MemoryStore::new(), followed: Arc::clone(&followed) };
    let running = Running::of(World::over(Annals::new(log), |options| options)).await;
    let receiver = Receiver::start().await;
    let first = running.register("w-0", receiver.url()).await;
    running.world.deposit().await;
    ids(&receiver, 1).await;
    let before = followed.load(Ordering::SeqCst);
    for number in 1..40 {
        running.register(&format!("w-{number}"), receiver.url()).await;
    }
    let event = running.world.deposit().await.id.to_string();
    let got = ids(&receiver, 41).await;
    assert!(got[1..].iter().all(|id| *id == event), "{got:?}");
    assert_eq!(followed.load(Ordering::SeqCst), before, "nobody follows it because of a webhook");
    // What was handed on was read once, and is no delivery of the others.
    let all = SelectDeliveries::inbox(first.inbox());
    assert_eq!(running.queue.deliveries(&all, 99).await.unwrap().len(), 2);
}

#[tokio::test]
async fn one_that_is_disabled_while_it_hangs_holds_up_no_other() {
    let world = World::with(|options| options.timeout(Duration::from_hours(1)));
    let (running, receiver) = (Running::of(world).await, Receiver::start().await);
    let hangs = running.register("a-hangs", format!("http://{}/", silent().await)).await;
    running.world.deposit().await;
    let taken = SelectDeliveries::inbox(hangs.inbox()).state(annals::DeliveryState::Taken);
    until(async || running.queue.deliveries(&taken, 9).await.unwrap().len() == 1).await;
    running.world.webhooks.disable(&hangs, "it hangs").await.unwrap();
    running.register("crm", receiver.url()).await;
    let event = running.world.deposit().await.id.to_string();
    assert_eq!(ids(&receiver, 1).await, [event]);
}
