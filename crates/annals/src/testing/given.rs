//! Given: what has happened before.

use std::any::type_name;
use std::marker::PhantomData;

use annals_core::StreamId;
use serde_json::Value;

use crate::execute::name_of;
use crate::testing::failure::chain;
use crate::testing::outcome::Outcome;
use crate::testing::stored;
use crate::testing::world::{World, at_once, stream};
use crate::{Aggregate, Command, Context, Decision, Event, RetryPolicy};

/// What has happened to an aggregate; the next word is [`when`](Self::when).
#[must_use = "nothing is tested until `when` says what is asked for"]
#[derive(Debug)]
pub struct Given<A> {
    world: World,
    stream: StreamId,
    aggregate: PhantomData<fn() -> A>,
}

/// What has happened in a log; the next word is [`when`](Self::when).
#[must_use = "nothing is tested until `when` says what is to be decided"]
#[derive(Debug)]
pub struct GivenLog {
    world: World,
}

/// An aggregate to which these events have happened.
///
/// # Panics
/// When one of them cannot be stored.
#[track_caller]
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    given_nothing().and(events)
}

/// An aggregate to which nothing has happened.
///
/// # Panics
/// When the aggregate's category is none.
#[track_caller]
pub fn given_nothing<A: Aggregate>() -> Given<A> {
    Given { world: World::new(), stream: stream(A::CATEGORY, 1), aggregate: PhantomData }
}

/// An aggregate to which these events have happened, as they are stored: in older shapes, or
/// written by another program. Of the members only `type` must be there.
///
/// ```
/// # use annals::{Aggregate, Apply, Event, Upcasters};
/// # #[derive(Debug, Event)]
/// # #[event(upcasters = upcasters)]
/// # enum CustomerEvent { #[event(version = 2)] AddressUpdated { city: String, country: String } }
/// # fn upcasters() -> Upcasters {
/// #     Upcasters::new().upcast("AddressUpdated", 1, |data| {
/// #         data.entry("country").or_insert("USA".into());
/// #     })
/// # }
/// # #[derive(Debug, Default, Aggregate)]
/// # #[aggregate(category = "customer", event = CustomerEvent)]
/// # struct Customer { country: String }
/// # impl Apply<CustomerEvent> for Customer {
/// #     fn apply(&mut self, event: CustomerEvent) {
/// #         let CustomerEvent::AddressUpdated { country, .. } = event;
/// #         self.country = country;
/// #     }
/// # }
/// use annals::testing::given_stored;
/// use serde_json::json;
///
/// let customer = given_stored::<Customer>([json!({
///     "type": "AddressUpdated",
///     "schema_version": 1,
///     "data": { "city": "Springfield" },
/// })]);
/// assert_eq!(customer.state().country, "USA");
/// ```
///
/// # Panics
/// When one of them does not describe an event.
#[track_caller]
pub fn given_stored<A: Aggregate>(events: impl IntoIterator<Item = Value>) -> Given<A> {
    given_nothing().and_stored(events)
}

/// A log in which these events have happened, of one enum; others follow with
/// [`and`](GivenLog::and). For [decisions](Decision), which find them by type and tag.
///
/// # Panics
/// When one of them cannot be stored.
#[track_caller]
pub fn given_log<E: Event>(events: impl IntoIterator<Item = E>) -> GivenLog {
    given_empty_log().and(events)
}

/// A log in which nothing has happened.
pub fn given_empty_log() -> GivenLog {
    GivenLog { world: World::new() }
}

impl<A: Aggregate> Given<A> {
    /// And then these.
    ///
    /// # Panics
    /// When one of them cannot be stored.
    #[track_caller]
    pub fn and(self, events: impl IntoIterator<Item = A::Event>) -> Self {
        self.world.give(&self.stream, events);
        self
    }

    /// And then these, as they are stored.
    ///
    /// # Panics
    /// When one of them does not describe an event.
    #[track_caller]
    pub fn and_stored(self, events: impl IntoIterator<Item = Value>) -> Self {
        self.world.give_encoded(&self.stream, described(events));
        self
    }

    /// In this context: who asks, and why.
    pub fn by(mut self, context: Context) -> Self {
        self.world.by(context);
        self
    }

    /// The state that the events add up to.
    ///
    /// # Panics
    /// When they cannot be read.
    #[track_caller]
    #[must_use]
    pub fn state(&self) -> A {
        match at_once(self.world.annals().load_in(self.stream.clone())) {
            Ok(loaded) => loaded.state,
            Err(error) => panic!("the given events cannot be read: {}", chain(&error)),
        }
    }

    /// Executes a command.
    ///
    /// # Panics
    /// When an event that it decides cannot be read back.
    #[track_caller]
    #[must_use = "nothing is tested until `then` says what should come of it"]
    pub fn when<C: Command<A>>(self, command: C) -> Outcome<A::Event, A, C::Error> {
        let Self { world, stream, .. } = self;
        let before = world.head();
        let execute =
            world.annals().execute_in(Ok(stream), command).context(world.context()).retry(once());
        let executed = at_once(execute.into_future());
        let name = format!("{} on {}", name_of::<C>(), short(type_name::<A>()));
        Outcome::of(&world, before, name, executed.map(|executed| executed.state))
    }
}

impl GivenLog {
    /// And then these, which may be of another enum.
    ///
    /// # Panics
    /// When one of them cannot be stored.
    #[track_caller]
    pub fn and<E: Event>(self, events: impl IntoIterator<Item = E>) -> Self {
        self.and_in("given", events)
    }

    /// And then these, in this stream: for queries that ask for streams or categories.
    ///
    /// # Panics
    /// When one of them cannot be stored, or there is no such stream.
    #[track_caller]
    pub fn and_in<E: Event>(self, stream: &str, events: impl IntoIterator<Item = E>) -> Self {
        match StreamId::new(stream) {
            Ok(stream) => self.world.give(&stream, events),
            Err(error) => panic!("events cannot be given in {stream:?}: {error}"),
        }
        self
    }

    /// And then these, as they are stored.
    ///
    /// # Panics
    /// When one of them does not describe an event.
    #[track_caller]
    pub fn and_stored(self, events: impl IntoIterator<Item = Value>) -> Self {
        self.world.give_encoded(&StreamId::from_static("given"), described(events));
        self
    }

    /// In this context: who asks, and why.
    pub fn by(mut self, context: Context) -> Self {
        self.world.by(context);
        self
    }

    /// Makes a decision.
    ///
    /// # Panics
    /// When an event that it decides cannot be read back.
    #[track_caller]
    #[must_use = "nothing is tested until `then` says what should come of it"]
    pub fn when<D: Decision>(self, decision: D) -> Outcome<D::Event, D::Model, D::Error> {
        let Self { world } = self;
        let before = world.head();
        let decide = world.annals().decide(decision).context(world.context()).retry(once());
        let decided = at_once(decide.into_future());
        let name = name_of::<D>().to_owned();
        Outcome::of(&world, before, name, decided.map(|decided| decided.model))
    }
}

#[track_caller]
fn described(events: impl IntoIterator<Item = Value>) -> Vec<annals_core::NewEvent> {
    let mut described = Vec::new();
    for event in events {
        described.push(stored::event(&event));
    }
    described
}

/// Nobody else is there, so a conflict would only come again.
pub(super) fn once() -> RetryPolicy {
    RetryPolicy::default().attempts_max(1)
}

fn short(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}
