//! Reads that return something else than what lies within their bounds.

use std::sync::Arc;

use annals_core::error::{Fault, ReadError};
use annals_core::subscription::follow;
use annals_core::{
    Direction, EventStore, EventStream, Position, Query, QueryItem, Read, Scope, Subscribe,
    Subscription, Version,
};
use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::{Mutex, watch};

use crate::decorate::Decorator;

/// Reads without one of their bounds.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_enums, reason = "these are all the bounds there are")]
pub enum Ignores {
    /// [`Read::after`].
    After,
    /// [`Read::up_to`].
    UpTo,
    /// [`Read::from_version`] and [`Read::to_version`].
    Versions,
    /// [`Read::direction`].
    Direction,
    /// [`Read::limit`].
    Limit,
}

#[async_trait]
impl Decorator for Ignores {
    fn read(&self, store: &Arc<dyn EventStore>, mut read: Read) -> EventStream {
        match self {
            Self::After => read.after = Position::START,
            Self::UpTo => read.up_to = Position::END,
            Self::Versions => read = read.from_version(Version::EMPTY).to_version(Version::END),
            Self::Direction => read.direction = Direction::Forward,
            Self::Limit => read.limit = None,
        }
        store.read(read)
    }
}

/// Queries that are misunderstood.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_enums, reason = "the list of misunderstandings is for tests only")]
pub enum Misreads {
    /// Takes a query without items for all events.
    EmptyQueries,
    /// Takes any tag of an item for enough.
    SeveralTags,
    /// Looks at the first type of an item only.
    SeveralTypes,
    /// Looks at the first item only.
    SeveralItems,
    /// Wants category and stream of an item both to fit.
    Places,
    /// Finds everything in a category whose stream only starts like it.
    Categories,
    /// Forgets where an item's events must be, when it names types or tags too.
    Terms,
}

impl Misreads {
    fn query(self, query: &Query) -> Query {
        let items = query.items().iter();
        match self {
            Self::EmptyQueries if query.items().is_empty() => Query::all(),
            Self::EmptyQueries | Self::Categories => query.clone(),
            Self::SeveralItems => items.take(1).cloned().collect(),
            Self::SeveralTags => items.flat_map(by_each_tag).collect(),
            Self::SeveralTypes => items.map(of_one_type).collect(),
            Self::Places => items.map(in_one_place).collect(),
            Self::Terms => items.map(anywhere).collect(),
        }
    }
}

fn by_each_tag(item: &QueryItem) -> Vec<QueryItem> {
    let each = item.tags.iter().map(|tag| QueryItem { tags: vec![tag.clone()], ..item.clone() });
    if item.tags.is_empty() { vec![item.clone()] } else { each.collect() }
}

fn of_one_type(item: &QueryItem) -> QueryItem {
    let mut item = item.clone();
    item.types.truncate(1);
    item
}

fn in_one_place(item: &QueryItem) -> QueryItem {
    let mut item = item.clone();
    if !item.streams.is_empty() {
        item.categories.clear();
    }
    item
}

fn anywhere(item: &QueryItem) -> QueryItem {
    let mut item = item.clone();
    if !(item.types.is_empty() && item.tags.is_empty()) {
        item.categories.clear();
        item.streams.clear();
    }
    item
}

#[async_trait]
impl Decorator for Misreads {
    fn read(&self, store: &Arc<dyn EventStore>, mut read: Read) -> EventStream {
        let Scope::Query(query) = &read.scope else {
            return store.read(read);
        };
        if let (Self::Categories, [item]) = (self, query.items())
            && let [category] = item.categories.as_slice()
        {
            let start = category.as_str().to_owned();
            read.scope = Scope::Query(Query::all());
            return Box::pin(store.read(read).try_filter(move |event| {
                std::future::ready(event.stream.as_str().starts_with(&start))
            }));
        }
        read.scope = Scope::Query(self.query(query));
        store.read(read)
    }
}

/// Returns an event once for each item of the query that it matches.
#[derive(Debug)]
pub struct RepeatsMatches;

#[async_trait]
impl Decorator for RepeatsMatches {
    fn read(&self, store: &Arc<dyn EventStore>, read: Read) -> EventStream {
        let Scope::Query(query) = read.scope.clone() else {
            return store.read(read);
        };
        let repeated = store.read(read).map_ok(move |event| {
            let count = query.items().iter().filter(|item| item.matches(&event)).count();
            stream::iter((0..count).map(move |_| Ok(event.clone())))
        });
        Box::pin(repeated.try_flatten())
    }
}

/// Takes the first page for everything.
#[derive(Debug)]
pub struct ReadsOnePage;

const PAGE: usize = 1_000;

#[async_trait]
impl Decorator for ReadsOnePage {
    fn read(&self, store: &Arc<dyn EventStore>, read: Read) -> EventStream {
        Box::pin(store.read(read).take(PAGE))
    }

    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        let (sender, head) = watch::channel(Position::START);
        let mut sound = store.subscribe(Subscribe::all());
        let beneath = store.clone();
        let mut paged =
            follow(move |read| Box::pin(beneath.read(read).take(PAGE)), head, subscribe);
        Box::pin(async_stream::stream! {
            loop {
                tokio::select! {
                    Some(notice) = sound.next() => {
                        if let Ok(annals_core::Notice::CaughtUp(at)) = notice {
                            sender.send_replace(at);
                        }
                    }
                    Some(notice) = paged.next(), if *sender.borrow() > Position::START => {
                        yield notice;
                    }
                }
            }
        })
    }
}

/// Reads page by page, each as the log is by then.
#[derive(Debug)]
pub struct ReadsAtSeveralMoments;

#[async_trait]
impl Decorator for ReadsAtSeveralMoments {
    fn read(&self, store: &Arc<dyn EventStore>, read: Read) -> EventStream {
        if read.direction == Direction::Backward || read.limit.is_some() {
            return store.read(read);
        }
        let store = store.clone();
        Box::pin(async_stream::stream! {
            let mut after = read.after;
            loop {
                let mut page = store.read(read.clone().after(after).limit(10));
                let start = after;
                while let Some(event) = page.next().await {
                    if let Ok(event) = &event {
                        after = event.position;
                    }
                    yield event;
                }
                if after == start {
                    return;
                }
            }
        })
    }
}

/// Lends its only reader to one read at a time.
#[derive(Debug, Default)]
pub struct ReadsOneByOne {
    reader: Arc<Mutex<()>>,
}

#[async_trait]
impl Decorator for ReadsOneByOne {
    fn read(&self, store: &Arc<dyn EventStore>, read: Read) -> EventStream {
        let (reader, mut events) = (self.reader.clone(), store.read(read));
        Box::pin(async_stream::stream! {
            let _held = reader.lock_owned().await;
            while let Some(event) = events.next().await {
                yield event;
            }
        })
    }
}

/// Takes a stream that nobody has written to for a mistake.
#[derive(Debug)]
pub struct MissesUnknownStreams;

#[async_trait]
impl Decorator for MissesUnknownStreams {
    fn read(&self, store: &Arc<dyn EventStore>, read: Read) -> EventStream {
        let is_stream = matches!(read.scope, Scope::Stream(_));
        let mut events = store.read(read);
        Box::pin(async_stream::stream! {
            let mut some = false;
            while let Some(event) = events.next().await {
                some = true;
                yield event;
            }
            if is_stream && !some {
                yield Err(ReadError::Unavailable(Fault::new("looking for an unknown stream")));
            }
        })
    }
}
