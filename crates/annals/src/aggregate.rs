//! State folded from events.

use std::fmt;

use annals_core::{InvalidName, StreamId};

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
    /// What its streams' names start with.
    const CATEGORY: &'static str;
}

/// The stream of the aggregate `A` with this id.
pub(crate) fn stream_of<A: Aggregate>(id: impl fmt::Display) -> Result<StreamId, InvalidName> {
    StreamId::of(A::CATEGORY, id)
}
