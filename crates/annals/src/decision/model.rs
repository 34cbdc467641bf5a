//! What decisions are made on: state folded from the events that a query finds.

use std::slice;

use annals_core::{InvalidName, Query, RecordedEvent};

use crate::decision::boundary::Reading;
use crate::error::DecodeError;
use crate::{Apply, Event};

/// State folded from the events that a query finds, in whatever streams they are: as small as
/// one decision needs it.
///
/// Derive it. `event` names the events, `types(..)` which of them are folded, all of them when
/// that is left out, and fields with a `tag` say of which thing: all of the tags must be on an
/// event. The derive makes the constructor `of`, which takes the values of the tags in the order
/// of the fields; every other field begins as its default.
///
/// ```
/// use annals::{Apply, DecisionModel, Event};
///
/// #[derive(Event)]
/// enum CourseEvent {
///     CourseDefined { #[event(tag = "course")] course: String, places: u32 },
///     #[event(name = "course-renamed")]
///     CourseRenamed { #[event(tag = "course")] course: String, title: String },
///     CourseCancelled { #[event(tag = "course")] course: String },
/// }
///
/// /// Whether there is such a course.
/// #[derive(DecisionModel)]
/// #[model(event = CourseEvent, types(CourseDefined, CourseCancelled))]
/// struct Exists {
///     #[model(tag = "course")]
///     course: String,
///     exists: bool,
/// }
///
/// impl Apply<CourseEvent> for Exists {
///     fn apply(&mut self, event: CourseEvent) {
///         self.exists = matches!(event, CourseEvent::CourseDefined { .. });
///     }
/// }
///
/// let rust = Exists::of("rust");
/// let query = rust.query()?;
/// assert_eq!(query.items()[0].tags[0].as_str(), "course:rust");
/// assert_eq!(query.items()[0].types.len(), 2);
/// # Ok::<(), annals::InvalidName>(())
/// ```
///
/// A type that is stored under another name than its variant is given by that name:
/// `types("course-renamed")`.
///
/// By hand, [`query`](Self::query) may be any query; it is asked once, before the first event.
/// One that matches nothing finds nothing and is in nobody's way. One that matches everything is
/// allowed as well, and makes every append of anybody a reason to decide again.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a decision model",
    label = "this type is not folded from a query",
    note = "write `#[derive(annals::DecisionModel)]` and `#[model(event = .., types(..))]` above `{Self}`; several models are a tuple of up to six"
)]
pub trait DecisionModel: Apply<<Self as DecisionModel>::Event> + Send + 'static {
    /// What it is folded from.
    type Event: Event;

    /// Which events those are, by their types as they are written now: events in older shapes
    /// are found as their [upcasters](crate::Upcasters) say.
    ///
    /// Where an item names no types, events that are none of [`Event`](Self::Event)'s are passed
    /// over.
    ///
    /// # Errors
    /// When a value makes no valid tag.
    fn query(&self) -> Result<Query, InvalidName>;
}

/// One [`DecisionModel`], or several: a tuple of up to six, which may hold tuples; `()` for none;
/// a `Vec` for as many as the decision says, such as one for each product of an order, within what
/// a query may have: [`query_items_max`](crate::Limits::query_items_max) items in all.
///
/// Each is folded from what its own query finds, and together they are one consistency boundary.
/// They may be of different enums of events. It is not for implementing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a decision model, nor several",
    label = "nothing of this is folded from a query, or not all of it",
    note = "write `#[derive(annals::DecisionModel)]` above each model; several are a tuple of up to six, a tuple of tuples, or a `Vec`"
)]
pub trait DecisionModels: Send {
    /// Notes what each model is folded from.
    #[doc(hidden)]
    fn readings(&self, readings: &mut Vec<Reading>) -> Result<(), InvalidName>;

    /// Folds a stored event into the models that look for it.
    #[doc(hidden)]
    fn fold(
        &mut self,
        readings: &mut slice::Iter<'_, Reading>,
        stored: &RecordedEvent,
    ) -> Result<(), DecodeError>;
}

impl<M: DecisionModel> DecisionModels for M {
    fn readings(&self, readings: &mut Vec<Reading>) -> Result<(), InvalidName> {
        readings.push(Reading::of::<M::Event>(self.query()?));
        Ok(())
    }

    fn fold(
        &mut self,
        readings: &mut slice::Iter<'_, Reading>,
        stored: &RecordedEvent,
    ) -> Result<(), DecodeError> {
        let reading = readings.next().expect("each model has noted what it reads");
        reading.events::<M::Event>(stored)?.into_iter().for_each(|event| self.apply(event));
        Ok(())
    }
}

impl<M: DecisionModels> DecisionModels for Vec<M> {
    fn readings(&self, readings: &mut Vec<Reading>) -> Result<(), InvalidName> {
        self.iter().try_for_each(|model| model.readings(readings))
    }

    fn fold(
        &mut self,
        readings: &mut slice::Iter<'_, Reading>,
        stored: &RecordedEvent,
    ) -> Result<(), DecodeError> {
        self.iter_mut().try_for_each(|model| model.fold(readings, stored))
    }
}

macro_rules! several_models {
    ($($model:ident $index:tt),*) => {
        impl<$($model: DecisionModels),*> DecisionModels for ($($model,)*) {
            fn readings(&self, _readings: &mut Vec<Reading>) -> Result<(), InvalidName> {
                $(self.$index.readings(_readings)?;)*
                Ok(())
            }

            fn fold(
                &mut self,
                _readings: &mut slice::Iter<'_, Reading>,
                _stored: &RecordedEvent,
            ) -> Result<(), DecodeError> {
                $(self.$index.fold(_readings, _stored)?;)*
                Ok(())
            }
        }
    };
}

several_models!();
several_models!(A 0);
several_models!(A 0, B 1);
several_models!(A 0, B 1, C 2);
several_models!(A 0, B 1, C 2, D 3);
several_models!(A 0, B 1, C 2, D 3, E 4);
several_models!(A 0, B 1, C 2, D 3, E 4, F 5);
