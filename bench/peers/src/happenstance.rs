//! happenstance on its SQLite backend, with `synchronous=FULL` instead of its `NORMAL`.
//!
//! It has no streams; a tag stands for the stream.

use std::path::Path;
use std::sync::Arc;

use annals_bench_contest::load::Batch;
use annals_bench_contest::{Contestant, Tally, Which};
use futures_util::StreamExt;
use happenstance_core::{
    Event, EventType, Query, QueryItem, ReadOptions, SendEventStore, Tag, Tags,
};
use happenstance_sqlite::connection;
use happenstance_sqlite::event_store::SqliteEventStore;

#[derive(Clone)]
pub struct Happenstance(Arc<SqliteEventStore>);

impl Contestant for Happenstance {
    async fn open(directory: &Path) -> Self {
        let connection =
            connection::open_configured(directory.join("happenstance.db")).expect("the file opens");
        connection.pragma_update(None, "synchronous", "FULL").expect("the setting applies");
        Self(Arc::new(SqliteEventStore::open_on(connection).expect("the store opens")))
    }

    async fn append(&self, batch: Batch) {
        let events: Vec<Event> = batch
            .events
            .into_iter()
            .map(|event| {
                let tags: Tags =
                    [batch.stream.clone()].into_iter().chain(event.tag).map(tag).collect();
                let event_type = EventType::from_static(event.event_type);
                Event::new(event_type, event.data).expect("the type is valid").with_tags(tags)
            })
            .collect();
        SendEventStore::append(&*self.0, &events, None).await.expect("the append succeeds");
    }

    async fn read(&self, which: &Which) -> Tally {
        let query = match which {
            Which::All => Query::all(),
            Which::Stream(name) | Which::Tag(name) => {
                let tags: Tags = [tag(name.clone())].into_iter().collect();
                Query::from_item(QueryItem::tagged(tags).expect("there is a tag"))
            }
        };
        let mut tally = Tally::default();
        let events = SendEventStore::read(&*self.0, &query, ReadOptions::new());
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            tally.count(event.expect("the read succeeds").event.data());
        }
        tally
    }

    async fn close(self) {}
}

fn tag(value: String) -> Tag {
    Tag::new(value).expect("the load's tags are valid")
}
