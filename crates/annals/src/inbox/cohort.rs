//! Inboxes for which the log is read together, from the same place.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use annals_core::error::ReadError;
use annals_core::{
    Advance, Enqueue, Failure, Lease, NewDelivery, Notice, Position, Query, QueryItem,
    ReadSideError, RecordedEvent, Subscribe, SubscriberName, SubscriberState, Subscription,
};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::Instant;

use super::attempt::chain;
use super::engine::Engine;
use super::hosted::Hosted;

/// How long a checkpoint stays behind, when nothing was found on the way.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(100);
/// How long events are gathered before they are put into the queue.
const GATHER: Duration = Duration::from_millis(5);
/// How many events are gathered at most.
const EVENTS_MAX: usize = 256;
/// How many deliveries are put into the queue in one go, but for those of one event.
const DELIVERIES_MAX: usize = 1024;

/// An inbox, and how far the log was looked at for it.
pub(super) struct Member {
    inbox: Arc<Hosted>,
    lease: Lease,
    /// Up to here nothing will be found any more.
    pub(super) seen: Position,
    /// The checkpoint.
    kept: Position,
}

impl Member {
    pub(super) fn new(inbox: Arc<Hosted>, lease: Lease) -> Self {
        Self { inbox, seen: lease.position, kept: lease.position, lease }
    }
}

/// Inboxes for which the log is read together.
pub(super) struct Cohort {
    engine: Arc<Engine>,
    members: Vec<Member>,
    /// Those for which this process does not read any more.
    lost: Vec<Arc<Hosted>>,
    notices: Option<Subscription>,
    /// What was planned and is not in the queue yet.
    planned: Vec<NewDelivery>,
    /// When a checkpoint began to be behind.
    behind_since: Option<Instant>,
    renewed_at: Instant,
}

