//! Queries: which events of the log are meant.

use crate::{Category, EventType, RecordedEvent, StreamId, Tag};

/// A disjunction of items: an event matches when it matches any of them.
///
/// A query without items matches nothing; [`Query::all`] matches everything.
///
/// ```
/// use annals_core::{EventType, Query, QueryItem, Tag};
///
/// let course = Query::of(
///     QueryItem::new()
///         .event_type(EventType::new("CourseDefined")?)
///         .event_type(EventType::new("StudentSubscribed")?)
///         .tag(Tag::new("course:c1")?),
/// );
/// let both = course.or(QueryItem::new().tag(Tag::new("student:s1")?));
/// assert_eq!(both.items().len(), 2);
/// # Ok::<(), annals_core::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Query {
    items: Vec<QueryItem>,
}

impl Query {
    /// Every event.
    #[must_use]
    pub fn all() -> Self {
        Self::of(QueryItem::new())
    }

    /// The events that match `item`.
    #[must_use]
    pub fn of(item: QueryItem) -> Self {
        Self { items: vec![item] }
    }

    /// The events of one stream.
    #[must_use]
    pub fn stream(stream: StreamId) -> Self {
        Self::of(QueryItem::new().stream(stream))
    }

    /// The same and also the events that match `item`.
    #[must_use]
    pub fn or(mut self, item: QueryItem) -> Self {
        self.items.push(item);
        self
    }

    /// The items, any of which is enough.
    #[must_use]
    pub fn items(&self) -> &[QueryItem] {
        &self.items
    }

    /// Whether every event matches, because some item restricts nothing.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.items.iter().any(QueryItem::is_all)
    }

    /// Whether `event` matches.
    #[must_use]
    pub fn matches(&self, event: &RecordedEvent) -> bool {
        self.items.iter().any(|item| item.matches(event))
    }
}

impl FromIterator<QueryItem> for Query {
    fn from_iter<I: IntoIterator<Item = QueryItem>>(items: I) -> Self {
        Self { items: items.into_iter().collect() }
    }
}

/// One conjunction of a [`Query`]: what is left empty restricts nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct QueryItem {
    /// The event has any of these types.
    pub types: Vec<EventType>,
    /// The event has all of these tags.
    pub tags: Vec<Tag>,
    /// The event's stream is in any of these categories, or …
    pub categories: Vec<Category>,
    /// … is any of these streams.
    pub streams: Vec<StreamId>,
}

impl QueryItem {
    /// An item that restricts nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a type the event may have.
    #[must_use]
    pub fn event_type(mut self, event_type: EventType) -> Self {
        self.types.push(event_type);
        self
    }

    /// Adds types the event may have.
    #[must_use]
    pub fn types(mut self, types: impl IntoIterator<Item = EventType>) -> Self {
        self.types.extend(types);
        self
    }

    /// Adds a tag the event must have.
    #[must_use]
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// Adds a category the event's stream may be in.
    #[must_use]
    pub fn category(mut self, category: Category) -> Self {
        self.categories.push(category);
        self
    }

    /// Adds a stream the event may be in.
    #[must_use]
    pub fn stream(mut self, stream: StreamId) -> Self {
        self.streams.push(stream);
        self
    }

    /// Whether it restricts nothing.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.types.is_empty() && self.tags.is_empty() && self.is_anywhere()
    }

    /// Whether it restricts neither category nor stream.
    #[must_use]
    pub fn is_anywhere(&self) -> bool {
        self.categories.is_empty() && self.streams.is_empty()
    }

    /// Whether `event` matches.
    #[must_use]
    pub fn matches(&self, event: &RecordedEvent) -> bool {
        let type_fits = self.types.is_empty() || self.types.contains(&event.event_type);
        let tags_fit = self.tags.iter().all(|tag| event.tags.contains(tag));
        type_fits && tags_fit && self.matches_stream(&event.stream)
    }

    fn matches_stream(&self, stream: &StreamId) -> bool {
        self.is_anywhere()
            || self.streams.contains(stream)
            || (!self.categories.is_empty() && self.categories.contains(&stream.category()))
    }
}
