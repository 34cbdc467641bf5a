//! Breaches of S5.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use annals_core::error::{AppendError, ReadError};
use annals_core::subscription::follow;
use annals_core::{
    Append, EventId, EventStore, EventStream, Notice, Position, Read, Receipt, Subscribe,
    Subscription,
};
use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::sync::{Notify, watch};

use crate::decorate::{Decorator, without};

/// Shows some appends only after later ones, as a sequence does whose numbers are drawn before
/// the transactions commit, and lets readers go on from the last position they have seen.
#[derive(Debug, Default)]
pub struct PublishesLate {
    appends: AtomicU64,
    late: Arc<Late>,
    head: watch::Sender<Position>,
}

/// What is committed late, and what happens meanwhile.
#[derive(Debug, Default)]
struct Late {
    events: Mutex<HashSet<EventId>>,
    overtaken: Notify,
    read: Notify,
}

impl Late {
    fn events(&self) -> MutexGuard<'_, HashSet<EventId>> {
        self.events.lock().expect("no code panics while hiding")
    }

    /// Holds an append back until a later one has been read, but not for long.
    async fn hold(&self) {
        for happened in [&self.overtaken, &self.read] {
            let _ = tokio::time::timeout(Duration::from_millis(3), happened.notified()).await;
        }
    }

    fn visible(self: &Arc<Self>, mut events: EventStream) -> EventStream {
        let late = self.clone();
        Box::pin(async_stream::stream! {
            while let Some(event) = events.next().await {
                let hidden = matches!(&event, Ok(event) if late.events().contains(&event.id));
                if !hidden {
                    yield event;
                }
            }
            late.read.notify_waiters();
        })
    }
}

#[async_trait]
impl Decorator for PublishesLate {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        let is_late = self.appends.fetch_add(1, Ordering::SeqCst) % 3 == 1;
        let ids: Vec<_> = append.events().map(|event| event.id).collect();
        if is_late {
            self.late.events().extend(&ids);
        }
        let outcome = store.append(append).await;
        if is_late {
            self.late.hold().await;
            self.late.events().retain(|id| !ids.contains(id));
        } else {
            self.late.overtaken.notify_waiters();
        }
        let receipt = outcome?;
        self.head.send_if_modified(|head| {
            let moved = receipt.last_position > *head;
            *head = receipt.last_position.max(*head);
            moved
        });
        Ok(receipt)
    }

    fn read(&self, store: &Arc<dyn EventStore>, read: Read) -> EventStream {
        self.late.visible(store.read(read))
    }

    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        let (store, late) = (store.clone(), self.late.clone());
        follow(move |read| late.visible(store.read(read)), self.head.subscribe(), subscribe)
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
            let mut seen = Position::START;
            let mut stored = store.subscribe(subscribe.clone());
            while let Some(Ok(notice)) = stored.next().await {
                let at = match &notice {
                    Notice::CaughtUp(at) => Some(*at),
                    Notice::Event(_) => None,
                };
                yield Ok(notice);
                if let Some(at) = at {
                    seen = at;
                    break;
                }
            }
            // Until something has come that will be lost.
            let _ = tokio::time::timeout(Duration::from_millis(3), stored.next()).await;
            let mut live = store.subscribe(subscribe.from_head());
            while let Some(notice) = live.next().await {
                if !matches!(notice, Ok(Notice::CaughtUp(at)) if at <= seen) {
                    yield notice;
                }
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
