//! Following the log: one watcher for each store that somebody follows.
//!
//! It finds out how far the log can be read whenever there is a reason to look: an append of this
//! process, a notification of another, or because it has not looked for a while. A connection
//! that is lost is made anew, and since positions are all it keeps, nothing is missed.

use std::sync::{Arc, MutexGuard, Weak};
use std::time::Duration;

use annals_core::subscription::follow;
use annals_core::{Position, ReadError, Subscribe, SubscribeFrom, Subscription};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep};

use crate::bell::Bell;
use crate::listen::Listening;
use crate::read::{OnFailure, Source, read};
use crate::store::{PostgresStore, Shared};
use crate::watermark::Mark;

/// How soon to look again when a transaction holds the watermark back, or has just been told of.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// The least time between two looks.
const LOOK_REST: Duration = Duration::from_millis(1);
/// A watermark that stands still for so long is reported, and reported again after as long.
const STALLED: Duration = Duration::from_secs(5);
/// How soon to try again after a failure; it grows up to the second.
const TRY_AGAIN: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];

/// What a checked subscription delivers.
pub(crate) fn subscribe(store: &PostgresStore, subscribe: Subscribe) -> Subscription {
    let shared = Arc::downgrade(store.shared());
    let source = Arc::clone(&store.shared().source);
    let head = store.shared().follow();
    let begun = stream::once(async move {
        let head = head.ok_or(ReadError::Closed)?;
        let subscribe = begin(&shared, &source, subscribe).await?;
        // Not the store itself, which ends its subscriptions when it is dropped.
        let read = move |bounds| read(Arc::clone(&source), bounds, OnFailure::Resume);
        Ok::<_, ReadError>(watched(shared, follow(read, head, subscribe)))
    });
    Box::pin(begun.flat_map(|begun| match begun {
        Ok(notices) => notices,
        Err(error) => Box::pin(stream::iter([Err(error)])),
    }))
}

/// Makes sure that somebody watches, and finds out where the log is now.
async fn begin(
    shared: &Weak<Shared>,
    source: &Source,
    subscribe: Subscribe,
) -> Result<Subscribe, ReadError> {
    let subscribe = match subscribe.from {
        SubscribeFrom::After(_) => {
            let mark = source.watermark.now().await?;
            shared.upgrade().ok_or(ReadError::Closed)?.publish(mark.head);
            subscribe
        }
        SubscribeFrom::Head => {
            let mark = source.watermark.covering(Position::END).await?;
            shared.upgrade().ok_or(ReadError::Closed)?.publish(mark.head);
            subscribe.after(mark.head)
        }
    };
    Ok(subscribe)
}

/// Sees to it that somebody watches for whoever asks for the next notice: the watcher may have
/// been in a runtime that has ended.
fn watched(shared: Weak<Shared>, mut notices: Subscription) -> Subscription {
    Box::pin(stream::poll_fn(move |context| {
        if let Some(shared) = shared.upgrade() {
            watch(&shared);
        }
        notices.poll_next_unpin(context)
    }))
}

fn watch(shared: &Arc<Shared>) {
    if !shared.is_followed() || std::mem::replace(&mut *flag(shared), true) {
        return;
    }
    let watcher = Watcher {
        shared: Arc::downgrade(shared),
        source: Arc::clone(&shared.source),
        listening: None,
        pause: TRY_AGAIN[0],
        held_since: None,
        lost_at: None,
        is_at_work: true,
    };
    tokio::spawn(watcher.run());
}

/// Whether somebody watches.
fn flag(shared: &Shared) -> MutexGuard<'_, bool> {
    shared.watched.lock().expect("nobody panics while holding the flag")
}

struct Watcher {
    shared: Weak<Shared>,
    source: Arc<Source>,
    listening: Option<Listening>,
    pause: Duration,
    /// Since when the watermark stands at a position.
    held_since: Option<(Position, Instant)>,
    /// What was read last, when that is known to be lost.
    lost_at: Option<Position>,
    is_at_work: bool,
}

impl Watcher {
    /// Looks until nobody follows the log any more, whether it can be reached or not.
    async fn run(mut self) {
        loop {
            let known = *self.source.head.borrow();
            let wait = match self.source.watermark.now().await {
                Ok(mark) => {
                    self.report_loss(known, &mark);
                    self.look(&mark).await
                }
                Err(ReadError::Closed) => {
                    self.shared.upgrade().iter().for_each(|shared| shared.end());
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "looking for new events failed; trying again");
                    self.listening = None;
                    let pause = self.pause;
                    self.pause = (pause * 2).min(TRY_AGAIN[1]);
                    pause
                }
            };
            let Some(shared) = self.wanted() else { return };
            let bell = Arc::clone(&shared.bell);
            drop(shared);
            self.wait(&bell, wait).await;
        }
    }

    /// The store, as long as it is there and somebody follows the log by it.
    fn wanted(&mut self) -> Option<Arc<Shared>> {
        let shared = self.shared.upgrade()?;
        let mut watched = flag(&shared);
        if !shared.is_followed() {
            *watched = false;
            self.is_at_work = false;
            return None;
        }
        drop(watched);
        Some(shared)
    }

    /// Publishes where the log is. How long to wait for a reason to look again.
    async fn look(&mut self, mark: &Mark) -> Duration {
        self.pause = TRY_AGAIN[0];
        let Some(shared) = self.shared.upgrade() else { return Duration::ZERO };
        shared.publish(mark.head);
        let poll = shared.poll;
        drop(shared);
        if mark.head >= mark.newest {
            self.held_since = None;
            return poll;
        }
        self.report_stall(mark.head).await;
        LOOK_AGAIN
    }

    /// Says once that events are gone which were there before this look began.
    fn report_loss(&mut self, known: Position, mark: &Mark) {
        if mark.newest < known && self.lost_at != Some(known) {
            self.lost_at = Some(known);
            tracing::error!(
                newest = %mark.newest,
                %known,
                "the log ends before what was read of it: another server has taken over that did \
                 not have its last events; whoever has read them must be put right"
            );
        }
    }

    async fn report_stall(&mut self, head: Position) {
        let now = Instant::now();
        match self.held_since {
            Some((at, since)) if at == head => {
                if now - since > STALLED {
                    self.held_since = Some((head, now));
                    match self.source.watermark.blockers().await {
                        Ok(blockers) => {
                            for blocker in blockers {
                                tracing::warn!(%head, "readers wait for a transaction: {blocker}");
                            }
                        }
                        Err(error) => tracing::warn!(%head, %error, "readers wait"),
                    }
                }
            }
            _ => self.held_since = Some((head, now)),
        }
    }

    async fn wait(&mut self, bell: &Arc<Bell>, at_most: Duration) {
        let Source { connections, schema, .. } = &*self.source;
        self.listening
            .get_or_insert_with(|| Listening::start(connections, schema, Arc::clone(bell)));
        tokio::select! {
            () = bell.here.notified() => {}
            () = sleep(at_most) => return,
        }
        // Many appends in a row are worth one look.
        sleep(LOOK_REST).await;
    }
}

impl Drop for Watcher {
    /// It has panicked, or its runtime has ended, and perhaps others follow the log elsewhere.
    fn drop(&mut self) {
        if let (true, Some(shared)) = (self.is_at_work, self.shared.upgrade()) {
            *flag(&shared) = false;
            shared.wake();
        }
    }
}
