//! A feed: what keeps it up to date, and what can be asked of it.

use std::sync::Arc;

use annals::{Annals, Projector};

use crate::{
    Activity, Audit, EntryStore, FeedDefinition, FeedError, Filter, Live, LiveCursor, MemoryFeed,
    Statistics,
};

/// A feed. Cheap to clone and to share.
///
/// Its [projector](Self::projector) keeps entries in a read side; everything else asks for them.
///
/// ```
/// use annals::{Annals, MemoryStore};
/// use annals_feed::{Feed, FeedDefinition, Filter};
/// # use annals::{Context, Data, EventStoreExt, EventType, ExpectedVersion, NewEvent};
/// # use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// let app = Annals::new(store.clone());
/// let feed = Feed::in_memory(FeedDefinition::new("activity"));
/// let running = app.project(feed.projector()).start();
/// # let closed = NewEvent::new(EventType::new("IssueClosed")?, Data::json("{}"))
/// #     .with_metadata(Context::new().actor("ada").metadata());
/// # let receipt = store.append_to("issue-7".parse()?, ExpectedVersion::Any, [closed]).await?;
/// # running.wait_for(receipt.last_position, Duration::from_secs(5)).await?;
///
/// let page = feed.activity(Filter::new().by("ada")).limit(20).page().await?;
/// assert_eq!(page.entries[0].event_type.as_str(), "IssueClosed");
/// # running.stop().await;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Feed {
    definition: Arc<FeedDefinition>,
    entries: Arc<dyn EntryStore>,
    projector: Arc<dyn Projector>,
}

impl Feed {
    /// A feed that is kept in memory: for tests and examples.
    #[must_use]
    pub fn in_memory(definition: FeedDefinition) -> Self {
        let definition = Arc::new(definition);
        let memory = MemoryFeed::new(Arc::clone(&definition));
        Self { definition, entries: Arc::new(memory.clone()), projector: Arc::new(memory) }
    }

    /// A feed in tables of an SQLite file: the one of this read side, which is read through
    /// connections of the feed's own.
    #[cfg(feature = "sqlite")]
    #[must_use]
    pub fn in_sqlite(
        definition: FeedDefinition,
        read_side: &annals::sqlite::SqliteReadSide,
        path: impl Into<std::path::PathBuf>,
    ) -> Self {
        let definition = Arc::new(definition);
        let (entries, projector) =
            crate::sqlite::feed(Arc::clone(&definition), read_side, path.into());
        Self { definition, entries, projector }
    }

    /// A feed in tables of a PostgreSQL database, which is reached through this read side.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn in_postgres(
        definition: FeedDefinition,
        read_side: &annals::postgres::PostgresReadSide,
    ) -> Self {
        let definition = Arc::new(definition);
        let (entries, projector) = crate::postgres::feed(Arc::clone(&definition), read_side);
        Self { definition, entries, projector }
    }

    /// A feed that is kept elsewhere, or is looked at through something.
    #[must_use]
    pub fn of(
        definition: FeedDefinition,
        entries: Arc<dyn EntryStore>,
        projector: Arc<dyn Projector>,
    ) -> Self {
        Self { definition: Arc::new(definition), entries, projector }
    }

    /// What keeps it up to date: to be started with [`Annals::project`].
    #[must_use]
    pub fn projector(&self) -> Arc<dyn Projector> {
        Arc::clone(&self.projector)
    }

    /// Where its entries are.
    #[must_use]
    pub fn entries(&self) -> Arc<dyn EntryStore> {
        Arc::clone(&self.entries)
    }

    /// What it is made of.
    #[must_use]
    pub fn definition(&self) -> &FeedDefinition {
        &self.definition
    }

    /// Pages of entries, newest first.
    pub fn activity(&self, filter: Filter) -> Activity {
        Activity::new(self.entries(), filter)
    }

    /// All entries of a kind, for an export.
    pub fn audit(&self) -> Audit {
        Audit::new(self.entries())
    }

    /// What can be counted in entries.
    #[must_use]
    pub fn statistics(&self, filter: Filter) -> Statistics {
        Statistics::new(self.entries(), filter)
    }

    /// Entries as they come: those behind a cursor, a page's for example, or from now on.
    ///
    /// They are made of the log itself, and so may come before they are in a page.
    ///
    /// # Errors
    /// [`FeedError::TooMuch`] for a filter beyond its limits.
    pub fn live(
        &self,
        app: &Annals,
        filter: Filter,
        after: Option<LiveCursor>,
    ) -> Result<Live, FeedError> {
        Live::new(app, Arc::clone(&self.definition), filter, after)
    }
}
