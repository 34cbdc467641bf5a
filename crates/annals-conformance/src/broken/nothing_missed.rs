//! Breaches of S5.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals_core::error::{AppendError, ReadError};
use annals_core::subscription::follow;
use annals_core::{
    Append, EventStore, EventStream, Notice, Position, Read, Receipt, Subscribe, Subscription,
};
use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::sync::{Notify, watch};

use crate::decorate::{Decorator, without};

/// Shows some appends only after later ones, as a sequence does whose numbers are drawn before
/// the transactions commit, and lets readers go on from the last position they have seen.
#[derive(Debug, Default)]
pub struct PublishesLate {
    hidden: Arc<Mutex<BTreeSet<Position>>>,
    passed: Notify,
    head: watch::Sender<Position>,
}

impl PublishesLate {
    fn hides(&self) -> std::sync::MutexGuard<'_, BTreeSet<Position>> {
        self.hidden.lock().expect("no code panics while hiding")
    }
}

fn visible(hidden: &Arc<Mutex<BTreeSet<Position>>>, events: EventStream) -> EventStream {
    let hidden = hidden.clone();
    let shown = events.filter(move |event| {
        let hidden = hidden.lock().expect("no code panics while hiding");
        let hides = matches!(event, Ok(event) if hidden.contains(&event.position));
        std::future::ready(!hides)
    });
    Box::pin(shown)
}

#[async_trait]
impl Decorator for PublishesLate {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        let receipt = store.append(append).await?;
        self.passed.notify_waiters();
        // Every third append commits late.
        if receipt.first_position.get() % 3 == 0 {
            let range = receipt.first_position.get()..=receipt.last_position.get();
            self.hides().extend(range.clone().map(Position::new));
            let _ = tokio::time::timeout(Duration::from_millis(3), self.passed.notified()).await;
            tokio::task::yield_now().await;
            self.hides().retain(|position| !range.contains(&position.get()));
        }
        self.head.send_if_modified(|head| {
            let moved = receipt.last_position > *head;
            *head = receipt.last_position.max(*head);
            moved
        });
        Ok(receipt)
    }

    fn read(&self, store: &Arc<dyn EventStore>, read: Read) -> EventStream {
        visible(&self.hidden, store.read(read))
    }

    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        let (store, hidden) = (store.clone(), self.hidden.clone());
        follow(move |read| visible(&hidden, store.read(read)), self.head.subscribe(), subscribe)
    }
}

/// Reads what is stored, then follows from the head: what came in between is lost.
#[derive(Debug)]
pub struct MissesTheBorder;

#[async_trait]
impl Decorator for MissesTheBorder {
    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        let store = store.clone();
        Box::pin(async_stream::stream! {
            let mut stored = store.subscribe(subscribe.clone());
            while let Some(Ok(notice)) = stored.next().await {
                let caught_up = matches!(notice, Notice::CaughtUp(_));
                yield Ok(notice);
                if caught_up {
                    break;
                }
            }
            let next = tokio::time::timeout(Duration::from_millis(3), stored.next());
            let _ = next.await;
            let mut live = store.subscribe(subscribe.from_head());
            let mut first = true;
            while let Some(notice) = live.next().await {
                if !(first && matches!(notice, Ok(Notice::CaughtUp(_)))) {
                    yield notice;
                }
                first = false;
            }
        })
    }
}

/// Delivers the last event again when the subscription has caught up.
#[derive(Debug)]
pub struct DeliversTwice;

#[async_trait]
impl Decorator for DeliversTwice {
    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        let mut notices = store.subscribe(subscribe);
        Box::pin(async_stream::stream! {
            let mut last = None;
            while let Some(notice) = notices.next().await {
                let again = match &notice {
                    Ok(Notice::Event(event)) => {
                        last = Some(event.clone());
                        None
                    }
                    _ => last.take(),
                };
                yield notice;
                if let Some(event) = again {
                    yield Ok(Notice::Event(event));
                }
            }
        })
    }
}

/// Subscribers do not get every seventh event.
#[derive(Debug)]
pub struct SkipsEvents;

#[async_trait]
impl Decorator for SkipsEvents {
    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        without(
            store.subscribe(subscribe),
            |notice| matches!(notice, Notice::Event(event) if event.position.get() % 7 == 0),
        )
    }
}

/// Tells a head that lies before what is acknowledged, as a replica does.
#[derive(Debug, Default)]
pub struct LagsBehind {
    before: Mutex<Position>,
}

#[async_trait]
impl Decorator for LagsBehind {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        let head = store.head().await?;
        let receipt = store.append(append).await;
        *self.before.lock().expect("no code panics while lagging") = head;
        receipt
    }

    async fn head(&self, _: &Arc<dyn EventStore>) -> Result<Position, ReadError> {
        Ok(*self.before.lock().expect("no code panics while lagging"))
    }
}

/// Tells a head that has been drawn from the sequence, but not been written to yet.
#[derive(Debug)]
pub struct RunsAhead;

#[async_trait]
impl Decorator for RunsAhead {
    async fn head(&self, store: &Arc<dyn EventStore>) -> Result<Position, ReadError> {
        let head = store.head().await?;
        Ok(Position::new(if head == Position::START { 0 } else { head.get() + 20 }))
    }
}
