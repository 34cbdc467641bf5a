//! Subscriptions that break their promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_core::error::{AppendError, Fault, ReadError};
use annals_core::{
    Append, EventStore, Notice, Position, Query, Receipt, Subscribe, SubscribeFrom, Subscription,
};
use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::sync::watch;

use crate::decorate::{Decorator, without};

/// Says that it has caught up only behind an event.
#[derive(Debug)]
pub struct CatchesUpOnMatches;

#[async_trait]
impl Decorator for CatchesUpOnMatches {
    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        let mut notices = store.subscribe(subscribe);
        Box::pin(async_stream::stream! {
            let mut first = true;
            let mut matched = false;
            while let Some(notice) = notices.next().await {
                let event = matches!(notice, Ok(Notice::Event(_)));
                if event || matched || first {
                    yield notice;
                }
                first = first && event;
                matched = event;
            }
        })
    }
}

/// Says that it has caught up once, and never again.
#[derive(Debug)]
pub struct CatchesUpOnce;

#[async_trait]
impl Decorator for CatchesUpOnce {
    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        let said = AtomicUsize::new(0);
        without(store.subscribe(subscribe), move |notice| {
            matches!(notice, Notice::CaughtUp(_)) && said.fetch_add(1, Ordering::Relaxed) > 0
        })
    }
}

/// Says that it has caught up where the last event was, not where the log ends.
#[derive(Debug)]
pub struct CatchesUpTooEarly;

#[async_trait]
impl Decorator for CatchesUpTooEarly {
    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        Box::pin(store.subscribe(subscribe).map(|notice| match notice {
            Ok(Notice::CaughtUp(at)) if at > Position::START => {
                Ok(Notice::CaughtUp(Position::new(at.get() - 1)))
            }
            notice => notice,
        }))
    }
}

/// Ends at the end of the log.
#[derive(Debug)]
pub struct EndsAtTheHead;

#[async_trait]
impl Decorator for EndsAtTheHead {
    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        let mut notices = store.subscribe(subscribe);
        Box::pin(async_stream::stream! {
            while let Some(notice) = notices.next().await {
                let end = matches!(notice, Ok(Notice::CaughtUp(_)));
                yield notice;
                if end {
                    return;
                }
            }
        })
    }
}

/// Delivers the event at the checkpoint again.
#[derive(Debug)]
pub struct StartsTooEarly;

#[async_trait]
impl Decorator for StartsTooEarly {
    fn subscribe(&self, store: &Arc<dyn EventStore>, mut subscribe: Subscribe) -> Subscription {
        subscribe.from = match subscribe.from {
            SubscribeFrom::After(at) => {
                SubscribeFrom::After(Position::new(at.get().saturating_sub(1)))
            }
            SubscribeFrom::Head => SubscribeFrom::After(Position::START),
        };
        store.subscribe(subscribe)
    }
}

/// Filters what is stored, and delivers everything that comes.
#[derive(Debug)]
pub struct FiltersOnlyStored;

#[async_trait]
impl Decorator for FiltersOnlyStored {
    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        let store = store.clone();
        Box::pin(async_stream::stream! {
            let mut stored = store.subscribe(subscribe);
            while let Some(notice) = stored.next().await {
                let caught_up = match &notice {
                    Ok(Notice::CaughtUp(at)) => Some(*at),
                    _ => None,
                };
                yield notice;
                if let Some(at) = caught_up {
                    let mut live = store.subscribe(Subscribe::query(Query::all()).after(at));
                    live.next().await;
                    while let Some(notice) = live.next().await {
                        yield notice;
                    }
                }
            }
        })
    }
}

/// Lets writers wait until every subscriber has taken what was written before.
#[derive(Debug, Default)]
pub struct WaitsForSubscribers {
    behind: Arc<watch::Sender<usize>>,
}

#[async_trait]
impl Decorator for WaitsForSubscribers {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        let mut behind = self.behind.subscribe();
        let nobody = behind.wait_for(|count| *count == 0).await;
        nobody.map_err(|_| AppendError::Closed)?;
        store.append(append).await
    }

    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        let (behind, mut notices) = (self.behind.clone(), store.subscribe(subscribe));
        Box::pin(async_stream::stream! {
            let mut is_behind = false;
            while let Some(notice) = notices.next().await {
                let event = matches!(notice, Ok(Notice::Event(_)));
                match (is_behind, event) {
                    (false, true) => behind.send_modify(|count| *count += 1),
                    (true, false) => behind.send_modify(|count| *count -= 1),
                    _ => {}
                }
                is_behind = event;
                yield notice;
            }
        })
    }
}

/// Serves a few subscribers, and no more.
#[derive(Debug, Default)]
pub struct ServesFew {
    served: Arc<AtomicUsize>,
}

/// Counts a subscriber for as long as it is there.
struct Served(Arc<AtomicUsize>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Decorator for ServesFew {
    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        let before = self.served.fetch_add(1, Ordering::SeqCst);
        let (served, mut notices) = (Served(self.served.clone()), store.subscribe(subscribe));
        Box::pin(async_stream::stream! {
            let _served = served;
            if before >= 50 {
                yield Err(ReadError::Unavailable(Fault::new("serving one more subscriber")));
                return;
            }
            while let Some(notice) = notices.next().await {
                yield notice;
            }
        })
    }
}

/// When one subscriber leaves, the others are cut off too.
#[derive(Debug, Default)]
pub struct LeavesTogether {
    left: Arc<watch::Sender<bool>>,
}

/// Tells the others when a subscriber leaves.
struct Leaving(Arc<watch::Sender<bool>>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

#[async_trait]
impl Decorator for LeavesTogether {
    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        let leaving = Leaving(self.left.clone());
        let mut notices = store.subscribe(subscribe);
        Box::pin(async_stream::stream! {
            let leaving = leaving;
            while let Some(notice) = notices.next().await {
                if *leaving.0.borrow() {
                    yield Err(ReadError::Closed);
                    return;
                }
                yield notice;
            }
        })
    }
}
