//! The places in which a feed is tested, and the events it is made of.

use std::sync::Arc;
use std::time::Duration;

use annals::postgres::PostgresReadSide;
use annals::sqlite::SqliteReadSide;
use annals::{
    Annals, Context, Data, EventStoreExt, EventType, ExpectedVersion, MemoryStore, NewEvent,
    Position, Receipt, RunningProjection, StreamId, Timestamp,
};
use annals_feed::{Entry, Feed, FeedDefinition, Filter};
use annals_scratch::Database;
use serde_json::{Value, json};

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A log, and what makes feeds of it in one database.
pub(crate) struct Place {
    pub(crate) store: MemoryStore,
    pub(crate) app: Annals,
    kind: Kind,
}

enum Kind {
    Memory,
    Sqlite(SqliteReadSide, tempfile::TempDir),
    Postgres(PostgresReadSide, Box<Database>),
}

impl Place {
    fn of(kind: Kind) -> Self {
        let store = MemoryStore::new();
        Self { app: Annals::new(store.clone()), store, kind }
    }

    pub(crate) async fn memory() -> Self {
        Self::of(Kind::Memory)
    }

    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let read_side =
            SqliteReadSide::open(directory.path().join("feed.db")).expect("a file can be made");
        Self::of(Kind::Sqlite(read_side, directory))
    }

    pub(crate) async fn postgres() -> Self {
        let database = Database::create().await;
        let read_side =
            PostgresReadSide::connect(database.url()).await.expect("the server answers");
        Self::of(Kind::Postgres(read_side, Box::new(database)))
    }

    pub(crate) fn feed(&self, definition: FeedDefinition) -> Feed {
        match &self.kind {
            Kind::Memory => Feed::in_memory(definition),
            Kind::Sqlite(read_side, directory) => {
                Feed::in_sqlite(definition, read_side, directory.path().join("feed.db"))
            }
            Kind::Postgres(read_side, _) => Feed::in_postgres(definition, read_side),
        }
    }

    /// What a feed is opened with in another life.
    pub(crate) fn again(&self, feed: &Feed) -> Again {
        match &self.kind {
            // Connections do not outlive the runtime that they were made in.
            Kind::Postgres(_, database) => {
                Again::Connect(feed.definition().clone(), database.url().to_owned())
            }
            Kind::Memory | Kind::Sqlite(..) => Again::Same(feed.clone()),
        }
    }

    /// A feed of everything, that runs.
    pub(crate) fn activity(&self) -> (Feed, RunningProjection) {
        let feed = self.feed(FeedDefinition::new("activity"));
        let running = self.app.project(feed.projector()).start();
        (feed, running)
    }

    pub(crate) async fn append(&self, happened: impl IntoIterator<Item = Happened>) -> Receipt {
        let mut receipt = None;
        for happened in happened {
            let stream = StreamId::new(&*happened.stream).expect("tests name streams");
            let event = happened.event();
            let appended = self.store.append_to(stream, ExpectedVersion::Any, [event]).await;
            receipt = Some(appended.expect("the memory takes every event"));
        }
        receipt.expect("something happened")
    }

    /// A feed of what happened, that is up to date.
    pub(crate) async fn feed_of(
        &self,
        happened: impl IntoIterator<Item = Happened>,
    ) -> (Feed, RunningProjection) {
        let (feed, running) = self.activity();
        let receipt = self.append(happened).await;
        running.wait_for(receipt.last_position, SOON).await.expect("the feed keeps up");
        (feed, running)
    }
}

/// How a feed is opened in another life.
pub(crate) enum Again {
    Same(Feed),
    Connect(FeedDefinition, String),
}

impl Again {
    pub(crate) async fn open(self) -> Feed {
        match self {
            Self::Same(feed) => feed,
            Self::Connect(definition, url) => {
                let read_side = PostgresReadSide::connect(&url).await.expect("the server answers");
                Feed::in_postgres(definition, &read_side)
            }
        }
    }
}

/// Something that happened, as a test says it.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    pub(crate) stream: String,
    pub(crate) event_type: &'static str,
    pub(crate) at: Option<Timestamp>,
    pub(crate) data: Value,
    pub(crate) context: Context,
}

impl Happened {
    pub(crate) fn new(actor: &str, event_type: &'static str, stream: &str) -> Self {
        let context = if actor.is_empty() { Context::new() } else { Context::new().actor(actor) };
        Self { stream: stream.to_owned(), event_type, at: None, data: json!({}), context }
    }

    pub(crate) fn at(mut self, at: &str) -> Self {
        self.at = Some(at.parse().expect("tests write moments"));
        self
    }

    pub(crate) fn moment(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    pub(crate) fn data(mut self, data: Value) -> Self {
        self.data = data;
        self
    }

    pub(crate) fn context(mut self, change: impl FnOnce(Context) -> Context) -> Self {
        self.context = change(self.context);
        self
    }

    pub(crate) fn event(&self) -> NewEvent {
        let data = Data::of(&self.data).expect("tests write JSON");
        let event = NewEvent::new(EventType::from_static(self.event_type), data)
            .with_metadata(self.context.metadata());
        match self.at {
            Some(at) => event.occurred_at(at),
            None => event,
        }
    }
}

/// A moment of a day on which nothing special happened.
pub(crate) fn minute(minute: i64) -> Timestamp {
    Timestamp::from_micros(1_772_366_400_000_000 + minute * 60_000_000)
}

pub(crate) fn positions(entries: &[Entry]) -> Vec<Position> {
    entries.iter().map(|entry| entry.position).collect()
}

/// All entries of a filter, read in pages of this size.
pub(crate) async fn in_pages(feed: &Feed, filter: &Filter, limit: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut after = None;
    loop {
        let mut activity = feed.activity(filter.clone()).limit(limit);
        if let Some(cursor) = after {
            activity = activity.after(cursor);
        }
        let page = activity.page().await.expect("a page is read");
        entries.extend(page.entries);
        match page.next {
            // As it comes back from a browser.
            Some(next) => after = Some(next.to_string().parse().expect("a cursor survives text")),
            None => return entries,
        }
    }
}

pub(crate) type Shared<T> = Arc<std::sync::Mutex<T>>;

/// Makes a test of each of these functions in each place.
macro_rules! in_each_place {
    ($($test:ident),* $(,)?) => {
        mod in_memory {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(crate::places::Place::memory().await).await;
                }
            )*
        }
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(crate::places::Place::sqlite().await).await;
                }
            )*
        }
        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(crate::places::Place::postgres().await).await;
                }
            )*
        }
    };
}
pub(crate) use in_each_place;
