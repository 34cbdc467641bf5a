//! Following the log: one watcher for each store that somebody follows.
//!
//! It finds out how far the log can be read whenever there is a reason to look: an append of this
//! process, a notification of another, or because it has not looked for a while. A connection
//! that is lost is made anew, and since positions are all it keeps, nothing is missed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use annals_core::subscription::follow;
use annals_core::{Position, ReadError, Subscribe, SubscribeFrom, Subscription};
use futures_util::{StreamExt, stream};
use sqlx_core::error::Error;
use sqlx_postgres::PgListener;
use tokio::time::{Instant, sleep};

use crate::bell::channel;
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
    let head = store.shared().head.subscribe();
    let begun = stream::once(async move {
        let subscribe = begin(&shared, &source, subscribe).await?;
        // Not the store itself, which ends its subscriptions when it is dropped.
        let read = move |bounds| read(Arc::clone(&source), bounds, OnFailure::Resume);
        Ok::<_, ReadError>(follow(read, head, subscribe))
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
    watch(&shared.upgrade().ok_or(ReadError::Closed)?);
    Ok(subscribe)
}

fn watch(shared: &Arc<Shared>) {
    let mut watched = shared.watched.lock().expect("nobody panics while holding the flag");
    if !*watched {
        *watched = true;
        let source = Arc::clone(&shared.source);
        let watcher = Watcher {
            shared: Arc::downgrade(shared),
            source,
            listener: None,
            pause: TRY_AGAIN[0],
            held_since: None,
        };
        tokio::spawn(watcher.run());
    }
}

struct Watcher {
    shared: Weak<Shared>,
    source: Arc<Source>,
    listener: Option<PgListener>,
    pause: Duration,
    /// Since when the watermark stands at a position.
    held_since: Option<(Position, Instant)>,
}

impl Watcher {
    async fn run(mut self) {
        loop {
            let wait = match self.source.watermark.now().await {
                Ok(mark) => self.look(&mark).await,
                Err(error) => {
                    tracing::warn!(%error, "looking for new events failed; trying again");
                    self.listener = None;
                    let pause = self.pause;
                    self.pause = (pause * 2).min(TRY_AGAIN[1]);
                    Some(pause)
                }
            };
            let Some(wait) = wait else { return };
            self.wait(wait).await;
        }
    }

    /// Publishes where the log is. How long to wait for a reason to look again; nothing, when
    /// nobody follows the log any more.
    async fn look(&mut self, mark: &Mark) -> Option<Duration> {
        self.pause = TRY_AGAIN[0];
        let poll = {
            let shared = self.shared.upgrade()?;
            shared.publish(mark.head);
            let mut watched = shared.watched.lock().expect("nobody panics while holding the flag");
            if !shared.is_followed() {
                *watched = false;
                return None;
            }
            shared.poll
        };
        if mark.head >= mark.newest {
            self.held_since = None;
            return Some(poll);
        }
        self.report_stall(mark.head).await;
        Some(LOOK_AGAIN)
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

    async fn wait(&mut self, at_most: Duration) {
        let Some(bell) = self.shared.upgrade().map(|shared| Arc::clone(&shared.bell)) else {
            return;
        };
        let notified = async {
            // Listening may not be possible, behind a pooler for example: then polling must do.
            match self.listen().await {
                Ok(listener) => {
                    let heard = listener.try_recv().await;
                    if !matches!(heard, Ok(Some(_))) {
                        self.listener = None;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "listening failed; looking from time to time instead");
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = bell.here.notified() => {}
            () = notified => {}
            () = sleep(at_most) => return,
        }
        // Many appends in a row are worth one look.
        sleep(LOOK_REST).await;
    }

    async fn listen(&mut self) -> Result<&mut PgListener, Error> {
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => {
                let mut listener = PgListener::connect_with(self.source.connections.pool()).await?;
                listener.listen(&channel(&self.source.schema)).await?;
                listener
            }
        };
        Ok(self.listener.insert(listener))
    }
}
