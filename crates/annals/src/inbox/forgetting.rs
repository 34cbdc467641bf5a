//! Forgets what was done long ago, so that the queue does not grow for ever.

use std::sync::Arc;
use std::time::Duration;

use annals_core::{SubscriberName, Timestamp};

use super::attempt::chain;
use super::engine::Engine;

/// How often it is looked for.
const EVERY: Duration = Duration::from_secs(60);
/// How many deliveries are forgotten at once, so that nobody waits for it long.
const AT_ONCE: usize = 1_000;

/// Forgets deliveries of the inboxes that run here that were made or skipped long ago, from time
/// to time, for ever. Those of others are theirs, and may be remembered for longer.
pub(super) async fn forget_old(engine: Arc<Engine>) {
    loop {
        let remember = i64::try_from(engine.settings.remember.as_micros()).unwrap_or(i64::MAX);
        let before = engine.now().as_micros().saturating_sub(remember);
        let before = Timestamp::from_micros(before);
        for inbox in engine.inboxes.now() {
            forget(&engine, &inbox.name, before).await;
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn forget(engine: &Engine, inbox: &SubscriberName, before: Timestamp) {
    loop {
        match engine.queue.forget(inbox, before, AT_ONCE).await {
            Ok(forgotten) if forgotten < AT_ONCE as u64 => return,
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(%inbox, error, "old deliveries cannot be forgotten; trying again later");
                return;
            }
        }
    }
}
