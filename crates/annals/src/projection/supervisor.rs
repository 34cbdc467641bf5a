//! Begins a worker for every part of every generation that this version of the code makes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_core::error::Chain;
use annals_core::{Generation, OnNewVersion, ReadSideError, SubscriberInfo};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::options::Projecting;
use super::part::{PartWorker, told};
use super::progress::{Progress, Share};
use super::running::{Inner, RunningProjection};

/// How often it looks for a rebuild that was begun elsewhere, at least.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Supervisor {
    inner: Arc<Inner>,
    share: Arc<Share>,
    stop: watch::Receiver<bool>,
    workers: HashMap<(Generation, u32), JoinHandle<()>>,
}

impl Supervisor {
    pub(super) fn start(projecting: Projecting) -> RunningProjection {
        let Projecting { annals, projector, options } = projecting;
        let (stop, stopped) = watch::channel(false);
        let share = Arc::new(Share::new(projector.name().clone()));
        let inner = Arc::new(Inner {
            annals,
            projector,
            options: Arc::new(options),
            progress: Arc::new(Progress::default()),
            is_enrolled: AtomicBool::new(false),
            trouble: watch::Sender::new(None),
        });
        let supervisor =
            Self { inner: Arc::clone(&inner), share, stop: stopped, workers: HashMap::new() };
        RunningProjection { inner, stop, supervising: tokio::spawn(supervisor.run()) }
    }

    async fn run(mut self) {
        loop {
            let is_enrolled = self.inner.is_enrolled.load(Ordering::SeqCst);
            let info = if is_enrolled { self.look().await } else { self.enrol().await };
            match info {
                Ok(info) => {
                    self.inner.is_enrolled.store(true, Ordering::SeqCst);
                    self.begin_workers(&info);
                    self.inner.trouble.send_replace(None);
                }
                Err(ReadSideError::Closed) => break,
                Err(error) => self.tell(&error),
            }
            let changed = self.inner.progress.next_change();
            let interval = LOOK_INTERVAL.min(self.inner.options.lease / 2);
            tokio::select! {
                biased;
                () = told(&mut self.stop) => break,
                () = changed => {}
                () = tokio::time::sleep(interval) => {}
            }
            // What changes often is looked at not more often than this.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for (_, worker) in self.workers.drain() {
            // One that panicked has said so.
            let _ = worker.await;
        }
    }

    async fn enrol(&self) -> Result<SubscriberInfo, ReadSideError> {
        let Inner { projector, options, .. } = &*self.inner;
        let checkpoints = projector.checkpoints();
        let known = checkpoints.subscriber(projector.name()).await?;
        let active = known.as_ref().and_then(SubscriberInfo::active);
        // A process of yesterday's version that starts again does not take back what today's made.
        let is_older = active.is_some_and(|active| active.version > projector.version());
        let on_new_version = if is_older { OnNewVersion::Refuse } else { options.on_new_version };
        checkpoints.enrol(self.inner.enrol(on_new_version)).await
    }

    async fn look(&self) -> Result<SubscriberInfo, ReadSideError> {
        let name = self.inner.projector.name();
        let info = self.inner.projector.checkpoints().subscriber(name).await?;
        info.ok_or_else(|| ReadSideError::Unknown(name.clone()))
    }

    fn begin_workers(&mut self, info: &SubscriberInfo) {
        self.workers.retain(|_, worker| !worker.is_finished());
        let version = self.inner.projector.version();
        for generation in info.generations.iter().filter(|one| one.version == version) {
            for part in &generation.partitions {
                let key = (generation.generation, part.partition.index);
                if !self.workers.contains_key(&key) {
                    self.workers.insert(key, tokio::spawn(self.worker(key).run()));
                }
            }
        }
    }

    fn worker(&self, (generation, partition): (Generation, u32)) -> PartWorker {
        let Inner { annals, projector, options, progress, .. } = &*self.inner;
        PartWorker {
            annals: annals.clone(),
            projector: Arc::clone(projector),
            options: Arc::clone(options),
            generation,
            partition,
            progress: Arc::clone(progress),
            share: Arc::clone(&self.share),
            stop: self.stop.clone(),
        }
    }

    /// Says once what is in the way.
    fn tell(&self, error: &ReadSideError) {
        let text = Chain(error).to_string();
        let is_new = self.inner.trouble.borrow().as_ref() != Some(&text);
        if is_new {
            tracing::warn!(projection = %self.inner.projector.name(), error = %text, "a projection does not run");
            self.inner.trouble.send_replace(Some(text));
        }
    }
}
