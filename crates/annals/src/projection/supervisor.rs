//! Begins a worker for every part of every generation that this version of the code makes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_core::error::Chain;
use annals_core::{Generation, OnNewVersion, ReadError, ReadSideError, SubscriberInfo};
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
    /// Which generation was active when there was last one of this version.
    worked_beside: Option<Generation>,
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
        let supervisor = Self {
            inner: Arc::clone(&inner),
            share,
            stop: stopped,
            workers: HashMap::new(),
            worked_beside: None,
        };
        RunningProjection { inner, stop, supervising: tokio::spawn(supervisor.run()) }
    }

    async fn run(mut self) {
        loop {
            match self.look().await {
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
            if self.inner.progress.is_log_closed() {
                self.inner.trouble.send_replace(Some(ReadError::Closed.to_string()));
                break;
            }
            // What changes often is looked at not more often than this.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for (_, worker) in self.workers.drain() {
            // One that panicked has said so.
            let _ = worker.await;
        }
    }

    /// How the subscriber stands, with a generation of this version: it is enrolled when there is
    /// none, or none any more.
    async fn look(&mut self) -> Result<SubscriberInfo, ReadSideError> {
        let Inner { projector, .. } = &*self.inner;
        let (checkpoints, version) = (projector.checkpoints(), projector.version());
        let known = checkpoints.subscriber(projector.name()).await?;
        let on_new_version = match known {
            Some(info) if info.generations.iter().any(|one| one.version == version) => {
                self.worked_beside = info.active().map(|active| active.generation);
                return Ok(info);
            }
            Some(info) => self.on_new_version(&info)?,
            None => self.inner.options.on_new_version,
        };
        let enrolled = checkpoints.enrol(self.inner.enrol(on_new_version)).await?;
        self.worked_beside = enrolled.active().map(|active| active.generation);
        Ok(enrolled)
    }

    /// What to do about a subscriber that has no generation of this version.
    fn on_new_version(&self, info: &SubscriberInfo) -> Result<OnNewVersion, ReadSideError> {
        let Inner { projector, options, .. } = &*self.inner;
        let newest = info.generations.iter().map(|one| one.version).max().unwrap_or(0);
        // A process of yesterday's version does not take back what today's made, or is making.
        let is_older = newest > projector.version();
        // One that was given up by hand, with nothing in its place, is not begun again by itself.
        let active = info.active();
        let is_given_up = self.worked_beside.is_some()
            && self.worked_beside == active.map(|active| active.generation)
            && info.building().is_none();
        if is_older || is_given_up || options.on_new_version == OnNewVersion::Refuse {
            let of_active = active.map_or(0, |active| active.version);
            return Err(ReadSideError::OtherVersion {
                subscriber: info.subscriber.clone(),
                stored: if is_older { newest } else { of_active },
                asked: projector.version(),
            });
        }
        Ok(options.on_new_version)
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