impl Cohort {
    pub(super) fn new(engine: &Arc<Engine>, members: Vec<Member>) -> Self {
        Self {
            engine: Arc::clone(engine),
            members,
            lost: Vec::new(),
            notices: None,
            planned: Vec::new(),
            behind_since: None,
            renewed_at: Instant::now(),
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &SubscriberName> {
        self.members.iter().map(|member| &member.inbox.name)
    }

    /// Those that were lost since it was last asked.
    pub(super) fn lost(&mut self) -> Vec<(SubscriberName, Arc<Hosted>)> {
        self.lost.drain(..).map(|inbox| (inbox.name.clone(), inbox)).collect()
    }

    /// Takes in the members of another. Reading begins anew, at the place of the last of them:
    /// what others have seen already they do not see again.
    pub(super) fn join(&mut self, other: Self) {
        self.members.extend(other.members);
        self.lost.extend(other.lost);
        self.behind_since = self.behind_since.or(other.behind_since);
        self.notices = None;
    }

    /// Reads up to where the log is now.
    pub(super) async fn catch_up(mut self, stop: watch::Receiver<bool>) -> Self {
        while !self.members.is_empty() && !*stop.borrow() {
            let notice = self.next().await;
            if self.take_in(notice).await {
                break;
            }
            if self.renewed_at.elapsed() >= self.engine.settings.lease / 3 {
                self.renew().await;
            }
            self.part_with_leaving().await;
        }
        self
    }

    /// The next notice; never, when there is nobody to read for.
    pub(super) async fn next(&mut self) -> Option<Result<Notice, ReadError>> {
        let Some(first) = self.members.iter().map(|member| member.seen).min() else {
            return std::future::pending().await;
        };
        if self.notices.is_none() {
            let subscribe = Subscribe::query(self.query()).after(first);
            self.notices = Some(self.engine.annals.store().subscribe(subscribe));
        }
        self.notices.as_mut().expect("it was just begun").next().await
    }

    /// What any of the members accepts, as it may be stored. It may find more than that.
    fn query(&self) -> Query {
        let upcasters = self.engine.upcasters();
        let queries = self.members.iter().map(|member| upcasters.as_stored(&member.inbox.query));
        let together = together(queries);
        match self.engine.annals.store().limits().check_query(&together) {
            Ok(()) => together,
            Err(_) => Query::all(),
        }
    }

    /// Takes in a notice, and what comes shortly after it, and puts what was found into the
    /// queue. Says whether the end of the log was reached.
    pub(super) async fn take_in(&mut self, notice: Option<Result<Notice, ReadError>>) -> bool {
        let mut notice = notice;
        let end = Instant::now() + GATHER;
        let mut caught_up = false;
        let mut taken_in = 0;
        loop {
            taken_in += 1;
            match notice {
                Some(Ok(Notice::Event(event))) => self.plan(event),
                Some(Ok(Notice::CaughtUp(position))) => {
                    self.see(position);
                    caught_up = true;
                }
                Some(Err(error)) => {
                    let error = chain(&error);
                    tracing::warn!(error, "the log cannot be read, which is tried again");
                    self.notices = None;
                    tokio::time::sleep(self.engine.settings.poll).await;
                }
                None => self.notices = None,
            }
            let is_full = taken_in >= EVENTS_MAX || self.planned.len() >= DELIVERIES_MAX;
            if caught_up || is_full || self.notices.is_none() {
                break;
            }
            match tokio::time::timeout_at(end, self.next()).await {
                Ok(next) => notice = next,
                Err(_) => break,
            }
        }
        if !self.planned.is_empty() {
            self.enqueue().await;
        }
        if self.behind_since.is_none()
            && self.members.iter().any(|member| member.kept < member.seen)
        {
            self.behind_since = Some(Instant::now());
        }
        caught_up
    }

    /// Plans the deliveries of an event to all members that have not seen it.
    fn plan(&mut self, event: RecordedEvent) {
        let position = event.position;
        let now = self.engine.now();
        let current = self.engine.current(event);
        let upcasters = self.engine.upcasters();
        let before = self.planned.len();
        for member in self.members.iter().filter(|member| member.seen < position) {
            let inbox = &member.inbox;
            if self.engine.signals.state(&inbox.name) != SubscriberState::Disabled {
                self.planned.extend(inbox.deliveries(&current, &upcasters, now));
            }
        }
        if self.planned.len() > before {
            self.engine.remember(&current);
        }
        self.see(position);
    }

    fn see(&mut self, position: Position) {
        for member in &mut self.members {
            member.seen = member.seen.max(position);
        }
    }

    /// Waits until checkpoints have been behind for long enough.
    pub(super) fn wait_for_checkpoint(&self) -> impl Future<Output = ()> + use<> {
        let end = self.behind_since.map(|since| since + CHECKPOINT_EVERY);
        async move {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Moves all checkpoints to where the members are.
    pub(super) async fn checkpoint(&mut self) {
        if self.members.iter().any(|member| member.kept < member.seen) {
            self.put(true).await;
        }
        self.behind_since = None;
    }

    /// Puts what is planned into the queue, and moves the checkpoints of those it is for; of the
    /// others as well, if that has been due for long enough.
    async fn enqueue(&mut self) {
        let is_due = self.behind_since.is_some_and(|since| since.elapsed() >= CHECKPOINT_EVERY);
        self.put(is_due).await;
        if is_due {
            self.behind_since = None;
        }
    }

    /// Puts what is planned into the queue, together with checkpoints: of all members, or of
    /// those it is for. Whoever has lost its lease is left out, and the others go on.
    async fn put(&mut self, all: bool) {
        let mut planned = std::mem::take(&mut self.planned);
        loop {
            let mut found: HashMap<&SubscriberName, u64> = HashMap::new();
            planned.iter().for_each(|new| *found.entry(&new.inbox).or_default() += 1);
            let now = self.engine.now();
            let advances: Vec<_> = self
                .members
                .iter()
                .filter(|member| member.kept < member.seen)
                .filter(|member| all || found.contains_key(&member.inbox.name))
                .map(|member| Advance {
                    lease: member.lease.clone(),
                    to: member.seen,
                    events: found.get(&member.inbox.name).copied().unwrap_or(0),
                    parked: Vec::new(),
                    now,
                })
                .collect();
            if advances.is_empty() {
                return;
            }
            let moved: Vec<_> =
                advances.iter().map(|advance| advance.lease.subscriber.clone()).collect();
            let enqueue = Enqueue { deliveries: planned.clone(), advances };
            match self.engine.queue.enqueue(enqueue, now).await {
                Ok(_) => {
                    for member in
                        self.members.iter_mut().filter(|one| moved.contains(&one.inbox.name))
                    {
                        member.kept = member.seen;
                    }
                    found.into_keys().for_each(|inbox| self.engine.signals.wake(inbox));
                    return;
                }
                Err(ReadSideError::Fenced(inbox) | ReadSideError::Unknown(inbox)) => {
                    tracing::info!(%inbox, "another process reads for an inbox now");
                    self.lose(|member| member.inbox.name == inbox);
                    planned.retain(|new| new.inbox != inbox);
                }
                Err(error @ (ReadSideError::Invalid(_) | ReadSideError::Unsupported(_))) => {
                    // It is one of them; the others must not stand still because of it.
                    return self.put_each(planned, &moved, &error).await;
                }
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(error, "deliveries cannot be enqueued, which is tried again");
                    // Whether they were enqueued is not known. Whoever claims again learns it.
                    self.lose(|_| true);
                    tokio::time::sleep(self.engine.settings.poll).await;
                    return;
                }
            }
        }
    }

    /// Puts what is planned into the queue inbox by inbox. The one for which that is refused
    /// stops, and says why.
    async fn put_each(
        &mut self,
        planned: Vec<NewDelivery>,
        inboxes: &[SubscriberName],
        refused: &ReadSideError,
    ) {
        for name in inboxes {
            let Some(member) = self.members.iter_mut().find(|one| one.inbox.name == *name) else {
                continue;
            };
            let own: Vec<_> = planned.iter().filter(|new| new.inbox == *name).cloned().collect();
            let now = self.engine.now();
            let advance = Advance {
                lease: member.lease.clone(),
                to: member.seen,
                events: own.len() as u64,
                parked: Vec::new(),
                now,
            };
            let enqueue = Enqueue { deliveries: own, advances: vec![advance] };
            match self.engine.queue.enqueue(enqueue, now).await {
                Ok(_) => {
                    member.kept = member.seen;
                    self.engine.signals.wake(name);
                }
                Err(error @ (ReadSideError::Invalid(_) | ReadSideError::Unsupported(_))) => {
                    let error = chain(&error);
                    tracing::error!(inbox = %name, error, "deliveries of an inbox are refused; it stops, until it is resumed");
                    let failure = Failure { event: None, error, at: now };
                    drop(self.engine.queue.fail(&member.lease, failure).await);
                    self.lose(|member| member.inbox.name == *name);
                }
                Err(_) => self.lose(|member| member.inbox.name == *name),
            }
        }
        tracing::debug!(error = %refused, "deliveries were enqueued inbox by inbox");
    }

    fn lose(&mut self, which: impl Fn(&Member) -> bool) {
        let (lost, kept) = std::mem::take(&mut self.members).into_iter().partition(which);
        self.members = kept;
        let lost: Vec<Member> = lost;
        self.lost.extend(lost.into_iter().map(|member| member.inbox));
        // The others may have asked for less.
        self.notices = None;
    }

    /// Keeps the leases for longer.
    pub(super) async fn renew(&mut self) {
        self.renewed_at = Instant::now();
        let until = self.engine.until();
        let mut lost = Vec::new();
        for member in &self.members {
            let name = &member.inbox.name;
            match self.engine.queue.renew(&member.lease, until).await {
                Ok(_) => {}
                Err(ReadSideError::Fenced(_) | ReadSideError::Unknown(_)) => {
                    lost.push(name.clone());
                }
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(inbox = %name, error, "a lease cannot be renewed, which is tried again");
                }
            }
        }
        if !lost.is_empty() {
            self.lose(|member| lost.contains(&member.inbox.name));
        }
    }

    /// Hands over those that do not run here any more.
    pub(super) async fn part_with_leaving(&mut self) {
        if !self.members.iter().any(|member| member.inbox.is_leaving()) {
            return;
        }
        self.checkpoint().await;
        let members = std::mem::take(&mut self.members);
        let (leaving, staying): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|member| member.inbox.is_leaving());
        self.members = staying;
        // The others may have asked for less.
        self.notices = None;
        release(&self.engine, &leaving).await;
    }

    /// Hands over all of them.
    pub(super) async fn hand_over(mut self) {
        self.checkpoint().await;
        release(&self.engine, &self.members).await;
    }
}

/// Gives leases back.
async fn release(engine: &Engine, members: &[Member]) {
    for member in members {
        if let Err(error) = engine.queue.release(&member.lease).await {
            let error = chain(&error);
            tracing::warn!(inbox = %member.inbox.name, error, "a lease cannot be given back; it ends by itself");
        }
    }
}

/// One query for what any of several finds: those that name nothing but types as few items.
fn together(queries: impl Iterator<Item = Query>) -> Query {
    const TYPES_MAX: usize = 64;
    let mut types = Vec::new();
    let mut items: Vec<QueryItem> = Vec::new();
    for item in queries.flat_map(|query| query.items().to_vec()) {
        if item.is_all() {
            return Query::all();
        }
        if item.tags.is_empty() && item.is_anywhere() {
            types.extend(item.types);
        } else if !items.contains(&item) {
            items.push(item);
        }
    }
    types.sort_unstable();
    types.dedup();
    items.extend(types.chunks(TYPES_MAX).map(|types| QueryItem::new().types(types.to_vec())));
    items.into_iter().collect()
}
