//! Reading the log, and comparing it with what was seen of it.

use std::sync::Arc;

use annals_core::{Category, EventStore, Position, Read};
use futures_util::TryStreamExt;
use serde::Serialize;

use super::comparison::{Comparison, Count, Verdict};
use super::follower::Followed;
use super::seen::Seen;
use super::versions::Versions;
use crate::failure::Failure;

/// What was found of the log, and of those who followed it.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    pub(super) events: u64,
    pub(super) streams: usize,
    /// Events whose version does not follow the one before it in its stream.
    pub(super) version_gaps: Count,
    /// Events whose position does not rise.
    pub(super) positions_back: Count,
    pub(super) subscriptions: Vec<Subscribed>,
    /// What a poller that asks for positions behind its last one would have made of it.
    pub(super) naive_poller: Option<Verdict>,
    /// Events of the audit's own load.
    #[serde(skip)]
    pub(super) of_load: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Subscribed {
    /// Of the whole log when there is none.
    pub(super) category: Option<Category>,
    #[serde(flatten)]
    pub(super) verdict: Verdict,
    /// Why it ended before it had come to the end.
    pub(super) failure: Option<String>,
}

impl Subscribed {
    pub(super) fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.failure.is_none()
    }
}

impl Judged {
    pub(super) fn is_clean(&self) -> bool {
        self.subscriptions.iter().all(Subscribed::is_clean)
            && self.version_gaps.is_zero()
            && self.positions_back.is_zero()
    }
}

/// Reads what lies after `start`, up to `end`, and judges by it.
pub(super) async fn judge(
    store: &Arc<dyn EventStore>,
    start: Position,
    end: Position,
    followed: Vec<Followed>,
    naive: Option<Seen>,
    streams_of_load: Option<&str>,
) -> Result<Judged, Failure> {
    let mut comparisons: Vec<_> = followed
        .into_iter()
        .map(|Followed { category, seen, failure }| {
            (category, Comparison::new(seen, end.get()), failure)
        })
        .collect();
    // What it has not come to it has not missed.
    let mut naive = naive.map(|seen| {
        let come_to = seen.last().min(end.get());
        Comparison::new(seen, come_to)
    });
    let mut versions = Versions::new(start == Position::START);
    let (mut events, mut of_load, mut positions_back) = (0, 0, Count::default());
    let mut last = start.get();

    let mut log = store.read(Read::all().after(start).up_to(end));
    while let Some(event) = log.try_next().await? {
        let position = event.position.get();
        if position <= last {
            positions_back.add(position);
            continue;
        }
        last = position;
        events += 1;
        of_load +=
            u64::from(streams_of_load.is_some_and(|of| event.stream.as_str().starts_with(of)));
        versions.event(position, &event.stream, event.version);
        let its_category = event.stream.category();
        for (category, comparison, _) in &mut comparisons {
            if category.as_ref().is_none_or(|category| *category == its_category) {
                comparison.expect(position);
            }
        }
        if let Some(naive) = &mut naive {
            naive.expect(position);
        }
    }

    let subscribed = |(category, comparison, failure): (_, Comparison, _)| Subscribed {
        category,
        verdict: comparison.finish(),
        failure,
    };
    Ok(Judged {
        events,
        streams: versions.streams(),
        version_gaps: versions.gaps(),
        positions_back,
        subscriptions: comparisons.into_iter().map(subscribed).collect(),
        naive_poller: naive.map(Comparison::finish),
        of_load,
    })
}

#[cfg(test)]
mod tests {
    use annals_core::{
        Append, AppendError, Data, EventStoreExt, EventStream, EventType, ExpectedVersion, Limits,
        MemoryStore, NewEvent, Notice, ReadError, Receipt, StreamId, Subscribe, Subscription,
    };
    use async_trait::async_trait;
    use futures_util::StreamExt;

    use super::super::follower::Followers;
    use super::*;

    /// Keeps the fifth event of every stream from those who subscribe, and tells the seventh
    /// twice.
    #[derive(Debug)]
    struct Liar {
        store: MemoryStore,
        is_lying: bool,
    }

    #[async_trait]
    impl EventStore for Liar {
        fn limits(&self) -> &Limits {
            self.store.limits()
        }

        async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
            self.store.append(append).await
        }

        fn read(&self, read: Read) -> EventStream {
            self.store.read(read)
        }

        fn subscribe(&self, subscribe: Subscribe) -> Subscription {
            let is_lying = self.is_lying;
            let lies = move |notice: Result<Notice, ReadError>| {
                let copies = match &notice {
                    Ok(Notice::Event(event)) if is_lying => match event.version.get() {
                        5 => 0,
                        7 => 2,
                        _ => 1,
                    },
                    _ => 1,
                };
                let notice = notice.ok();
                futures_util::stream::iter((0..copies).filter_map(move |_| notice.clone()).map(Ok))
            };
            Box::pin(self.store.subscribe(subscribe).flat_map(lies))
        }

        async fn head(&self) -> Result<Position, ReadError> {
            self.store.head().await
        }
    }

    async fn judged(is_lying: bool) -> Judged {
        let store: Arc<dyn EventStore> = Arc::new(Liar { store: MemoryStore::new(), is_lying });
        let category = Category::from_static("b");
        let followers = Followers::start(&store, Position::START, 2, &[category]);
        for number in 0..20 {
            let stream = StreamId::from_static(["a-1", "b-1"][number % 2]);
            let event = NewEvent::new(EventType::from_static("Counted"), Data::json("1"));
            store.append_to(stream, ExpectedVersion::Any, [event]).await.unwrap();
        }
        let end = store.head().await.unwrap();
        let followed = followers.end(end).await.unwrap();
        judge(&store, Position::START, end, followed, None, Some("a-")).await.unwrap()
    }

    #[tokio::test]
    async fn a_store_that_keeps_its_word_is_clean() {
        let judged = judged(false).await;
        assert!(judged.is_clean(), "{judged:?}");
        let seen: Vec<_> = judged.subscriptions.iter().map(|one| one.verdict.seen).collect();
        assert_eq!(
            (judged.events, judged.streams, judged.of_load, &*seen),
            (20, 2, 10, &[20, 20, 10][..])
        );
    }

    #[tokio::test]
    async fn a_store_that_lies_is_found_out() {
        let judged = judged(true).await;
        assert!(!judged.is_clean());
        let of = |number: usize| {
            let verdict = judged.subscriptions[number].verdict;
            (verdict.seen, verdict.missed.count, verdict.twice.count)
        };
        assert_eq!([of(0), of(1), of(2)], [(18, 2, 2), (18, 2, 2), (9, 1, 1)]);
    }
}
