//! Reads the log for all inboxes that this process has the lease of, and says which those are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use annals_core::{Claim, Generation, Position, SubscriberInfo, SubscriberName};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use super::attempt::chain;
use super::cohort::{Cohort, Member};
use super::engine::Engine;
use super::hosted::Hosted;
use super::signals::stopped;

/// Reads the log: in one loop for the inboxes that are where the log is, and in others for those
/// that are behind, until they have come there.
pub(super) struct Reader {
    engine: Arc<Engine>,
    stop: watch::Receiver<bool>,
    /// Nobody reads for them here.
    idle: BTreeMap<SubscriberName, Arc<Hosted>>,
    front: Cohort,
    behind: JoinSet<Cohort>,
    /// For which inboxes they read.
    theirs: HashMap<Id, BTreeSet<SubscriberName>>,
    looked_at: Instant,
}

impl Reader {
    pub(super) fn new(engine: &Arc<Engine>, stop: &watch::Receiver<bool>) -> Self {
        Self {
            idle: BTreeMap::new(),
            front: Cohort::new(engine, Vec::new()),
            behind: JoinSet::new(),
            theirs: HashMap::new(),
            engine: Arc::clone(engine),
            stop: stop.clone(),
            looked_at: Instant::now(),
        }
    }

    /// Reads until it is told to stop; then it hands over to other processes.
    pub(super) async fn run(mut self) {
        let mut poll = tokio::time::interval(self.engine.settings.poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*self.stop.borrow() {
            let checkpoint = self.front.wait_for_checkpoint();
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => break,
                Some(cohort) = self.behind.join_next_with_id() => self.join(cohort),
                _ = poll.tick() => self.look_around().await,
                () = self.engine.signals.reading.notified() => {
                    self.front.checkpoint().await;
                    self.look_around().await;
                }
                () = checkpoint => self.front.checkpoint().await,
                notice = self.front.next() => {
                    self.front.take_in(notice).await;
                }
            }
            self.part();
        }
        self.hand_over().await;
    }

    /// A cohort has come to where the log was.
    fn join(&mut self, cohort: Result<(Id, Cohort), JoinError>) {
        match cohort {
            Ok((id, mut cohort)) => {
                self.theirs.remove(&id);
                self.idle.extend(cohort.lost());
                self.front.join(cohort);
            }
            Err(error) => {
                self.theirs.remove(&error.id());
                tracing::error!(error = %error, "reading the log has failed; the inboxes are claimed again");
            }
        }
    }

    /// Takes note of the inboxes that came, and hands over those that go.
    async fn note_who_runs(&mut self) {
        self.idle.retain(|_, inbox| !inbox.is_leaving());
        self.front.part_with_leaving().await;
        let all = self.engine.inboxes.now();
        for inbox in all.into_iter().filter(|inbox| inbox.reads_the_log()) {
            if !self.is_read_for(&inbox.name) {
                self.idle.insert(inbox.name.clone(), inbox);
            }
        }
    }

    fn is_read_for(&self, name: &SubscriberName) -> bool {
        self.front.names().any(|one| one == name)
            || self.theirs.values().any(|names| names.contains(name))
    }

    /// Sets aside what the front has lost.
    fn part(&mut self) {
        self.idle.extend(self.front.lost());
    }

    /// Renews what this process reads for, learns what inboxes were told elsewhere, and claims
    /// those for which nobody reads.
    async fn look_around(&mut self) {
        self.note_who_runs().await;
        if self.looked_at.elapsed() >= self.engine.settings.lease / 3 {
            self.looked_at = Instant::now();
            self.front.renew().await;
        }
        let told = self.engine.signals.told_so_far();
        let subscribers = match self.engine.queue.subscribers().await {
            Ok(subscribers) => subscribers,
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(
                    error,
                    "the queue does not say how inboxes stand; it is asked again"
                );
                return;
            }
        };
        for subscriber in &subscribers {
            self.engine.signals.learn(&subscriber.subscriber, subscriber.state, told);
        }
        let mut claimed: BTreeMap<Position, Vec<Member>> = BTreeMap::new();
        for subscriber in subscribers {
            if self.may_be_claimed(&subscriber)
                && let Some(member) = self.claim(&subscriber.subscriber).await
            {
                claimed.entry(member.seen).or_default().push(member);
            }
        }
        for members in claimed.into_values() {
            let cohort = Cohort::new(&self.engine, members);
            let names = cohort.names().cloned().collect();
            let task = self.behind.spawn(cohort.catch_up(self.stop.clone()));
            self.theirs.insert(task.id(), names);
        }
    }

    fn may_be_claimed(&self, subscriber: &SubscriberInfo) -> bool {
        let part = subscriber.active().and_then(|generation| generation.partitions.first());
        let is_free = part.is_some_and(|part| {
            let theirs = part.owner.as_ref().is_some_and(|(owner, until)| {
                **owner != *self.engine.owner && *until > self.engine.now()
            });
            part.failure.is_none() && !theirs
        });
        is_free && self.idle.contains_key(&subscriber.subscriber)
    }

    async fn claim(&mut self, name: &SubscriberName) -> Option<Member> {
        let claim = Claim {
            subscriber: name.clone(),
            generation: Generation::FIRST,
            partition: 0,
            owner: Arc::clone(&self.engine.owner),
            now: self.engine.now(),
            until: self.engine.until(),
        };
        match self.engine.queue.claim(claim).await {
            Ok(lease) => {
                let lease = lease?;
                let inbox = self.idle.remove(name)?;
                Some(Member::new(inbox, lease))
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(inbox = %name, error, "an inbox cannot be claimed, which is tried again");
                None
            }
        }
    }

    /// Notes how far it has come, and gives back the leases.
    async fn hand_over(mut self) {
        while let Some(cohort) = self.behind.join_next().await {
            if let Ok(cohort) = cohort {
                self.front.join(cohort);
            }
        }
        self.front.hand_over().await;
    }
}
