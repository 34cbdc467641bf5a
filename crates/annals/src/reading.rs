//! Reading the log for those who meet events of several enums: each event in its newest shape.

use std::pin::Pin;
use std::sync::Arc;

use annals_core::{Direction, EventStream, Notice, Query, Read, RecordedEvent, Scope, Subscribe};
use futures_util::{Stream, StreamExt, stream};

use crate::error::{DecodeError, LoadError};
use crate::upcast::Upcasted;
use crate::{Annals, Upcasters};

/// The events of a read, in their newest shapes.
///
/// An event that cannot be upcast is an error in its place, and the others follow; after an
/// error of the store the stream ends.
pub type CurrentEvents = Pin<Box<dyn Stream<Item = Result<RecordedEvent, LoadError>> + Send>>;

/// What a subscriber receives, events in their newest shapes; errors as in [`CurrentEvents`].
pub type CurrentNotices = Pin<Box<dyn Stream<Item = Result<Notice, LoadError>> + Send>>;

impl Annals {
    /// The same, which also upcasts what is [read](Self::read) and
    /// [subscribed to](Self::subscribe) by these.
    ///
    /// ```
    /// # use annals::{Annals, Event, MemoryStore, Upcasters};
    /// # #[derive(Event)] enum AccountEvent { AccountClosed }
    /// # #[derive(Event)] enum OrderEvent { OrderPlaced }
    /// # let store = MemoryStore::new();
    /// let shop = Annals::new(store)
    ///     .with_upcasters(AccountEvent::upcasters())
    ///     .with_upcasters(OrderEvent::upcasters());
    /// ```
    ///
    /// Aggregates, histories and decisions need none: their events bring their own.
    ///
    /// # Panics
    /// As [`Upcasters::and`].
    #[must_use]
    pub fn with_upcasters(mut self, upcasters: &Upcasters) -> Self {
        self.upcasters = Arc::new((*self.upcasters).clone().and(upcasters));
        self
    }

    /// Reads events as [`EventStore::read`](annals_core::EventStore::read) does, brought to their
    /// newest shapes by the [upcasters](Self::with_upcasters).
    ///
    /// A query names types as they are now, and finds what is read as one of them, under whatever
    /// type it is stored. Tags are as they were stored. Events that are dropped, or become others
    /// than those asked for, do not count for a limit.
    ///
    /// The events that one stored event is split into have the same position, version and id. They
    /// always come together: also when the limit falls between them, so that whoever reads on after
    /// the last position has missed none.
    ///
    /// ```
    /// # use annals::{Annals, Data, EventStoreExt, EventType, ExpectedVersion, MemoryStore, NewEvent};
    /// # use annals::{Query, QueryItem, Read, StreamId, Upcasters};
    /// use futures_util::TryStreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = MemoryStore::new();
    /// # let old = NewEvent::new(EventType::new("Deposited")?, Data::json("{}"));
    /// # store.append_to(StreamId::new("account-1")?, ExpectedVersion::Any, [old]).await?;
    /// let upcasters = Upcasters::new().rename("Deposited", "MoneyDeposited");
    /// let bank = Annals::new(store).with_upcasters(&upcasters);
    /// let deposits = Query::of(QueryItem::new().event_type(EventType::new("MoneyDeposited")?));
    /// // Also finds those that were stored as `Deposited`:
    /// let events: Vec<_> = bank.read(Read::query(deposits)).try_collect().await?;
    /// assert_eq!(events[0].event_type.as_str(), "MoneyDeposited");
    /// # Ok(()) }
    /// ```
    pub fn read(&self, read: Read) -> CurrentEvents {
        if self.upcasters.is_empty() {
            return Box::pin(self.store().read(read).map(|event| event.map_err(LoadError::from)));
        }
        let mut stored = read;
        // How many stored events make so many shows only when they are read.
        let limit = stored.limit.take();
        let lens = match &mut stored.scope {
            Scope::Stream(_) => Lens { upcasters: Arc::clone(&self.upcasters), asked: None },
            Scope::Query(query) => self.lens(query),
        };
        let limited = Limited {
            lens,
            is_backward: stored.direction == Direction::Backward,
            left: limit.unwrap_or(u64::MAX),
            stored: self.store().read(stored),
        };
        Box::pin(stream::unfold(limited, Limited::next).flat_map(stream::iter))
    }

