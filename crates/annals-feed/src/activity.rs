//! Pages of a feed.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use crate::entry::Place;
use crate::error::within;
use crate::grouping::Grouper;
use crate::{
    Cursor, Entry, EntryStore, FeedError, Filter, Group, Grouping, LiveCursor, Order, Slice,
};

/// Pages of entries, newest first: begun by [`Feed::activity`](crate::Feed::activity).
///
/// A page begins behind a [`Cursor`], never after so many entries: what comes meanwhile moves
/// nothing. What is recorded late, with an earlier `occurred_at`, stands where it happened; a
/// reader who is past that place does not see it.
#[derive(Clone, Debug)]
#[must_use = "nothing is read until a page is asked for"]
pub struct Activity {
    entries: Arc<dyn EntryStore>,
    filter: Filter,
    limit: usize,
    after: Option<Cursor>,
}

/// A page of entries.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// The entries, newest first.
    pub entries: Vec<Entry>,
    /// Where the next page begins; `None` when this is the last one.
    pub next: Option<Cursor>,
    /// Where a live feed goes on from this page without a gap. It may repeat entries that are on
    /// the page: tell them by [`Entry::event`].
    pub live_from: LiveCursor,
}

/// A page of groups.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GroupPage {
    /// The groups, newest first.
    pub groups: Vec<Group>,
    /// As in [`Page::next`].
    pub next: Option<Cursor>,
    /// As in [`Page::live_from`].
    pub live_from: LiveCursor,
}

impl Activity {
    /// The most entries or groups of a page.
    pub const LIMIT_MAX: usize = 200;
    /// The most entries that are read for a page of groups; a group that is longer is
    /// [cut](Group::continues).
    pub const GROUPED_MAX: usize = 2_000;

    pub(crate) fn new(entries: Arc<dyn EntryStore>, filter: Filter) -> Self {
        Self { entries, filter, limit: 50, after: None }
    }

    /// At most so many on a page: 50 unless said otherwise.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The page behind another: its [`next`](Page::next).
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// Reads the page.
    ///
    /// # Errors
    /// [`FeedError::TooMuch`], [`FeedError::Cursor`] for a cursor of another filter, or when the
    /// feed cannot be read.
    pub async fn page(&self) -> Result<Page, FeedError> {
        let after = self.check()?;
        // First, so that nothing falls between page and live feed.
        let live_from = LiveCursor::after(self.entries.reached().await?);
        let mut entries = self.read(after, self.limit.saturating_add(1)).await?;
        let is_last = entries.len() <= self.limit;
        entries.truncate(self.limit);
        let last = entries.last().filter(|_| !is_last);
        let next = last.map(|entry| self.cursor_behind(entry));
        Ok(Page { entries, next, live_from })
    }

    /// Reads a page of groups: so many whole groups, which are the same wherever pages end.
    ///
    /// # Errors
    /// As [`page`](Self::page).
    pub async fn groups(&self, grouping: &Grouping) -> Result<GroupPage, FeedError> {
        let mut after = self.check()?;
        let live_from = LiveCursor::after(self.entries.reached().await?);
        let mut grouper = Grouper::new(grouping);
        let mut read = 0;
        loop {
            let wanted = (Self::GROUPED_MAX - read).min(Self::LIMIT_MAX);
            let entries = self.read(after, wanted).await?;
            let is_last = entries.len() < wanted;
            read += entries.len();
            after = entries.last().map(Entry::place).or(after);
            for entry in entries {
                grouper.push(entry);
                if grouper.closed.len() == self.limit {
                    // What closed the last group begins the next page.
                    let next = grouper.closed.last().map(|group| self.cursor_behind(&group.oldest));
                    return Ok(GroupPage { groups: grouper.closed, next, live_from });
                }
            }
            if is_last {
                return Ok(GroupPage { groups: grouper.finish(false), next: None, live_from });
            }
            if read >= Self::GROUPED_MAX {
                let groups = grouper.finish(true);
                let next = groups.last().map(|group| self.cursor_behind(&group.oldest));
                return Ok(GroupPage { groups, next, live_from });
            }
        }
    }

