//! Subscriptions: catch up with the log, then follow it.

use std::pin::Pin;

use futures_core::Stream;
use futures_util::StreamExt;
use tokio::sync::watch;

use crate::error::ReadError;
use crate::{EventStream, Position, Query, Read, RecordedEvent, StreamId};

/// What a subscriber receives, in order, for as long as it asks for more.
///
/// After an error the stream ends; subscribe again after the last position seen.
pub type Subscription = Pin<Box<dyn Stream<Item = Result<Notice, ReadError>> + Send>>;

/// One message of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a subscriber must handle both")]
pub enum Notice {
    /// The next event.
    Event(RecordedEvent),
    /// Every matching event up to this position has been delivered: the subscriber is where
    /// the log is. Sent when the log's end is reached for the first time, and again each time
    /// it is reached after the log has grown, also when nothing in the growth matched: a
    /// subscriber may keep it as its checkpoint.
    CaughtUp(Position),
}

/// What to subscribe to.
///
/// ```
/// use annals_core::{Position, Subscribe};
///
/// let checkpoint = Position::new(4711);
/// let everything_since = Subscribe::all().after(checkpoint);
/// let only_new = Subscribe::all().from_head();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscribe {
    /// Which events.
    pub query: Query,
    /// From where on.
    pub from: SubscribeFrom,
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum SubscribeFrom {
    /// After this position. When it lies beyond the log's end, nothing is delivered until the
    /// log has grown past it, and the first notice tells where the log is.
    After(Position),
    /// At the end of the log as it is when the first notice is asked for, which tells where that
    /// was: events appended later.
    Head,
}

impl Subscribe {
    /// Every event from the beginning.
    #[must_use]
    pub fn all() -> Self {
        Self::query(Query::all())
    }

    /// The events of one stream from its beginning.
    #[must_use]
    pub fn stream(stream: StreamId) -> Self {
        Self::query(Query::stream(stream))
    }

    /// The events that match `query` from the beginning.
    #[must_use]
    pub fn query(query: Query) -> Self {
        Self { query, from: SubscribeFrom::After(Position::START) }
    }

    /// The same, from after `position` on.
    #[must_use]
    pub fn after(mut self, position: Position) -> Self {
        self.from = SubscribeFrom::After(position);
        self
    }

    /// The same, only what is appended from now on.
    #[must_use]
    pub fn from_head(mut self) -> Self {
        self.from = SubscribeFrom::Head;
        self
    }
}

/// The loop behind every backend's `subscribe`: reads up to the head it knows of, says that it
/// caught up, and waits for the head to move.
///
/// `read` reads from the backend. `head` tells the last position that is readable: a backend
/// publishes a position there only once no event can ever appear at or before it (S5). When
/// the sender is dropped the subscription ends with [`ReadError::Closed`].
pub fn follow(
    read: impl Fn(Read) -> EventStream + Send + 'static,
    mut head: watch::Receiver<Position>,
    subscribe: Subscribe,
) -> Subscription {
    let Subscribe { query, from } = subscribe;
    Box::pin(async_stream::stream! {
        let mut seen = match from {
            SubscribeFrom::After(position) => position,
            SubscribeFrom::Head => *head.borrow(),
        };
        let mut first = true;
        loop {
            let target = *head.borrow_and_update();
            if target > seen {
                let mut events = read(Read::query(query.clone()).after(seen).up_to(target));
                while let Some(event) = events.next().await {
                    match event {
                        Ok(event) => yield Ok(Notice::Event(event)),
                        Err(error) => {
                            yield Err(error);
                            return;
                        }
                    }
                }
                seen = target;
                yield Ok(Notice::CaughtUp(seen));
            } else if first {
                yield Ok(Notice::CaughtUp(target));
            }
            first = false;
            if head.changed().await.is_err() {
                yield Err(ReadError::Closed);
                return;
            }
        }
    })
}
