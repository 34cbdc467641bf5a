//! Audit: all entries of a kind, and their export.

use std::pin::Pin;
use std::sync::Arc;

use annals::{EventType, StreamId, Timestamp};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};

use crate::entry::Place;
use crate::export::{Csv, CsvOptions, json_lines};
use crate::{Entry, EntryStore, FeedError, Filter, Order, Slice};

/// An export as it is written: pieces of a file, one for each page that is read.
pub type Export = Pin<Box<dyn Stream<Item = Result<Bytes, FeedError>> + Send>>;

/// Entries, one after the other, as the consumer asks for them.
pub type Entries = Pin<Box<dyn Stream<Item = Result<Entry, FeedError>> + Send>>;

/// Who did what to which thing, and when: begun by [`Feed::audit`](crate::Feed::audit).
///
/// Oldest first unless said otherwise. All of it is read page by page, so an export of any length
/// needs the memory of one page; what happens while it is read may be in it.
///
/// ```
/// # use annals_feed::{CsvOptions, Feed, FeedDefinition};
/// use futures_util::TryStreamExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let feed = Feed::in_memory(FeedDefinition::new("activity"));
/// let export = feed
///     .audit()
///     .actor("ada")
///     .resource("issue-7".parse()?)
///     .period("2026-03-01T00:00:00Z".parse()?, "2026-04-01T00:00:00Z".parse()?);
/// let mut csv = export.csv(CsvOptions::default())?;
/// while let Some(bytes) = csv.try_next().await? {
///     // … write it to a file, or to the body of an answer.
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is read until it is exported"]
pub struct Audit {
    entries: Arc<dyn EntryStore>,
    filter: Filter,
    order: Order,
}

impl Audit {
    /// So many entries are read at once.
    pub const PAGE_ENTRIES: usize = 200;

    pub(crate) fn new(entries: Arc<dyn EntryStore>) -> Self {
        Self { entries, filter: Filter::new(), order: Order::OldestFirst }
    }

    /// What this actor did; said several times, what any of them did.
    pub fn actor(mut self, actor: impl AsRef<str>) -> Self {
        self.filter = self.filter.by(actor);
        self
    }

    /// What happened to this thing, that is in this stream; said several times, to any of them.
    pub fn resource(mut self, stream: StreamId) -> Self {
        self.filter = self.filter.in_stream(stream);
        self
    }

    /// What was done, that is the type; said several times, any of them.
    pub fn action(mut self, event_type: EventType) -> Self {
        self.filter = self.filter.of_type(event_type);
        self
    }

    /// What happened at `since` or later, and before `before`.
    pub fn period(mut self, since: Timestamp, before: Timestamp) -> Self {
        self.filter = self.filter.since(since).before(before);
        self
    }

    /// What a filter finds; what was said before is forgotten.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// The newest first.
    pub fn newest_first(mut self) -> Self {
        self.order = Order::NewestFirst;
        self
    }

    /// The entries, one after the other.
    ///
    /// # Errors
    /// [`FeedError::TooMuch`] for a filter beyond its limits.
    pub fn entries(&self) -> Result<Entries, FeedError> {
        let entries = self.pages()?.map_ok(|page| stream::iter(page).map(Ok));
        Ok(Box::pin(entries.try_flatten()))
    }

    /// The entries as CSV, after RFC 4180, with a line of names first.
    ///
    /// # Errors
    /// [`FeedError::TooMuch`] for a filter beyond its limits.
    pub fn csv(&self, options: CsvOptions) -> Result<Export, FeedError> {
        let csv = Csv::new(options);
        let header = csv.header();
        let pages = self.pages()?.map_ok(move |page| csv.lines(&page));
        Ok(Box::pin(stream::iter([Ok(header)]).chain(pages)))
    }

    /// The entries as JSON, a line each.
    ///
    /// # Errors
    /// [`FeedError::TooMuch`] for a filter beyond its limits.
    pub fn json_lines(&self) -> Result<Export, FeedError> {
        Ok(Box::pin(self.pages()?.map_ok(|page| json_lines(&page))))
    }

    fn pages(
        &self,
    ) -> Result<impl Stream<Item = Result<Vec<Entry>, FeedError>> + Send + use<>, FeedError> {
        self.filter.check()?;
        let begin = (!self.filter.is_vain()).then_some(None);
        let (entries, filter, order) = (Arc::clone(&self.entries), self.filter.clone(), self.order);
        Ok(stream::try_unfold(begin, move |place: Option<Option<Place>>| {
            let (entries, filter) = (Arc::clone(&entries), filter.clone());
            async move {
                let Some(after) = place else { return Ok(None) };
                let slice = Slice { order, after, limit: Self::PAGE_ENTRIES };
                let page = entries.slice(&filter, slice).await?;
                let is_full = page.len() == Self::PAGE_ENTRIES;
                let next = page.last().filter(|_| is_full).map(|last| Some(last.place()));
                Ok((!page.is_empty()).then_some((page, next)))
            }
        }))
    }
}
