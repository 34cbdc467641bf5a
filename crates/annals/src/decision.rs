//! Requests that may be refused, decided over a query instead of a stream.

pub(crate) mod boundary;
pub(crate) mod derived;
mod model;

use std::error::Error;

use annals_core::{InvalidName, Query, StreamId};

use crate::{Context, Denied, Event, FieldErrors, RetryPolicy};

pub use model::{DecisionModel, DecisionModels};

/// A request whose consistency boundary is a query, drawn for this one decision: a course has so
/// many places and a student may take so many courses, and one event concerns both.
///
/// What must be known to decide is folded from the log by [models](DecisionModel), each of which
/// finds its events by type and tag in whatever streams they are. What is decided is recorded
/// only if no other event has come meanwhile that the models would have folded; otherwise the
/// decision is made again. What the models do not look at never stands in the way.
///
/// ```
/// use annals::{Annals, Apply, Decision, DecisionModel, Event, InvalidName, MemoryStore, StreamId};
///
/// #[derive(Clone, Debug, PartialEq, Event)]
/// enum CourseEvent {
///     CourseDefined { #[event(tag = "course")] course: String, places: u32 },
///     StudentSubscribed {
///         #[event(tag = "student")] student: String,
///         #[event(tag = "course")] course: String,
///     },
/// }
/// use CourseEvent::*;
///
/// /// How many places of a course are left.
/// #[derive(Debug, DecisionModel)]
/// #[model(event = CourseEvent)]
/// struct Places {
///     #[model(tag = "course")]
///     course: String,
///     left: u32,
/// }
///
/// impl Apply<CourseEvent> for Places {
///     fn apply(&mut self, event: CourseEvent) {
///         match event {
///             CourseDefined { places, .. } => self.left = places,
///             StudentSubscribed { .. } => self.left = self.left.saturating_sub(1),
///         }
///     }
/// }
///
/// /// How many courses a student has.
/// #[derive(Debug, DecisionModel)]
/// #[model(event = CourseEvent, types(StudentSubscribed))]
/// struct Courses {
///     #[model(tag = "student")]
///     student: String,
///     count: u32,
/// }
///
/// impl Apply<CourseEvent> for Courses {
///     fn apply(&mut self, _: CourseEvent) {
///         self.count += 1;
///     }
/// }
///
/// #[derive(Clone)]
/// struct Subscribe {
///     student: String,
///     course: String,
/// }
///
/// #[derive(Debug, thiserror::Error)]
/// enum Refusal {
///     #[error("the course is full")]
///     Full,
///     #[error("{0} courses are enough")]
///     TooMany(u32),
/// }
///
/// impl Decision for Subscribe {
///     type Model = (Places, Courses);
///     type Event = CourseEvent;
///     type Error = Refusal;
///
///     fn model(&self) -> Self::Model {
///         (Places::of(&self.course), Courses::of(&self.student))
///     }
///
///     fn decide(self, (places, courses): &Self::Model) -> Result<Vec<CourseEvent>, Refusal> {
///         match (places.left, courses.count) {
///             (0, _) => Err(Refusal::Full),
///             (_, count @ 5..) => Err(Refusal::TooMany(count)),
///             _ => Ok(vec![StudentSubscribed { student: self.student, course: self.course }]),
///         }
///     }
///
///     fn stream(&self, _: &CourseEvent) -> Result<StreamId, InvalidName> {
///         StreamId::of("course", &self.course)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use annals::{EventStoreExt, ExpectedVersion};
/// # let store = MemoryStore::new();
/// # let defined = CourseDefined { course: "rust".into(), places: 1 }.encode()?;
/// # store.append_to(StreamId::new("course-rust")?, ExpectedVersion::Any, [defined]).await?;
/// let school = Annals::new(store);
/// let subscribe = |who: &str| Subscribe { student: who.into(), course: "rust".into() };
/// let decided = school.decide(subscribe("ada")).await?;
/// assert_eq!(decided.model.0.left, 0);
///
/// let refused = school.decide(subscribe("grace")).await.unwrap_err();
/// assert_eq!(refused.to_string(), "the course is full");
/// # Ok(()) }
/// ```
///
/// A command that concerns one thing, whose events are in one stream, is better a
/// [`Command`](crate::Command) to an [`Aggregate`](crate::Aggregate): a stream's version is the
/// cheapest boundary there is.
#[cfg_attr(doc, doc = "\n[`dcb`](crate::dcb) has more examples, each of a kind of its own.")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a decision",
    label = "needs `impl Decision for {Self}`",
    note = "write `impl annals::Decision for {Self} {{ .. }}`; a command to one aggregate is executed instead: `annals.execute(id, command)`"
)]
pub trait Decision: Clone + Send + Sync {
    /// What must be known to decide: a [`DecisionModel`], a tuple of up to six, a `Vec`; `()` when
    /// nothing must be.
    type Model: DecisionModels;
    /// What may be decided.
    type Event: Event;
    /// Why the domain may refuse it.
    type Error: Error + Send + Sync + 'static;

    /// The models as they are before any event, which say what they are to be folded from.
    fn model(&self) -> Self::Model;

    /// What is wrong with it whatever the state, found before anything is read. By default
    /// nothing ever is.
    fn field_errors(&self) -> FieldErrors {
        FieldErrors::none()
    }

    /// Checks whether whoever asks may do so with this state.
    ///
    /// # Errors
    /// When the context does not permit the decision. By default everybody may.
    fn authorise(&self, model: &Self::Model, context: &Context) -> Result<(), Denied> {
        let _ = (model, context);
        Ok(())
    }

    /// What happens, given the state: the events to record; none when there is nothing to do.
    ///
    /// They are recorded stream by stream, in the order in which the streams first occur; within
    /// a stream they keep their order.
    ///
    /// Pure, because it is asked again when the state turns out to have changed meanwhile. What
    /// time it is belongs into the decision itself.
    ///
    /// # Errors
    /// When the state does not permit the decision.
    fn decide(self, model: &Self::Model) -> Result<Vec<Self::Event>, Self::Error>;

    /// The stream in which an event that was decided is recorded.
    ///
    /// Where that is decides about nothing: events are found by type and tag. A good stream is
    /// that of the thing whose story the event belongs to.
    ///
    /// # Errors
    /// When there is no such stream.
    fn stream(&self, event: &Self::Event) -> Result<StreamId, InvalidName>;

    /// What must not have come since the models were read, when that is less than what they were
    /// folded from; by default it is all of it.
    ///
    /// Whoever loses ten places of a thousand need not decide again because somebody else took
    /// one. It must be a part of what the models read: about events that they do not read, nobody
    /// knows which have come *since*. A query without items matches nothing, so that what is
    /// decided is recorded whatever has come.
    fn validation_query(&self, model: &Self::Model) -> Option<Query> {
        let _ = model;
        None
    }

    /// How often this decision is tried when others are faster; `None` for as often as
    /// [everything else](crate::Annals::with_retry).
    fn retry(&self) -> Option<RetryPolicy> {
        None
    }
}
