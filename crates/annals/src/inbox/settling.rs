//! Says to the queue what came of attempts, many at a time, and keeps what is not settled yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use annals_core::{Settled, SubscriberName, Then};
use tokio::sync::mpsc::Receiver;

use super::attempt::chain;
use super::engine::Engine;

/// What came of an attempt, and of which inbox.
pub(super) type Outcome = (SubscriberName, Settled);

/// Settles what attempts report, until nobody reports any more.
pub(super) async fn settle_all(engine: Arc<Engine>, mut outcomes: Receiver<Outcome>) {
    const TOGETHER_MAX: usize = 256;
    let mut together = Vec::new();
    while outcomes.recv_many(&mut together, TOGETHER_MAX).await > 0 {
        let inboxes: BTreeSet<_> = together.iter().map(|(inbox, _)| inbox.clone()).collect();
        let settled: Vec<_> = together.drain(..).map(|(_, settled)| settled).collect();
        settle(&engine, &settled).await;
        let mut held = engine.held();
        for Settled { id, token, .. } in &settled {
            if held.get(id) == Some(token) {
                held.remove(id);
            }
        }
        drop(held);
        // What waited for their lanes may be made now.
        inboxes.iter().for_each(|inbox| engine.signals.wake(inbox));
    }
}

/// Tries until the queue answers: until then the deliveries are held, so that nobody else makes
/// them again.
async fn settle(engine: &Engine, settled: &[Settled]) {
    loop {
        let Err(error) = engine.queue.settle(settled.to_vec(), engine.now()).await else { return };
        let error = chain(&error);
        tracing::warn!(count = settled.len(), error, "deliveries cannot be settled, which is tried again");
        tokio::time::sleep(engine.settings.poll).await;
    }
}

/// Keeps what is held from being taken by others, for as long as this process lives.
pub(super) async fn keep_held(engine: Arc<Engine>) {
    loop {
        tokio::time::sleep(engine.settings.lease / 3).await;
        let held: Vec<_> = engine.held().iter().map(|(id, token)| (id.clone(), *token)).collect();
        if held.is_empty() {
            continue;
        }
        if let Err(error) = engine.queue.keep(&held, engine.until()).await {
            let error = chain(&error);
            tracing::warn!(count = held.len(), error, "deliveries that are being made cannot be kept");
        }
    }
}

/// Gives back whatever is still held.
pub(super) async fn give_back_held(engine: &Engine) {
    let now = engine.now();
    let held: Vec<_> = engine.held().drain().collect();
    if held.is_empty() {
        return;
    }
    let give_back = |(id, token)| Settled { id, token, attempt: None, then: Then::GiveBack(now) };
    let given_back = held.into_iter().map(give_back).collect();
    if let Err(error) = engine.queue.settle(given_back, now).await {
        let error = chain(&error);
        tracing::warn!(error, "deliveries cannot be given back; they are taken over when the lease is up");
    }
}
