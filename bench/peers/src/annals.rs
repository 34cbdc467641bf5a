//! Annals with its SQLite store as it comes: WAL, `synchronous=FULL`, grouped commits.

use std::path::Path;

use annals_bench_contest::load::Batch;
use annals_bench_contest::{Contestant, Tally, Which};
use annals_core::{EventStore, Query, QueryItem, Read, StreamId, Tag};
use annals_sqlite::SqliteStore;
use futures_util::StreamExt;

#[derive(Clone)]
pub struct Annals(SqliteStore);

impl Contestant for Annals {
    async fn open(directory: &Path) -> Self {
        Self(SqliteStore::open(directory.join("annals.db")).expect("the store opens"))
    }

    async fn append(&self, batch: Batch) {
        self.0.append(batch.into_append()).await.expect("the append succeeds");
    }

    async fn read(&self, which: &Which) -> Tally {
        let read = match which {
            Which::All => Read::all(),
            Which::Stream(name) => {
                Read::stream(StreamId::new(name.clone()).expect("the load's names are valid"))
            }
            Which::Tag(tag) => {
                let tag = Tag::new(tag.clone()).expect("the load's tags are valid");
                Read::query(Query::of(QueryItem::new().tag(tag)))
            }
        };
        let mut tally = Tally::default();
        let mut events = self.0.read(read);
        while let Some(event) = events.next().await {
            tally.count(&event.expect("the read succeeds").data.bytes);
        }
        tally
    }

    async fn close(self) {
        self.0.close().await;
    }
}
