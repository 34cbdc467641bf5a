//! Types of events by the names of their variants, checked by the compiler.

use annals_core::{EventType, Query, QueryItem, RecordedEvent};

use crate::decision::derived::same;
use crate::{Event, Upcasters};

/// Some types of events, as [`types!`](crate::types) names them.
///
/// It is what an [inbox](crate::Inbox::accepts) accepts, becomes a [`Query`] with `into()`, and
/// gives the types to [`QueryItem::types`].
#[derive(Clone, Debug)]
pub struct EventTypes {
    types: Vec<EventType>,
    upcasters: Upcasters,
}

impl EventTypes {
    /// These types of `E`, by the names under which they are stored.
    #[doc(hidden)]
    #[must_use]
    pub fn of<E: Event>(names: &[&'static str]) -> Self {
        let types = names.iter().map(|name| EventType::from_static(name)).collect();
        Self { types, upcasters: E::upcasters().clone() }
    }

    /// All types of `E`.
    #[must_use]
    pub fn all_of<E: Event>() -> Self {
        Self::of::<E>(&E::SHAPES.iter().map(|shape| shape.name).collect::<Vec<_>>())
    }

    /// These and those.
    ///
    /// # Panics
    /// As [`Upcasters::and`].
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.upcasters = self.upcasters.and(&other.upcasters);
        let more = other.types.into_iter().filter(|name| !self.types.contains(name));
        self.types.extend(more.collect::<Vec<_>>());
        self
    }

    /// Whether an event, in its newest shape, is of one of them.
    #[must_use]
    pub fn contain(&self, event: &RecordedEvent) -> bool {
        self.types.contains(&event.event_type)
    }

    /// How events in older shapes become events of these types.
    pub(crate) fn upcasters(&self) -> &Upcasters {
        &self.upcasters
    }
}

impl IntoIterator for EventTypes {
    type Item = EventType;
    type IntoIter = std::vec::IntoIter<EventType>;

    fn into_iter(self) -> Self::IntoIter {
        self.types.into_iter()
    }
}

impl From<EventTypes> for Query {
    /// The events of these types; of none, no events.
    fn from(types: EventTypes) -> Self {
        if types.types.is_empty() {
            return Self::default();
        }
        Self::of(QueryItem::new().types(types))
    }
}

/// Names types of events by their variants, or all of an enum: a variant that is not there does
/// not compile, and one that is stored under another name is found under that.
///
/// ```
/// use annals::{Event, EventType, Query, types};
///
/// #[derive(Event)]
/// enum IssueEvent {
///     IssueAssigned { to: String },
///     #[event(name = "issue-closed")]
///     IssueClosed,
///     IssueViewed,
/// }
///
/// let query = Query::from(types!(IssueEvent::{IssueAssigned, IssueClosed}));
/// assert_eq!(query.items()[0].types[1].as_str(), "issue-closed");
/// assert_eq!(types!(IssueEvent).into_iter().count(), 3);
/// ```
///
/// Those of several enums: `types!(IssueEvent::{IssueAssigned}, CommentEvent::{Commented})`.
#[macro_export]
macro_rules! types {
    ($($event:ident)::+ :: { $($variant:ident),+ $(,)? }) => {{
        type __Event = $($event)::+;
        // For a variant that is not there, the compiler knows the one that was meant.
        #[allow(dead_code, reason = "it is only there to be compiled")]
        fn __variants(event: &__Event) {
            $(if let __Event::$variant { .. } = event {})+
        }
        const __NAMES: &[&str] =
            &[$($crate::__private::stored_name::<__Event>(stringify!($variant))),+];
        $crate::EventTypes::of::<__Event>(__NAMES)
    }};
    ($first:ident $(:: $event:ident)* :: { $($variants:tt)+ }, $($more:tt)+) => {
        $crate::types!($first $(:: $event)* :: { $($variants)+ }).and($crate::types!($($more)+))
    };
    ($event:ty) => {
        $crate::EventTypes::all_of::<$event>()
    };
}

/// The name under which events of a variant are stored; at compile time. For events by hand, the
/// two are the same.
#[must_use]
pub const fn stored_name<E: Event>(variant: &'static str) -> &'static str {
    let mut n = 0;
    while n < E::VARIANTS.len() {
        if same(E::VARIANTS[n].0.as_bytes(), variant.as_bytes()) {
            return E::VARIANTS[n].1;
        }
        n += 1;
    }
    variant
}