    /// Subscribes as [`EventStore::subscribe`](annals_core::EventStore::subscribe) does, with events
    /// in their newest shapes, found as by [`read`](Self::read).
    ///
    /// The events that one stored event is split into follow each other and have the same position:
    /// a subscriber who keeps that as its checkpoint does so after the last of them.
    pub fn subscribe(&self, subscribe: Subscribe) -> CurrentNotices {
        if self.upcasters.is_empty() {
            let notices = self.store().subscribe(subscribe);
            return Box::pin(notices.map(|notice| notice.map_err(LoadError::from)));
        }
        let mut stored = subscribe;
        let lens = self.lens(&mut stored.query);
        let notices = self.store().subscribe(stored).map(move |notice| match notice {
            Ok(Notice::Event(event)) => {
                let current = lens.each(event).into_iter();
                current.map(|event| event.map(Notice::Event)).collect()
            }
            Ok(caught_up) => vec![Ok(caught_up)],
            Err(error) => vec![Err(error.into())],
        });
        Box::pin(notices.flat_map(stream::iter))
    }

    /// How what a query finds looks to those who asked it, which becomes the one that the store is
    /// to be asked.
    pub(crate) fn lens(&self, query: &mut Query) -> Lens {
        let upcasters = Arc::clone(&self.upcasters);
        if upcasters.is_empty() {
            return Lens { upcasters, asked: None };
        }
        let stored = upcasters.as_stored(query);
        Lens { upcasters, asked: Some(std::mem::replace(query, stored)) }
    }
}

/// How stored events look to those who asked for them.
#[derive(Clone, Debug)]
pub(crate) struct Lens {
    upcasters: Arc<Upcasters>,
    /// What was asked for; all that is read is if it says nothing.
    asked: Option<Query>,
}

impl Lens {
    /// What a stored event is now, as far as that was asked for.
    ///
    /// # Errors
    /// When it cannot be upcast.
    pub(crate) fn current(&self, stored: &RecordedEvent) -> Result<Upcasted, DecodeError> {
        let is_asked_for =
            |event: &RecordedEvent| self.asked.as_ref().is_none_or(|query| query.matches(event));
        Ok(match self.upcasters.apply(stored)? {
            Upcasted::AsStored if is_asked_for(stored) => Upcasted::AsStored,
            Upcasted::AsStored => Upcasted::Became(Vec::new()),
            Upcasted::Became(mut events) => {
                events.retain(is_asked_for);
                Upcasted::Became(events)
            }
        })
    }

    fn each(&self, stored: RecordedEvent) -> Vec<Result<RecordedEvent, LoadError>> {
        match self.current(&stored) {
            Ok(Upcasted::AsStored) => vec![Ok(stored)],
            Ok(Upcasted::Became(events)) => events.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error.into())],
        }
    }
}

/// A read that ends once there are as many events as were asked for.
struct Limited {
    stored: EventStream,
    lens: Lens,
    is_backward: bool,
    left: u64,
}

impl Limited {
    /// What the next stored event is now.
    async fn next(mut self) -> Option<(Vec<Result<RecordedEvent, LoadError>>, Self)> {
        if self.left == 0 {
            return None;
        }
        let current = match self.stored.next().await? {
            Ok(stored) => {
                let mut current = self.lens.each(stored);
                if self.is_backward {
                    current.reverse();
                }
                current
            }
            Err(error) => vec![Err(error.into())],
        };
        self.left = self.left.saturating_sub(current.len() as u64);
        Some((current, self))
    }
}
