//! Inboxes that run, and what is in one's hand meanwhile.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Inboxes;
use super::delivering::Deliverer;
use super::engine::Engine;
use super::reading::Reader;
use super::settling::{give_back_held, keep_held, settle_all};

/// Inboxes that run, and everything that people do with [`Inboxes`].
///
/// When it is dropped they stop at once, as if the process had died: what was being made is made
/// again elsewhere. [`stop`](Self::stop) is the better way.
#[must_use = "inboxes stop when their handle is dropped"]
pub struct RunningInboxes {
    inboxes: Inboxes,
    pub(super) engine: Arc<Engine>,
    stop: watch::Sender<bool>,
    /// One task, in which all others are: whoever drops it drops them.
    task: JoinSet<()>,
}

impl RunningInboxes {
    pub(super) fn of(engine: Arc<Engine>) -> Self {
        let clock = Arc::clone(&engine.annals.clock);
        let queue = Arc::clone(&engine.queue);
        let inboxes = Inboxes::running(queue, clock, Arc::clone(&engine.signals));
        let (stop, stopped) = watch::channel(false);
        let mut task = JoinSet::new();
        task.spawn(run(Arc::clone(&engine), stopped));
        Self { inboxes, engine, stop, task }
    }

    /// Takes nothing new, waits for what is being made, gives back what is not, and hands the
    /// inboxes over to other processes.
    ///
    /// What takes longer than the [grace](super::InboxRunner::grace) is given up, and made again
    /// elsewhere.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.task.join_next().await.is_some() {}
    }
}

impl Deref for RunningInboxes {
    type Target = Inboxes;

    fn deref(&self) -> &Inboxes {
        &self.inboxes
    }
}

impl std::fmt::Debug for RunningInboxes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.engine.inboxes.iter().map(|inbox| inbox.name.as_str());
        f.debug_list().entries(names).finish()
    }
}

/// Runs all parts until they are told to stop. Should one of them panic, that is a fault of
/// theirs and no reactor's: then all begin anew, as after a crash.
async fn run(engine: Arc<Engine>, stop: watch::Receiver<bool>) {
    while !run_once(&engine, &stop).await && !*stop.borrow() {
        engine.held().clear();
        tokio::time::sleep(engine.settings.poll).await;
    }
    give_back_held(&engine).await;
}

/// Says whether it ended as it should.
async fn run_once(engine: &Arc<Engine>, stop: &watch::Receiver<bool>) -> bool {
    const OUTCOMES_MAX: usize = 1024;
    let (outcomes, reported) = mpsc::channel(OUTCOMES_MAX);
    let mut keeping = JoinSet::new();
    keeping.spawn(keep_held(Arc::clone(engine)));
    let mut settling = JoinSet::new();
    settling.spawn(settle_all(Arc::clone(engine), reported));
    let mut working = JoinSet::new();
    working.spawn(Reader::new(engine, stop).run());
    for inbox in &engine.inboxes {
        working.spawn(Deliverer::new(engine, inbox, &outcomes, stop).run());
    }
    drop(outcomes);
    while let Some(ended) = working.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a part of the inboxes has failed; all of it begins anew");
            return false;
        }
    }
    // Those who report are gone.
    let settled = tokio::time::timeout(engine.settings.grace, settling.join_next()).await;
    if settled.is_err() {
        tracing::warn!("the queue takes too long to settle what was made; it may be made again");
    }
    true
}
