//! Entries as they come.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use annals::{Annals, Notice, Position, RecordedEvent, Subscribe};
use async_stream::try_stream;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use crate::sse;
use crate::{Entry, FeedDefinition, FeedError, Filter, LiveCursor};

/// Entries of a filter as they come: begun by [`Feed::live`](crate::Feed::live).
///
/// Each comes once, in the order of the log. Who goes on with the cursor of the last notice has
/// missed nothing and sees nothing twice. After an error it ends.
pub struct Live(Pin<Box<dyn Stream<Item = Result<LiveNotice, FeedError>> + Send>>);

/// What a live feed tells.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a reader must handle both")]
pub enum LiveNotice {
    /// The next entry.
    Entry(LiveCursor, Box<Entry>),
    /// Everything up to here has been told.
    CaughtUp(LiveCursor),
}

impl Live {
    pub(crate) fn new(
        app: &Annals,
        definition: Arc<FeedDefinition>,
        filter: Filter,
        after: Option<LiveCursor>,
    ) -> Result<Self, FeedError> {
        filter.check()?;
        let subscribe = Subscribe::query(filter.narrow(&definition.query()));
        let subscribe = match after {
            None => subscribe.from_head(),
            Some(LiveCursor { position, parts: None }) => subscribe.after(position),
            // Its entries come again, and those that were seen are passed over.
            Some(LiveCursor { position, parts: Some(_) }) => {
                subscribe.after(Position::new(position.get().saturating_sub(1)))
            }
        };
        let mut notices = app.subscribe(subscribe);
        let mut parts = Parts::default();
        Ok(Self(Box::pin(try_stream! {
            while let Some(notice) = notices.next().await {
                match notice? {
                    Notice::CaughtUp(position) => {
                        // Whoever begins beyond the log's end must not be sent back.
                        let ahead = after.filter(|after| after.position > position);
                        let reached = ahead.unwrap_or(LiveCursor::after(position));
                        yield LiveNotice::CaughtUp(reached);
                    }
                    Notice::Event(event) => {
                        let Some(entry) = parts.entry(&definition, &event) else { continue };
                        let cursor = LiveCursor { position: entry.position, parts: Some(entry.part + 1) };
                        let is_seen = after.is_some_and(|after| {
                            after.position == cursor.position && after.parts >= cursor.parts
                        });
                        if !is_seen && filter.matches(&entry) {
                            yield LiveNotice::Entry(cursor, Box::new(entry));
                        }
                    }
                }
            }
        })))
    }

    /// The same as text for a server-sent event stream (`text/event-stream`), which goes on for
    /// ever: each entry an event `entry` with its JSON, and `id:` so that a browser that connects
    /// again sends the cursor as `Last-Event-ID`. When nothing comes for so long, a comment keeps
    /// the connection alive.
    ///
    /// ```
    /// # use annals::{Annals, MemoryStore};
    /// # use annals_feed::{Feed, FeedDefinition, Filter, LiveCursor};
    /// use std::time::Duration;
    ///
    /// # fn answer(feed: &Feed, app: &Annals, last_event_id: Option<&str>) -> Result<(), Box<dyn std::error::Error>> {
    /// let after = last_event_id.map(str::parse::<LiveCursor>).transpose()?;
    /// let body = feed.live(app, Filter::new().by("ada"), after)?.sse(Duration::from_secs(15));
    /// # Ok(()) }
    /// ```
    pub fn sse(
        mut self,
        heartbeat: Duration,
    ) -> impl Stream<Item = Result<Bytes, FeedError>> + Send {
        try_stream! {
            loop {
                match tokio::time::timeout(heartbeat, self.0.next()).await {
                    Ok(Some(notice)) => yield sse::notice(&notice?),
                    Ok(None) => break,
                    Err(_) => yield sse::HEARTBEAT,
                }
            }
        }
    }
}

impl Stream for Live {
    type Item = Result<LiveNotice, FeedError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

/// Counts the entries of a position.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    last: Position,
    next: u32,
}

impl Parts {
    /// The entry of the next event, with its part.
    pub(crate) fn entry(
        &mut self,
        definition: &FeedDefinition,
        event: &RecordedEvent,
    ) -> Option<Entry> {
        if event.position != self.last {
            *self = Self { last: event.position, next: 0 };
        }
        let mut entry = definition.entry(event)?;
        entry.part = self.next;
        self.next += 1;
        Some(entry)
    }
}
