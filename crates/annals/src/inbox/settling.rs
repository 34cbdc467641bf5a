//! Says to the queue what came of attempts, many at a time, and keeps what is not settled yet.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use annals_core::{ReadSideError, Settled, SubscriberName, Then};
use futures_util::FutureExt;
use tokio::sync::mpsc::Receiver;

use super::attempt::{chain, said};
use super::engine::{Engine, Held};

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
            if held.get(id).is_some_and(|held| held.token == *token) {
                held.remove(id);
            }
        }
        drop(held);
        engine.settled.notify_waiters();
        // What waited for their lanes may be made now.
        inboxes.iter().for_each(|inbox| engine.signals.wake(inbox));
    }
}

/// Tries until the queue answers: until then the deliveries are held, so that nobody else makes
/// them again. What makes the queue panic is held no longer, as after a crash.
async fn settle(engine: &Engine, settled: &[Settled]) {
    let count = settled.len();
    loop {
        let asked = AssertUnwindSafe(engine.queue.settle(settled.to_vec(), engine.now()));
        match asked.catch_unwind().await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => silent(count, &error),
            Err(panic) => {
                let said = said(&*panic);
                tracing::error!(count, said, "settling deliveries panicked; they are made again");
                return;
            }
        }
        tokio::time::sleep(engine.settings.poll).await;
    }
}

fn silent(count: usize, error: &ReadSideError) {
    let error = chain(error);
    tracing::warn!(count, error, "deliveries cannot be settled, which is tried again");
}

/// Keeps what is held from being taken by others, for as long as this process lives.
pub(super) async fn keep_held(engine: Arc<Engine>) {
    loop {
        tokio::time::sleep(engine.settings.lease / 3).await;
        let held: Vec<_> =
            engine.held().iter().map(|(id, held)| (id.clone(), held.token)).collect();
        if held.is_empty() {
            continue;
        }
        if let Err(error) = engine.queue.keep(&held, engine.until()).await {
            let error = chain(&error);
            tracing::warn!(
                count = held.len(),
                error,
                "deliveries that are being made cannot be kept"
            );
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
    let then = Then::GiveBack(now);
    let give_back = |(id, held): (_, Held)| Settled { id, token: held.token, attempt: None, then };
    let given_back = held.into_iter().map(give_back).collect();
    if let Err(error) = engine.queue.settle(given_back, now).await {
        let error = chain(&error);
        tracing::warn!(
            error,
            "deliveries cannot be given back; they are taken over when the lease is up"
        );
    }
}
