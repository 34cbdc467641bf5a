//! What a feed is made of.

use std::fmt;
use std::sync::Arc;

use annals::{Category, EventType, Query, QueryItem, RecordedEvent, SubscriberName};
use serde_json::Value;

use crate::Entry;

/// What a feed is made of: of which events, and what it keeps of them.
///
/// It is defined once in a program: its name and the statements made of it are kept as long as
/// the program runs.
///
/// ```
/// use annals_feed::FeedDefinition;
///
/// let activity = FeedDefinition::new("activity")
///     .category("issue".parse()?)
///     // Secrets do not belong into a feed:
///     .map(|_, mut entry| {
///         if let Some(token) = entry.data.get_mut("token") {
///             *token = "***".into();
///         }
///         Some(entry)
///     });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FeedDefinition {
    name: &'static str,
    subscriber: SubscriberName,
    version: u32,
    categories: Vec<Category>,
    types: Vec<EventType>,
    keeps_data: bool,
    data_bytes_max: usize,
    map: Option<Arc<Map>>,
}

type Map = dyn Fn(&RecordedEvent, Entry) -> Option<Entry> + Send + Sync;

impl FeedDefinition {
    /// The most bytes of a name.
    pub const NAME_BYTES_MAX: usize = 32;

    /// A feed of all events with this name, which is also that of its checkpoint and stands before
    /// that of its tables: letters a to z, digits, and single underscores between them, beginning
    /// with a letter.
    ///
    /// # Panics
    /// When it is no such name, or has more than [`NAME_BYTES_MAX`](Self::NAME_BYTES_MAX) bytes:
    /// a mistake in the program.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        assert!(is_name(name), "{name:?} cannot name a feed; use a to z, 0 to 9 and single _");
        let subscriber = name.parse().expect("what names a feed names a subscriber");
        Self {
            name,
            subscriber,
            version: 1,
            categories: Vec::new(),
            types: Vec::new(),
            keeps_data: true,
            data_bytes_max: 64 * 1024,
            map: None,
        }
    }

    /// The version of this definition, 1 unless said otherwise: to be counted up whenever the
    /// same events make other entries, so that the feed is rebuilt.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Of events in this category, and others that are named like this.
    #[must_use]
    pub fn category(mut self, category: Category) -> Self {
        self.categories.push(category);
        self
    }

    /// Of events of these types, and others that are named like this.
    #[must_use]
    pub fn types(mut self, types: impl IntoIterator<Item = EventType>) -> Self {
        self.types.extend(types);
        self
    }

    /// Keeps no data, only metadata: what people's data stand in is then not copied into the feed,
    /// and need not be forgotten there.
    #[must_use]
    pub fn without_data(mut self) -> Self {
        self.keeps_data = false;
        self
    }

    /// Keeps data of at most so many bytes, 64 KiB unless said otherwise; of larger ones nothing.
    /// This is what bounds the memory of a page.
    #[must_use]
    pub fn data_bytes_max(mut self, bytes: usize) -> Self {
        self.data_bytes_max = bytes;
        self
    }

    /// What becomes of an entry before it is kept: something may be left out or masked in it, or
    /// all of it be left out with `None`. A pure function: the same event has the same entry.
    ///
    /// What it leaves out of data and metadata is not found by searching either. Where an entry
    /// stands (position, moments, stream, type) it cannot change.
    #[must_use]
    pub fn map(
        mut self,
        map: impl Fn(&RecordedEvent, Entry) -> Option<Entry> + Send + Sync + 'static,
    ) -> Self {
        self.map = Some(Arc::new(map));
        self
    }

    /// The feed's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn subscriber(&self) -> &SubscriberName {
        &self.subscriber
    }

    pub(crate) fn code_version(&self) -> u32 {
        self.version
    }

    pub(crate) fn query(&self) -> Query {
        let mut item = QueryItem::new().types(self.types.iter().cloned());
        item.categories.clone_from(&self.categories);
        Query::of(item)
    }

    /// The entry of an event, if it has one.
    #[must_use]
    pub fn entry(&self, event: &RecordedEvent) -> Option<Entry> {
        if !self.query().matches(event) {
            return None;
        }
        let mut entry = Entry::of(event);
        if !self.keeps_data || event.data.bytes.len() > self.data_bytes_max {
            entry.data = Value::Null;
        }
        let mapped = match &self.map {
            Some(map) => map(event, entry.clone())?,
            None => return Some(entry.bounded()),
        };
        let Entry { actor, reason, batch, correlation, metadata, data, .. } = mapped;
        Some(Entry { actor, reason, batch, correlation, metadata, data, ..entry }.bounded())
    }
}

fn is_name(name: &str) -> bool {
    (1..=FeedDefinition::NAME_BYTES_MAX).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !name.contains("__")
        && !name.ends_with('_')
        && !name.starts_with("annals_")
        && !name.starts_with("sqlite_")
}

impl fmt::Debug for FeedDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedDefinition")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("categories", &self.categories)
            .field("types", &self.types)
            .field("keeps_data", &self.keeps_data)
            .finish_non_exhaustive()
    }
}
