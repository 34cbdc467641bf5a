//! Subscribers that keep what they saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_core::error::Chain;
use annals_core::{
    Category, EventStore, Notice, Position, Query, QueryItem, Subscribe, Subscription,
};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep_until};

use super::seen::Seen;
use crate::failure::Failure;

/// How long subscriptions may take to come to the end of the log, once the time is over.
const ARRIVAL_MAX: Duration = Duration::from_secs(60);

/// Everybody who follows the log.
pub(super) struct Followers {
    all: Vec<Follower>,
    tell_end: watch::Sender<Option<End>>,
}

struct Follower {
    category: Option<Category>,
    delivered: Arc<AtomicU64>,
    following: JoinHandle<(Seen, Option<String>)>,
}

/// What a follower came home with.
#[derive(Debug)]
pub(super) struct Followed {
    /// Of the whole log when there is none.
    pub(super) category: Option<Category>,
    pub(super) seen: Seen,
    /// Why it ended before it had come to the end.
    pub(super) failure: Option<String>,
}

impl Followers {
    /// Follows the whole log from after `start`, so many times, and each of the categories.
    pub(super) fn start(
        store: &Arc<dyn EventStore>,
        start: Position,
        of_whole_log: u32,
        categories: &[Category],
    ) -> Self {
        let (tell_end, end) = watch::channel(None);
        let whole = (0..of_whole_log).map(|_| None);
        let all = whole.chain(categories.iter().cloned().map(Some)).map(|category| {
            let item = category
                .clone()
                .map_or_else(QueryItem::new, |category| QueryItem::new().category(category));
            let notices = store.subscribe(Subscribe::query(Query::of(item)).after(start));
            let delivered = Arc::new(AtomicU64::new(0));
            let following = tokio::spawn(follow(notices, Arc::clone(&delivered), end.clone()));
            Follower { category, delivered, following }
        });
        Self { all: all.collect(), tell_end }
    }

    /// How many events the first has seen so far.
    pub(super) fn delivered(&self) -> Arc<AtomicU64> {
        self.all.first().map(|first| Arc::clone(&first.delivered)).unwrap_or_default()
    }

    /// Waits until all have come to `position`, or have had time enough.
    pub(super) async fn end(self, position: Position) -> Result<Vec<Followed>, Failure> {
        let deadline = Instant::now() + ARRIVAL_MAX;
        self.tell_end.send_replace(Some(End { position, deadline }));
        let mut followed = Vec::new();
        for Follower { category, following, .. } in self.all {
            let (seen, failure) =
                following.await.map_err(|error| Failure::because("following", &error))?;
            followed.push(Followed { category, seen, failure });
        }
        Ok(followed)
    }
}

/// Where the audit ends, and until when its followers may take to come there.
#[derive(Debug, Clone, Copy)]
struct End {
    position: Position,
    deadline: Instant,
}

/// Keeps what the subscription delivers until it has come to the end; also what went wrong.
async fn follow(
    mut notices: Subscription,
    delivered: Arc<AtomicU64>,
    mut end: watch::Receiver<Option<End>>,
) -> (Seen, Option<String>) {
    let mut seen = Seen::default();
    loop {
        let told: Option<End> = *end.borrow_and_update();
        if told.is_some_and(|end| seen.at() >= end.position.get()) {
            return (seen, None);
        }
        tokio::select! {
            notice = notices.next() => match notice {
                Some(Ok(Notice::Event(event))) => {
                    seen.event(event.position.get());
                    delivered.fetch_add(1, Ordering::Relaxed);
                }
                Some(Ok(Notice::CaughtUp(position))) => seen.caught_up(position.get()),
                Some(Err(error)) => return (seen, Some(Chain(&error).to_string())),
                None => return (seen, Some("the subscription ended by itself".to_owned())),
            },
            changed = end.changed() => if changed.is_err() {
                return (seen, Some("the audit was broken off".to_owned()));
            },
            () = at_deadline(told) => {
                let failure = format!("it has come to position {} only", seen.at());
                return (seen, Some(failure));
            }
        }
    }
}

async fn at_deadline(end: Option<End>) {
    match end {
        Some(end) => sleep_until(end.deadline).await,
        None => std::future::pending().await,
    }
}
