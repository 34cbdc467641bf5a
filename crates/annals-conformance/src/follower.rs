//! A subscription under test.

use annals_core::{Notice, Position, RecordedEvent, Subscribe, SubscribeFrom, Subscription};
use futures_util::StreamExt;

use crate::probe::{line, within};

/// Takes notices one by one and makes sure that each may follow the one before.
pub(crate) struct Follower {
    subscription: Subscription,
    subscribe: Subscribe,
    /// No event may come at or before it.
    seen: Position,
    caught_up: Option<Position>,
}

impl Follower {
    pub(crate) fn new(subscription: Subscription, subscribe: Subscribe) -> Self {
        let seen = match subscribe.from {
            SubscribeFrom::After(position) => position,
            SubscribeFrom::Head => Position::START,
        };
        Self { subscription, subscribe, seen, caught_up: None }
    }

    /// The next notice, which must come.
    pub(crate) async fn next(&mut self) -> Notice {
        let notice = within("the next notice of a subscription", self.subscription.next()).await;
        let notice = match notice {
            Some(Ok(notice)) => notice,
            other => panic!("a subscription must go on, but: {other:?}\n{:?}", self.subscribe),
        };
        self.check(&notice);
        notice
    }

    fn check(&mut self, notice: &Notice) {
        match notice {
            Notice::Event(event) => {
                assert!(
                    event.position > self.seen,
                    "a subscription at {:?} must not deliver {}",
                    self.seen,
                    line(event)
                );
                assert!(
                    self.subscribe.query.matches(event),
                    "a subscription to {:?} must not deliver {}",
                    self.subscribe.query,
                    line(event)
                );
                self.seen = event.position;
            }
            Notice::CaughtUp(position) => {
                if let Some(before) = self.caught_up {
                    assert!(
                        *position > before,
                        "caught up at {position:?} though the log has not grown since {before:?}"
                    );
                }
                let from = match self.subscribe.from {
                    SubscribeFrom::After(position) => position,
                    SubscribeFrom::Head => Position::START,
                };
                assert!(
                    *position >= self.seen || self.seen == from,
                    "caught up at {position:?}, before the delivered {:?}",
                    self.seen
                );
                self.caught_up = Some(*position);
                self.seen = self.seen.max(*position);
            }
        }
    }

    /// The events until the subscription has caught up, and where.
    pub(crate) async fn until_caught_up(&mut self) -> (Vec<RecordedEvent>, Position) {
        let mut events = Vec::new();
        loop {
            match self.next().await {
                Notice::Event(event) => events.push(event),
                Notice::CaughtUp(position) => return (events, position),
            }
        }
    }

    /// The further events until the subscription has caught up at `position` or behind it.
    pub(crate) async fn up_to(&mut self, position: Position) -> Vec<RecordedEvent> {
        let mut events = Vec::new();
        while self.caught_up.is_none_or(|at| at < position) {
            events.extend(self.until_caught_up().await.0);
        }
        events
    }
}
