//! Inboxes that run, and what is in one's hand meanwhile.

use std::ops::Deref;
use std::sync::Arc;

use annals_core::{SubscriberName, SubscriberState};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::delivering::Deliverer;
use super::enduring::endure;
use super::engine::Engine;
use super::forgetting::forget_old;
use super::hosted::Hosted;
use super::reading::Reader;
use super::runner::{StartError, enrol};
use super::settling::{Outcome, give_back_held, keep_held, settle_all};
use super::signals::stopped;
use super::{Inbox, Inboxes};

/// Inboxes that run, and everything that people do with [`Inboxes`].
///
/// When it is dropped they stop at once, as if the process had died: what was being made is made
/// again elsewhere. [`stop`](Self::stop) is the better way.
#[must_use = "inboxes stop when their handle is dropped"]
pub struct RunningInboxes {
    inboxes: Inboxes,
    pub(super) engine: Arc<Engine>,
    /// Those that come.
    come: mpsc::UnboundedSender<Arc<Hosted>>,
    stop: watch::Sender<bool>,
    /// One task, in which all others are: whoever drops it drops them.
    task: JoinSet<()>,
}

impl RunningInboxes {
    /// Runs these, which the queue knows.
    pub(super) fn of(
        engine: Engine,
        inboxes: impl IntoIterator<Item = (Inbox, SubscriberState)>,
    ) -> Result<Self, StartError> {
        let engine = Arc::new(engine);
        let clock = Arc::clone(&engine.annals.clock);
        let queue = Arc::clone(&engine.queue);
        let people = Inboxes::running(queue, clock, Arc::clone(&engine.signals));
        let (come, coming) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let run = run(Arc::clone(&engine), coming, stopped);
        let mut running = Self { inboxes: people, engine, come, stop, task: JoinSet::new() };
        for (inbox, state) in inboxes {
            running.host(inbox, state)?;
        }
        running.task.spawn(run);
        Ok(running)
    }

    /// Runs one inbox more, beside the others, as if it had been there from the start.
    ///
    /// If it brings [upcasters](Inbox::accepts), events are upcast by them for the others as well
    /// from then on.
    ///
    /// # Errors
    /// [`StartError`]: then it does not run.
    ///
    /// # Panics
    /// As [`Upcasters::and`](crate::Upcasters::and).
    pub async fn add(&self, inbox: Inbox) -> Result<(), StartError> {
        if self.engine.inboxes.has(&inbox.name) {
            return Err(StartError::Twice(inbox.name));
        }
        let state = enrol(&self.engine, &inbox).await?;
        self.host(inbox, state)
    }

    /// Runs an inbox that the queue knows.
    fn host(&self, inbox: Inbox, state: SubscriberState) -> Result<(), StartError> {
        let name = inbox.name.clone();
        self.engine.upcast_by(&inbox.upcasters);
        let hosted = self.engine.inboxes.add(inbox).ok_or(StartError::Twice(name))?;
        self.engine.signals.add(hosted.name.clone(), state);
        // Nobody takes it when all of them stop.
        drop(self.come.send(hosted));
        Ok(())
    }

    /// Runs one of them no more: takes nothing new for it, waits for what is being made, and
    /// hands it over to other processes, as [`stop`](Self::stop) does with all of them; the others
    /// go on. What waits for it stays in the queue. Says whether it ran.
    ///
    /// It begins with the call, also if nobody waits for it; one of the same name can be
    /// [added](Self::add) from then on.
    pub fn remove(
        &self,
        inbox: &SubscriberName,
    ) -> impl Future<Output = bool> + Send + use<> + 'static {
        let leaving = self.engine.inboxes.remove(inbox);
        self.engine.signals.remove(inbox);
        let (engine, inbox) = (Arc::clone(&self.engine), inbox.clone());
        async move {
            let Some(leaving) = leaving else { return false };
            let removed = async {
                leaving.gone().await;
                engine.all_settled(&inbox).await;
            };
            if tokio::time::timeout(engine.settings.grace * 3, removed).await.is_err()
                && !engine.inboxes.has(&inbox)
            {
                tracing::warn!(%inbox, "the queue takes too long to answer; what is held for a removed inbox is taken over when the lease is up");
                engine.let_go(&inbox);
            }
            true
        }
    }

    /// Takes nothing new, waits for what is being made, gives back what is not, and hands the
    /// inboxes over to other processes.
    ///
    /// What takes longer than the [grace](super::InboxRunner::grace) is given up, and made again
    /// elsewhere. When the queue does not answer, this returns after three times as long.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let stopped = self.task.join_next();
        if tokio::time::timeout(self.engine.settings.grace * 3, stopped).await.is_err() {
            tracing::warn!(
                "the queue takes too long to answer; what is held is taken over when the lease is up"
            );
        }
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
        let inboxes = self.engine.inboxes.now();
        f.debug_list().entries(inboxes.iter().map(|inbox| inbox.name.as_str())).finish()
    }
}

/// Runs all parts until they are told to stop. Should one of them panic, that is a fault of its
/// own and no reactor's: it begins anew, and the others go on.
async fn run(
    engine: Arc<Engine>,
    mut coming: mpsc::UnboundedReceiver<Arc<Hosted>>,
    mut stop: watch::Receiver<bool>,
) {
    const OUTCOMES_MAX: usize = 1024;
    let (outcomes, reported) = mpsc::channel(OUTCOMES_MAX);
    let mut keeping = JoinSet::new();
    keeping.spawn(keep(Arc::clone(&engine)));
    keeping.spawn(forget(Arc::clone(&engine)));
    let mut settling = JoinSet::new();
    settling.spawn(settle_all(Arc::clone(&engine), reported));
    let mut working = JoinSet::new();
    working.spawn(read(Arc::clone(&engine), stop.clone()));
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            Some(inbox) = coming.recv() => {
                working.spawn(deliver(Arc::clone(&engine), inbox, outcomes.clone()));
            }
            Some(_) = working.join_next() => {}
        }
    }
    // Whoever came too late stops before it has begun.
    coming.close();
    while coming.recv().await.is_some() {}
    engine.inboxes.stop();
    drop(outcomes);
    while working.join_next().await.is_some() {}
    // Those who report are gone.
    let settled = tokio::time::timeout(engine.settings.grace, settling.join_next()).await;
    if settled.is_err() {
        tracing::warn!("the queue takes too long to settle what was made; it may be made again");
    }
    give_back_held(&engine).await;
}

async fn read(engine: Arc<Engine>, stop: watch::Receiver<bool>) {
    endure("reading the log", || Reader::new(&engine, &stop).run()).await;
}

async fn deliver(engine: Arc<Engine>, inbox: Arc<Hosted>, outcomes: mpsc::Sender<Outcome>) {
    let mut begins_anew = false;
    endure("delivering", || {
        if std::mem::replace(&mut begins_anew, true) {
            // Nobody makes what was being made.
            engine.let_go(&inbox.name);
        }
        Deliverer::new(&engine, &inbox, &outcomes).run()
    })
    .await;
}

async fn keep(engine: Arc<Engine>) {
    endure("keeping what is held", || keep_held(Arc::clone(&engine))).await;
}

async fn forget(engine: Arc<Engine>) {
    endure("forgetting", || forget_old(Arc::clone(&engine))).await;
}
