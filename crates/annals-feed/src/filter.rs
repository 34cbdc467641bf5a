//! Filters: which entries are meant.

use std::collections::BTreeSet;

use annals::{Category, EventType, Query, QueryItem, StreamId, Timestamp};
use serde::Serialize;

use crate::Entry;
use crate::entry::key;
use crate::error::{FeedError, within};
use crate::words::{self, cut, words_of};

/// Which entries are meant: those for which everything holds that is said here.
///
/// What may be said several times, actors for example, names any of them. A filter for the actors
/// of an empty team finds nothing.
///
/// ```
/// use annals_feed::Filter;
///
/// let of_the_team = Filter::new()
///     .by_any(["ada", "grace"])
///     .in_category("issue".parse()?)
///     .of_type("IssueClosed".parse()?)
///     .since("2026-03-01T00:00:00Z".parse()?)
///     .search("login page");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Filter {
    pub(crate) actors: Option<BTreeSet<String>>,
    pub(crate) streams: Option<BTreeSet<StreamId>>,
    pub(crate) categories: Option<BTreeSet<Category>>,
    pub(crate) types: Option<BTreeSet<EventType>>,
    pub(crate) batch: Option<String>,
    pub(crate) correlation: Option<String>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) before: Option<Timestamp>,
    pub(crate) search: Option<String>,
}

impl Filter {
    /// Actors, streams, categories, types: the most of each.
    pub const TERMS_MAX: usize = 1_000;

    /// Every entry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What this actor did.
    #[must_use]
    pub fn by(self, actor: impl AsRef<str>) -> Self {
        self.by_any([actor])
    }

    /// What any of these actors did, a team for example.
    #[must_use]
    pub fn by_any<A: AsRef<str>>(mut self, actors: impl IntoIterator<Item = A>) -> Self {
        self.actors.get_or_insert_default().extend(actors.into_iter().map(key));
        self
    }

    /// What happened in this stream.
    #[must_use]
    pub fn in_stream(self, stream: StreamId) -> Self {
        self.in_streams([stream])
    }

    /// What happened in any of these streams.
    #[must_use]
    pub fn in_streams(mut self, streams: impl IntoIterator<Item = StreamId>) -> Self {
        self.streams.get_or_insert_default().extend(streams);
        self
    }

    /// What happened in the streams of this category.
    #[must_use]
    pub fn in_category(mut self, category: Category) -> Self {
        self.categories.get_or_insert_default().insert(category);
        self
    }

    /// What is of this type.
    #[must_use]
    pub fn of_type(self, event_type: EventType) -> Self {
        self.of_types([event_type])
    }

    /// What is of any of these types.
    #[must_use]
    pub fn of_types(mut self, types: impl IntoIterator<Item = EventType>) -> Self {
        self.types.get_or_insert_default().extend(types);
        self
    }

    /// What was part of the bulk operation with this id.
    #[must_use]
    pub fn in_batch(mut self, id: impl AsRef<str>) -> Self {
        self.batch = Some(key(id));
        self
    }

    /// What belongs to this conversation.
    #[must_use]
    pub fn in_correlation(mut self, id: impl AsRef<str>) -> Self {
        self.correlation = Some(key(id));
        self
    }

    /// What happened at this moment or later.
    #[must_use]
    pub fn since(mut self, moment: Timestamp) -> Self {
        self.since = Some(moment);
        self
    }

    /// What happened before this moment.
    #[must_use]
    pub fn before(mut self, moment: Timestamp) -> Self {
        self.before = Some(moment);
        self
    }

    /// What has all words of this text in the values of its data and metadata. A blank text
    /// restricts nothing; one that is not blank and has no word finds nothing.
    ///
    /// It is text and nothing else: no character in it has a meaning of its own.
    #[must_use]
    pub fn search(mut self, text: impl Into<String>) -> Self {
        self.search = Some(text.into()).filter(|text| !text.trim().is_empty());
        self
    }

    /// Whether an entry is meant.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        fn any<T: Ord>(asked: Option<&BTreeSet<T>>, has: &T) -> bool {
            asked.is_none_or(|asked| asked.contains(has))
        }
        let actors = self.actors.as_ref();
        actors.is_none_or(|asked| entry.actor.as_ref().is_some_and(|actor| asked.contains(actor)))
            && any(self.streams.as_ref(), &entry.stream)
            && any(self.categories.as_ref(), &entry.category)
            && any(self.types.as_ref(), &entry.event_type)
            && (self.batch.is_none() || self.batch.as_ref() == entry.batch.as_ref().map(|b| &b.id))
            && (self.correlation.is_none() || self.correlation == entry.correlation)
            && self.since.is_none_or(|since| entry.occurred_at >= since)
            && self.before.is_none_or(|before| entry.occurred_at < before)
            && self.matches_words(entry)
    }

    fn matches_words(&self, entry: &Entry) -> bool {
        let Some(words) = self.words() else { return true };
        let has = words_of(entry);
        !words.is_empty() && words.iter().all(|word| has.contains(word))
    }

    /// What is searched for, if anything is.
    pub(crate) fn words(&self) -> Option<BTreeSet<String>> {
        self.search.as_deref().map(|text| cut(text).collect())
    }

    /// Whether nothing can match.
    pub(crate) fn is_vain(&self) -> bool {
        self.actors.as_ref().is_some_and(BTreeSet::is_empty)
            || self.streams.as_ref().is_some_and(BTreeSet::is_empty)
            || self.categories.as_ref().is_some_and(BTreeSet::is_empty)
            || self.types.as_ref().is_some_and(BTreeSet::is_empty)
            || self.words().is_some_and(|words| words.is_empty())
    }

    pub(crate) fn check(&self) -> Result<(), FeedError> {
        let terms = [
            self.actors.as_ref().map(BTreeSet::len),
            self.streams.as_ref().map(BTreeSet::len),
            self.categories.as_ref().map(BTreeSet::len),
            self.types.as_ref().map(BTreeSet::len),
        ];
        let most = terms.into_iter().flatten().max().unwrap_or(0);
        within("filter_terms_max", Self::TERMS_MAX, most)?;
        self.search.as_deref().map_or(Ok(()), words::check)
    }

    /// `query`, in the streams or categories that the filter names, as far as a store takes so
    /// many. Types are left out: the parts of a split event are counted whatever their types.
    pub(crate) fn narrow(&self, query: &Query) -> Query {
        const TERMS_MAX: usize = 64;
        let narrowed = query.items().iter().cloned().map(|item| {
            let QueryItem { types, tags, .. } = item.clone();
            let room = TERMS_MAX.saturating_sub(types.len());
            match (&self.streams, &self.categories) {
                (Some(streams), _) if streams.len() <= room && !streams.is_empty() => {
                    let streams = streams.iter().cloned().collect();
                    QueryItem { types, tags, streams, categories: Vec::new() }
                }
                (None, Some(categories)) if categories.len() <= room && !categories.is_empty() => {
                    let categories = categories.iter().cloned().collect();
                    QueryItem { types, tags, categories, streams: Vec::new() }
                }
                _ => item,
            }
        });
        narrowed.collect()
    }
}
