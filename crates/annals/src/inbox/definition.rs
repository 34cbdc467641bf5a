//! What an inbox is, before it runs.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use annals_core::{Query, RecordedEvent, SubscriberName, Timestamp};
use async_trait::async_trait;

use super::{OpenHours, RateLimit, Retries};
use crate::{Event, EventTypes, ReactError, ReactErrorKind, Reacting, Reactor, Upcasters};

pub(super) type OfEvent<T> = Arc<dyn Fn(&RecordedEvent) -> T + Send + Sync>;
type Classify = Arc<dyn Fn(&ReactError) -> ReactErrorKind + Send + Sync>;

/// A named durable reactor: which events it is for, and how it is tried.
///
/// Unless said otherwise it accepts every event from the beginning of the log, makes the
/// deliveries of each stream one after the other and four streams at a time, and tries as
/// [`Retries::default`] says, for at most a minute each time.
///
/// What closures say of an event they are asked when the log is looked at, and the filter again
/// at each attempt. They see events in their newest shapes, and must be quick and give the same
/// answer each time. When one panics, the delivery is enqueued all the same and fails with what it
/// said, so that nothing is lost.
#[derive(Clone)]
pub struct Inbox {
    pub(super) name: SubscriberName,
    pub(super) reactor: Arc<dyn Reactor>,
    pub(super) query: Query,
    pub(super) upcasters: Upcasters,
    pub(super) accepts_if: Option<OfEvent<bool>>,
    pub(super) recipients: Option<OfEvent<Vec<String>>>,
    pub(super) due: Option<OfEvent<Option<Timestamp>>>,
    pub(super) lanes: Lanes,
    pub(super) priority: i32,
    pub(super) concurrency: usize,
    pub(super) retries: Retries,
    pub(super) classify: Option<Classify>,
    pub(super) rate: Option<RateLimit>,
    pub(super) hours: Option<OpenHours>,
    pub(super) timeout: Duration,
    pub(super) begins: Begins,
}

/// Which deliveries are made one after the other.
#[derive(Clone)]
pub(super) enum Lanes {
    Stream,
    None,
    Of(OfEvent<Option<String>>),
}

/// Where a new inbox begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Begins {
    AtTheBeginning,
    Now,
    /// It is fed by others, and does not read the log at all.
    Nowhere,
}

impl Inbox {
    /// An inbox with this name, written in the program itself, for this reactor.
    ///
    /// # Panics
    /// When `name` is no valid [`SubscriberName`]: a mistake in the program. A name from elsewhere
    /// is for [`named`](Self::named).
    #[must_use]
    pub fn new(name: &'static str, reactor: impl Reactor) -> Self {
        Self::named(SubscriberName::from_static(name), reactor)
    }

    /// An inbox with this name for this reactor.
    ///
    /// The name is that of its checkpoint and its deliveries: under another one it is another
    /// inbox, which begins anew.
    #[must_use]
    pub fn named(name: SubscriberName, reactor: impl Reactor) -> Self {
        Self {
            name,
            reactor: Arc::new(reactor),
            query: Query::all(),
            upcasters: Upcasters::new(),
            accepts_if: None,
            recipients: None,
            due: None,
            lanes: Lanes::Stream,
            priority: 0,
            concurrency: 4,
            retries: Retries::default(),
            classify: None,
            rate: None,
            hours: None,
            timeout: Duration::from_secs(60),
            begins: Begins::AtTheBeginning,
        }
    }

