//! State folded from events.

use std::fmt;

use annals_core::{InvalidName, NameFault, StreamId};

use crate::Event;

/// What an event does to a state.
///
/// `apply` is total and pure: it takes every event, asks nothing but the state, and never
/// fails. What is not allowed was refused before the event was recorded; now it has happened.
#[diagnostic::on_unimplemented(
    message = "what `{E}` does to `{Self}` is not said",
    label = "needs `impl Apply<{E}> for {Self}`",
    note = "write `impl annals::Apply<{E}> for {Self} {{ fn apply(&mut self, event: {E}) {{ match event {{ .. }} }} }}`"
)]
pub trait Apply<E> {
    /// Changes the state by what happened.
    fn apply(&mut self, event: E);
}

/// State folded from the events of one stream.
///
/// Derive it, together with or beside `Default`, which is the state before the first event.
/// Its stream is named `category-id`.
///
/// ```
/// use annals::{Aggregate, Apply, Event};
///
/// #[derive(Event)]
/// enum CounterEvent {
///     Counted,
///     Reset,
/// }
///
/// #[derive(Default, Aggregate)]
/// #[aggregate(category = "counter", event = CounterEvent)]
/// struct Counter {
///     count: u64,
/// }
///
/// impl Apply<CounterEvent> for Counter {
///     fn apply(&mut self, event: CounterEvent) {
///         match event {
///             CounterEvent::Counted => self.count += 1,
///             CounterEvent::Reset => self.count = 0,
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an aggregate",
    label = "this type is not folded from a stream",
    note = "write `#[derive(Default, annals::Aggregate)]` and `#[aggregate(category = \"..\", event = ..)]` above `{Self}`"
)]
pub trait Aggregate: Apply<<Self as Aggregate>::Event> + Default + Send + 'static {
    /// The events of its streams.
    type Event: Event;
    /// What stands behind the category in its streams' names; [`AnyId`] when that may be
    /// anything that can be shown.
    type Id: AggregateId;
    /// What its streams' names start with.
    const CATEGORY: &'static str;
    /// What becomes of stored events whose type is none of its own.
    const UNKNOWN: UnknownTypes = UnknownTypes::Fail;
    /// How its folds are kept as snapshots, if they are: `#[aggregate(snapshot)]`.
    const SNAPSHOT: Option<Snapshotting<Self>> = None;
    /// How its folds are copied for the cache, if they are kept there: `#[aggregate(cache)]`.
    const CACHE: Option<fn(&Self) -> Self> = None;
}

/// How the folds of an aggregate are kept as snapshots.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "aggregates by hand make it")]
pub struct Snapshotting<A> {
    /// What tells this fold from another one: a text that changes whenever the same events fold
    /// to something else, or are kept in another form.
    pub fold: fn() -> String,
    /// Writes a state.
    pub write: fn(&A) -> serde_json::Result<Vec<u8>>,
    /// Reads what was written.
    pub read: fn(&[u8]) -> serde_json::Result<A>,
}

impl<A> Clone for Snapshotting<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Snapshotting<A> {}

/// What becomes of events of unknown types when an aggregate is folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_enums, reason = "there is no third")]
pub enum UnknownTypes {
    /// Loading fails: state folded from some of the events is wrong state.
    #[default]
    Fail,
    /// They are passed over: they never change what is folded here.
    Skip,
}

/// What the streams of an aggregate are told apart by: everything that can be shown.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no id of an aggregate",
    label = "this type cannot be shown",
    note = "an id becomes the part of the stream's name behind the category; write `impl std::fmt::Display for {Self}`"
)]
pub trait AggregateId: Send {
    /// The stream with this id in a category.
    ///
    /// # Errors
    /// When the two do not make a valid name.
    fn stream(&self, category: &str) -> Result<StreamId, InvalidName>;
}

#[diagnostic::do_not_recommend]
impl<T: fmt::Display + Send> AggregateId for T {
    fn stream(&self, category: &str) -> Result<StreamId, InvalidName> {
        stream_with(category, self)
    }
}

/// An id of any type that can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyId(String);

impl<T: fmt::Display> From<T> for AnyId {
    fn from(id: T) -> Self {
        Self(id.to_string())
    }
}

/// The stream with an id that has at least one character: without an id it would be everybody's.
fn stream_with(category: &str, id: &impl fmt::Display) -> Result<StreamId, InvalidName> {
    let stream = StreamId::of(category, id)?;
    if stream.id().is_empty() {
        return Err(InvalidName { kind: "id", fault: NameFault::Empty });
    }
    Ok(stream)
}

impl AggregateId for AnyId {
    fn stream(&self, category: &str) -> Result<StreamId, InvalidName> {
        stream_with(category, &self.0)
    }
}

/// The stream of the aggregate `A` with this id.
pub(crate) fn stream_of<A: Aggregate>(id: impl Into<A::Id>) -> Result<StreamId, InvalidName> {
    id.into().stream(A::CATEGORY)
}