    fn check(&self) -> Result<Option<Place>, FeedError> {
        self.filter.check()?;
        within("page_limit_max", Self::LIMIT_MAX, self.limit)?;
        let place = |cursor: Cursor| cursor.place(&self.filter, Order::NewestFirst);
        Ok(self.after.map(place).transpose()?)
    }

    async fn read(&self, after: Option<Place>, limit: usize) -> Result<Vec<Entry>, FeedError> {
        if self.filter.is_vain() {
            return Ok(Vec::new());
        }
        let slice = Slice { order: Order::NewestFirst, after, limit };
        self.entries.slice(&self.filter, slice).await
    }

    fn cursor_behind(&self, entry: &Entry) -> Cursor {
        Cursor::new(&self.filter, Order::NewestFirst, entry.place())
    }
}

impl Page {
    /// Loads what the entries of the page refer to from a read model, in one call: the keys are
    /// gathered, each once, and without any nothing is loaded.
    ///
    /// ```
    /// # use annals_feed::Page;
    /// # async fn names(ids: Vec<String>) -> Result<Vec<(String, String)>, std::io::Error> { Ok(Vec::new()) }
    /// # async fn show(page: Page) -> Result<(), std::io::Error> {
    /// let names = page.with(|entry| entry.actor.clone(), |ids| names(ids)).await?;
    /// for entry in &page.entries {
    ///     println!("{}: {:?}", entry.event_type, names.of(entry));
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of `load`.
    pub async fn with<K, V, Rows, E, Loading>(
        &self,
        key: impl Fn(&Entry) -> Option<K>,
        load: impl FnOnce(Vec<K>) -> Loading,
    ) -> Result<Referenced<K, V>, E>
    where
        K: Ord + Hash + Clone,
        Rows: IntoIterator<Item = (K, V)>,
        Loading: Future<Output = Result<Rows, E>>,
    {
        Referenced::load(&self.entries, key, load).await
    }
}

impl GroupPage {
    /// As [`Page::with`], for what the newest entry of each group refers to.
    ///
    /// # Errors
    /// Those of `load`.
    pub async fn with<K, V, Rows, E, Loading>(
        &self,
        key: impl Fn(&Entry) -> Option<K>,
        load: impl FnOnce(Vec<K>) -> Loading,
    ) -> Result<Referenced<K, V>, E>
    where
        K: Ord + Hash + Clone,
        Rows: IntoIterator<Item = (K, V)>,
        Loading: Future<Output = Result<Rows, E>>,
    {
        Referenced::load(self.groups.iter().map(|group| &group.newest), key, load).await
    }
}

/// What entries refer to in a read model.
#[derive(Clone, Debug)]
pub struct Referenced<K, V> {
    keys: HashMap<Place, K>,
    rows: HashMap<K, V>,
}

impl<K: Ord + Hash + Clone, V> Referenced<K, V> {
    /// Loads what these entries refer to, in one call.
    ///
    /// # Errors
    /// Those of `load`.
    pub async fn load<'e, Rows, E, Loading>(
        entries: impl IntoIterator<Item = &'e Entry>,
        key: impl Fn(&Entry) -> Option<K>,
        load: impl FnOnce(Vec<K>) -> Loading,
    ) -> Result<Self, E>
    where
        Rows: IntoIterator<Item = (K, V)>,
        Loading: Future<Output = Result<Rows, E>>,
    {
        let keyed = entries.into_iter().filter_map(|entry| Some((entry.place(), key(entry)?)));
        let keys: HashMap<Place, K> = keyed.collect();
        let distinct: BTreeSet<K> = keys.values().cloned().collect();
        if distinct.is_empty() {
            return Ok(Self { keys, rows: HashMap::new() });
        }
        let rows = load(distinct.into_iter().collect()).await?.into_iter().collect();
        Ok(Self { keys, rows })
    }

    /// What this entry refers to, if it does and there is such a row.
    #[must_use]
    pub fn of(&self, entry: &Entry) -> Option<&V> {
        self.rows.get(self.keys.get(&entry.place())?)
    }
}