    /// An inbox with this name for events of these types, each of which is handed to `react` as
    /// the domain knows it.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    #[must_use]
    pub fn on<E, F, R>(name: &'static str, types: EventTypes, react: F) -> Self
    where
        E: Event,
        F: Fn(E, Reacting) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), ReactError>> + Send + 'static,
    {
        Self::new(name, Typed { react, events: PhantomData }).accepts(types)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &SubscriberName {
        &self.name
    }

    /// The same for events that match a query, or have one of these [types](crate::types!). It
    /// names types as they are now, and finds what is read as one of them, under whatever type it
    /// is stored.
    #[must_use]
    pub fn accepts(mut self, accepted: impl Into<Accepted>) -> Self {
        let Accepted { query, upcasters } = accepted.into();
        self.query = query;
        self.upcasters = upcasters;
        self
    }

    /// The same for events of which this also says yes.
    #[must_use]
    pub fn accepts_if(
        mut self,
        accepts: impl Fn(&RecordedEvent) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.accepts_if = Some(Arc::new(accepts));
        self
    }

    /// The same with one delivery to each of these instead of one, or none at all; each has its
    /// own lanes and retries. At most [`NAME_BYTES_MAX`](annals_core::NewDelivery::NAME_BYTES_MAX)
    /// bytes each, without NUL.
    #[must_use]
    pub fn recipients(
        mut self,
        recipients: impl Fn(&RecordedEvent) -> Vec<String> + Send + Sync + 'static,
    ) -> Self {
        self.recipients = Some(Arc::new(recipients));
        self
    }

    /// The same, and a delivery is not made before this moment, if there is one.
    #[must_use]
    pub fn due(
        mut self,
        due: impl Fn(&RecordedEvent) -> Option<Timestamp> + Send + Sync + 'static,
    ) -> Self {
        self.due = Some(Arc::new(due));
        self
    }

    /// The same with another priority than 0: when workers are [scarce](super::InboxRunner::workers_max)
    /// they go to the inbox with the higher one first.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// The same with at most so many attempts at the same time in each process; 0 is taken for 1.
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// The same, making the deliveries of each stream one after the other, in their order: what
    /// fails holds up its stream until it is made, skipped or dead, and while it is a dead letter.
    #[must_use]
    pub fn ordered_by_stream(mut self) -> Self {
        self.lanes = Lanes::Stream;
        self
    }

    /// The same without any order: nothing waits for anything else.
    #[must_use]
    pub fn unordered(mut self) -> Self {
        self.lanes = Lanes::None;
        self
    }

    /// The same, making deliveries with the same lane one after the other, and those without one
    /// in any order.
    #[must_use]
    pub fn lanes(
        mut self,
        lane: impl Fn(&RecordedEvent) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.lanes = Lanes::Of(Arc::new(lane));
        self
    }

    /// The same, trying again like this.
    #[must_use]
    pub fn retry(mut self, retries: Retries) -> Self {
        self.retries = retries;
        self
    }

    /// The same, asking this what to do about an error instead of the error itself.
    #[must_use]
    pub fn classify(
        mut self,
        classify: impl Fn(&ReactError) -> ReactErrorKind + Send + Sync + 'static,
    ) -> Self {
        self.classify = Some(Arc::new(classify));
        self
    }

    /// The same with at most so many attempts in so much time.
    #[must_use]
    pub fn rate(mut self, limit: RateLimit) -> Self {
        self.rate = Some(limit);
        self
    }

    /// The same, making deliveries in these hours only.
    #[must_use]
    pub fn hours(mut self, hours: OpenHours) -> Self {
        self.hours = Some(hours);
        self
    }

    /// The same with this long for each attempt; one that takes longer is given up, and has failed.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same; if it is a new inbox, it begins with the first event of the log.
    #[must_use]
    pub fn from_beginning(mut self) -> Self {
        self.begins = Begins::AtTheBeginning;
        self
    }

    /// The same; if it is a new inbox, it begins with what is appended after it has
    /// [started](super::InboxRunner::start).
    #[must_use]
    pub fn from_now(mut self) -> Self {
        self.begins = Begins::Now;
        self
    }

    /// The same, fed by others only, with what they [enqueue](super::Inboxes::enqueue) for it: it
    /// does not read the log, and costs nothing while nobody enqueues anything.
    ///
    /// What it [accepts](Self::accepts) holds at each attempt, as ever. Whoever feeds it says to
    /// whom a delivery goes, in which lane, and when: [`recipients`](Self::recipients),
    /// [`lanes`](Self::lanes) and [`due`](Self::due) are not asked when it is enqueued. To
    /// [disable](super::Inboxes::disable) it keeps nobody from feeding it.
    #[must_use]
    pub fn fed(mut self) -> Self {
        self.begins = Begins::Nowhere;
        self
    }

    pub(super) fn reads_the_log(&self) -> bool {
        !matches!(self.begins, Begins::Nowhere)
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("name", &self.name)
            .field("query", &self.query)
            .finish_non_exhaustive()
    }
}

/// What an inbox [accepts](Inbox::accepts): made of a [`Query`], or of [`EventTypes`].
#[derive(Clone, Debug)]
pub struct Accepted {
    pub(crate) query: Query,
    pub(crate) upcasters: Upcasters,
}

impl From<Query> for Accepted {
    fn from(query: Query) -> Self {
        Self { query, upcasters: Upcasters::new() }
    }
}

impl From<EventTypes> for Accepted {
    fn from(types: EventTypes) -> Self {
        let upcasters = types.upcasters().clone();
        Self { query: types.into(), upcasters }
    }
}

/// A closure over events of the domain.
struct Typed<E, F> {
    react: F,
    events: PhantomData<fn(E)>,
}

#[async_trait]
impl<E, F, R> Reactor for Typed<E, F>
where
    E: Event,
    F: Fn(E, Reacting) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), ReactError>> + Send + 'static,
{
    async fn react(&self, reacting: &Reacting) -> Result<(), ReactError> {
        for event in reacting.events::<E>()? {
            (self.react)(event, reacting.clone()).await?;
        }
        Ok(())
    }
}
