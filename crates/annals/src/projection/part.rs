//! Works one part of one generation: claims it, applies stretch after stretch, and gives it back.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use annals_core::error::Chain;
use annals_core::{
    Activation, Advance, Claim, Clock, Failure, Generation, Lease, Panicked, Parked, PoisonEvent,
    Position, ProjectError, Projector, ReadError, ReadSideError, RecordedEvent, Renewed, Role,
    Stretch, Subscribe, SubscriberState,
};
use tokio::sync::watch;
use tokio::time::Instant;

use super::gather::{Bounds, Gathered, Gatherer};
use super::heart::{self, Heart, Pulse};
use super::options::{OnPoison, Options};
use super::progress::{Progress, Share, Taken};
use crate::Annals;

/// How often a checkpoint moves over events that concern nobody here.
const IDLE_INTERVAL: Duration = Duration::from_millis(100);
/// How long to wait before a database that did not answer is asked again: at first, and at most.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Works one part until it is told to stop, or there is no such part any more.
pub(super) struct PartWorker {
    pub(super) annals: Annals,
    pub(super) projector: Arc<dyn Projector>,
    pub(super) options: Arc<Options>,
    pub(super) generation: Generation,
    pub(super) partition: u32,
    pub(super) progress: Arc<Progress>,
    pub(super) share: Arc<Share>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Why the work on a lease ended.
#[derive(Debug)]
enum End {
    /// The lease is lost; the part may be claimed again.
    Lost,
    /// There is no such part any more.
    Gone,
    /// Told to stop.
    Stopped,
    /// The log is closed: there is nothing to work any more.
    Closed,
    /// Something else went wrong; it is tried again after a while.
    Failed(Failed),
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Panicked(#[from] Panicked),
    #[error(transparent)]
    Project(#[from] ProjectError),
}

impl From<ReadSideError> for End {
    fn from(error: ReadSideError) -> Self {
        match error {
            ReadSideError::Fenced(_) => Self::Lost,
            ReadSideError::Unknown(_) => Self::Gone,
            // Whoever closed it wants no more of it.
            ReadSideError::Closed => Self::Stopped,
            error => Self::Failed(Failed::Project(error.into())),
        }
    }
}

impl From<ReadError> for End {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Closed => Self::Closed,
            error => Self::Failed(error.into()),
        }
    }
}

impl PartWorker {
    /// Works until it is told to stop, or there is no such part any more.
    pub(super) async fn run(mut self) {
        let mut wait = PATIENCE.0;
        loop {
            let end = match self.claim().await {
                Ok(Some((lease, taken))) => {
                    let end = self.work(&lease).await.expect_err("work ends for a reason");
                    self.progress.left(self.generation, self.partition);
                    drop(taken);
                    // One that is lost, or a database that is gone, needs no giving back.
                    let _ = self.projector.checkpoints().release(&lease).await;
                    end
                }
                Ok(None) => End::Stopped,
                Err(error) => error.into(),
            };
            if !matches!(end, End::Failed(_)) {
                self.progress.out_of_trouble(self.generation, self.partition);
            }
            match end {
                End::Stopped | End::Gone => return,
                End::Closed => return self.progress.log_is_closed(),
                // A part that is lost as often as it is claimed is not claimed without pause.
                End::Lost => {
                    wait = PATIENCE.0;
                    if self.stops_within(wait).await {
                        return;
                    }
                }
                End::Failed(error) => {
                    let (projection, part) = (self.projector.name(), self.partition);
                    let error = Chain(&error).to_string();
                    tracing::warn!(%projection, part, error, "a projection does not go on; it is tried again");
                    self.progress.in_trouble(self.generation, self.partition, error);
                    if self.stops_within(wait).await {
                        return;
                    }
                    wait = (wait * 2).min(PATIENCE.1);
                }
            }
        }
    }

    /// Waits for the part to be free; `None` when told to stop.
    async fn claim(&mut self) -> Result<Option<(Lease, Taken)>, ReadSideError> {
        let checkpoints = self.projector.checkpoints();
        loop {
            let part = (self.generation, self.partition);
            let clock = &*self.annals.clock;
            let taken = self.share.take(&*checkpoints, part, clock, &self.options).await?;
            if let Some(taken) = taken {
                let now = self.annals.clock.now();
                let claim = Claim {
                    subscriber: self.projector.name().clone(),
                    generation: self.generation,
                    partition: self.partition,
                    owner: Arc::clone(&self.options.owner),
                    now,
                    until: now.saturating_add(self.options.lease),
                };
                if let Some(lease) = checkpoints.claim(claim).await? {
                    return Ok(Some((lease, taken)));
                }
            }
            if self.stops_within((self.options.lease / 4).min(Duration::from_secs(1))).await {
                return Ok(None);
            }
        }
    }

    /// Waits a while; whether it was told to stop meanwhile.
    async fn stops_within(&mut self, wait: Duration) -> bool {
        tokio::time::timeout(wait, told(&mut self.stop)).await.is_ok()
    }

    async fn work(&mut self, lease: &Lease) -> Result<std::convert::Infallible, End> {
        let checkpoints = self.projector.checkpoints();
        let clock = Arc::clone(&self.annals.clock);
        let heart = Heart::start(checkpoints, clock, lease.clone(), self.options.lease).await?;
        let mut pulse = heart.pulse();
        let prepared = Panicked::catch_in(self.projector.prepare(self.generation)).await;
        prepared.map_err(|panicked| End::Failed(panicked.into()))?.map_err(end_of)?;
        let mut at =
            Place { saved: lease.position, reached: lease.position, saved_at: Instant::now() };
        self.progress.reached(self.generation, self.partition, at.reached);
        loop {
            self.until_running(&mut pulse).await?;
            let mut gatherer = self.read_on(lease, at.reached);
            loop {
                let gathered = self.gather(&mut gatherer, lease, &mut at, &mut pulse).await?;
                let Some(gathered) = gathered else { break };
                let is_at_head = gathered.is_at_head;
                let begun = Instant::now();
                let events = gathered.events.len();
                if !self.apply(lease, gathered, &mut at, &mut pulse).await? {
                    break;
                }
                self.progress.reached(self.generation, self.partition, at.reached);
                if is_at_head {
                    self.swap_when_caught_up(lease, &mut at, &pulse).await?;
                }
                self.progress.out_of_trouble(self.generation, self.partition);
                self.keep_pace(&pulse, events, begun).await?;
            }
        }
    }

    fn read_on(&self, lease: &Lease, after: Position) -> Gatherer {
        let mut query = self.projector.query();
        let lens = self.annals.lens(&mut query);
        let notices = self.annals.store().subscribe(Subscribe::query(query).after(after));
        let Options { events_max, gather, .. } = *self.options;
        let (projector, partition) = (Arc::clone(&self.projector), lease.partition);
        let concerns = move |event: &RecordedEvent| projector.concerns(event, partition);
        let bounds = Bounds { events_max, gather };
        Gatherer::start(notices, lens, bounds, concerns)
    }

    /// The next stretch; `None` when the subscriber was told to pause. While it waits for one,
    /// the checkpoint follows over what concerns nobody here.
    async fn gather(
        &mut self,
        gatherer: &mut Gatherer,
        lease: &Lease,
        at: &mut Place,
        pulse: &mut watch::Receiver<Pulse>,
    ) -> Result<Option<Gathered>, End> {
        let mut stop = self.stop.clone();
        loop {
            let idle = at.saved_at + IDLE_INTERVAL;
            tokio::select! {
                biased;
                () = told(&mut stop) => {
                    self.save(lease, at).await?;
                    return Err(End::Stopped);
                }
                changed = pulse.changed() => {
                    let beat = beating(*pulse.borrow_and_update())?;
                    if changed.is_err() || beat.state != SubscriberState::Running {
                        return Ok(None);
                    }
                }
                gathered = gatherer.next() => {
                    return gathered.map(Some).map_err(End::from);
                }
                () = tokio::time::sleep_until(idle), if at.reached > at.saved => {
                    self.save(lease, at).await?;
                }
            }
        }
    }

    /// Waits until the subscriber is told to run, and no failure stands against the part.
    async fn until_running(&mut self, pulse: &mut watch::Receiver<Pulse>) -> Result<(), End> {
        loop {
            let beat = beating(*pulse.borrow_and_update())?;
            if beat.state == SubscriberState::Running {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = told(&mut self.stop) => return Err(End::Stopped),
                changed = pulse.changed() => changed.map_err(|_| End::Lost)?,
            }
        }
    }

    /// Applies a stretch, smaller and smaller parts of it around an event that cannot be applied.
    /// `false` when it stopped at one and was resumed: then the log is read again from there.
    async fn apply(
        &mut self,
        lease: &Lease,
        gathered: Gathered,
        at: &mut Place,
        pulse: &mut watch::Receiver<Pulse>,
    ) -> Result<bool, End> {
        let Gathered { mut events, to, unreadable, .. } = gathered;
        let is_empty = events.is_empty();
        let mut take = events.len();
        while !events.is_empty() {
            let mut rest = events.split_off(take);
            let end = if rest.is_empty() { to } else { events[take - 1].position };
            let stretch = self.stretch(lease, events, end);
            let outcome = self.project(&stretch, pulse).await?;
            self.progress.out_of_trouble(self.generation, self.partition);
            events = stretch.events;
            let poison = match outcome {
                Outcome::Applied => {
                    at.save(end);
                    (take, events) = (rest.len(), rest);
                    continue;
                }
                Outcome::Poison(poison) => poison,
                Outcome::Refused(error) => match first_half(&events) {
                    0 => PoisonEvent::new(&events[0], error),
                    half => {
                        events.append(&mut rest);
                        take = half;
                        continue;
                    }
                },
            };
            let before = events.iter().take_while(|event| event.position < poison.position).count();
            events.append(&mut rest);
            take = before;
            if before > 0 {
                continue;
            }
            if !self.meet(lease, &poison, at, pulse).await? {
                return Ok(false);
            }
            events.retain(|event| event.position > poison.position);
            take = events.len();
        }
        at.reached = to.max(at.reached);
        if let Some(poison) = unreadable {
            return self.meet(lease, &poison, at, pulse).await;
        }
        if is_empty && at.saved_at.elapsed() >= IDLE_INTERVAL {
            self.save(lease, at).await?;
        }
        Ok(true)
    }

    /// Does with an event that cannot be applied, when all before it are, what is to be done with
    /// those. `false` when it stopped there and was resumed.
    async fn meet(
        &mut self,
        lease: &Lease,
        poison: &PoisonEvent,
        at: &mut Place,
        pulse: &mut watch::Receiver<Pulse>,
    ) -> Result<bool, End> {
        match self.options.on_poison {
            OnPoison::Park => {
                self.park(lease, poison, at).await?;
                Ok(true)
            }
            OnPoison::Stop => {
                self.fail(lease, poison, pulse).await?;
                Ok(false)
            }
        }
    }

    fn stretch(&self, lease: &Lease, events: Vec<RecordedEvent>, to: Position) -> Stretch {
        let advance = Advance {
            lease: lease.clone(),
            to,
            events: events.len() as u64,
            parked: Vec::new(),
            now: self.annals.clock.now(),
        };
        Stretch { events, advance }
    }

    /// Applies a stretch, as often as the database does not answer.
    async fn project(
        &mut self,
        stretch: &Stretch,
        pulse: &mut watch::Receiver<Pulse>,
    ) -> Result<Outcome, End> {
        let mut wait = PATIENCE.0;
        loop {
            // It is foreign code, and must not take the worker with it.
            let fault = match Panicked::catch_in(self.projector.project(stretch)).await {
                Ok(Ok(())) => return Ok(Outcome::Applied),
                Ok(Err(ProjectError::Poison(poison))) => return Ok(Outcome::Poison(poison)),
                Ok(Err(ProjectError::ReadSide(ReadSideError::Invalid(invalid)))) => {
                    return Ok(Outcome::Refused(invalid.into()));
                }
                Err(panicked) => return Ok(Outcome::Refused(panicked.into())),
                Ok(Err(ProjectError::ReadSide(ReadSideError::Unavailable(fault)))) => fault,
                Ok(Err(error)) => return Err(end_of(error)),
            };
            let (projection, part) = (self.projector.name(), self.partition);
            let error = Chain(&fault).to_string();
            tracing::warn!(%projection, part, error, "the read side is not available; trying again");
            self.progress.in_trouble(self.generation, part, error);
            if self.stops_within(wait).await {
                return Err(End::Stopped);
            }
            beating(*pulse.borrow())?;
            wait = (wait * 2).min(PATIENCE.1);
        }
    }

    /// Says in the status that it does not go on, and waits until it is resumed.
    async fn fail(
        &mut self,
        lease: &Lease,
        poison: &PoisonEvent,
        pulse: &watch::Receiver<Pulse>,
    ) -> Result<(), End> {
        let error = Chain(poison).to_string();
        let (projection, part, position) = (self.projector.name(), self.partition, poison.position);
        tracing::error!(%projection, part, %position, %error, "a projection stopped at an event");
        let failure = Failure {
            event: Some((poison.position, poison.event)),
            error,
            at: self.annals.clock.now(),
        };
        let checkpoints = self.projector.checkpoints();
        checkpoints.fail(lease, failure).await?;
        self.progress.changed();
        // Asked here rather than heard from the heart, which may have beaten just before.
        loop {
            if self.stops_within(heart::INTERVAL_MAX.min(self.options.lease / 3)).await {
                return Err(End::Stopped);
            }
            beating(*pulse.borrow())?;
            let until = self.annals.clock.now().saturating_add(self.options.lease);
            match checkpoints.renew(lease, until).await {
                Ok(renewed) if !renewed.failed => return Ok(()),
                Ok(_) | Err(ReadSideError::Unavailable(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Puts an event aside, and moves on behind it.
    async fn park(&self, lease: &Lease, poison: &PoisonEvent, at: &mut Place) -> Result<(), End> {
        let error = Chain(poison).to_string();
        let (projection, part, position) = (self.projector.name(), self.partition, poison.position);
        tracing::error!(%projection, part, %position, %error, "a projection put an event aside");
        let now = self.annals.clock.now();
        let parked = Parked { position, event: poison.event, error, at: now };
        let (lease, parked) = (lease.clone(), vec![parked]);
        let advance = Advance { lease, to: position, events: 1, parked, now };
        self.projector.checkpoints().advance(&advance).await?;
        at.save(position);
        Ok(())
    }

    /// Moves the checkpoint to where the part has come.
    async fn save(&self, lease: &Lease, at: &mut Place) -> Result<(), End> {
        if at.reached > at.saved {
            let advance = self.stretch(lease, Vec::new(), at.reached).advance;
            self.projector.checkpoints().advance(&advance).await?;
        }
        at.save(at.reached);
        Ok(())
    }

    /// Puts a generation that is being built into the place of the active one, once it has come
    /// as far; until then it is worked on, and tried again at the next head.
    async fn swap_when_caught_up(
        &self,
        lease: &Lease,
        at: &mut Place,
        pulse: &watch::Receiver<Pulse>,
    ) -> Result<(), End> {
        if beating(*pulse.borrow())?.role != Role::Building {
            return Ok(());
        }
        self.save(lease, at).await?;
        let (name, generation) = (self.projector.name(), self.generation);
        let checkpoints = self.projector.checkpoints();
        let Some(info) = checkpoints.subscriber(name).await? else { return Err(End::Gone) };
        let (Some(active), Some(building)) = (info.active(), info.building()) else {
            return Ok(());
        };
        // To activate locks both, which is not worth it as long as this says that it is vain.
        if building.generation != generation || !building.is_as_far_as(active) {
            return Ok(());
        }
        let now = self.annals.clock.now();
        if self.projector.activate(generation, now).await.map_err(end_of)? == Activation::Done {
            tracing::info!(projection = %name, %generation, "a rebuilt projection took its place");
            self.progress.changed();
        }
        Ok(())
    }

    /// Slows a rebuild down to the pace that was asked for.
    async fn keep_pace(
        &mut self,
        pulse: &watch::Receiver<Pulse>,
        events: usize,
        begun: Instant,
    ) -> Result<(), End> {
        let Some(pace) = self.options.rebuild_pace else { return Ok(()) };
        if beating(*pulse.borrow())?.role != Role::Building {
            return Ok(());
        }
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let owed = Duration::from_secs(1).saturating_mul(events) / pace;
        if self.stops_within(owed.saturating_sub(begun.elapsed())).await {
            return Err(End::Stopped);
        }
        Ok(())
    }
}

/// What came of a stretch.
enum Outcome {
    Applied,
    /// This event cannot be applied, and nothing was.
    Poison(PoisonEvent),
    /// Something is wrong with what came of it, or it panicked; it was not said which event made
    /// it so.
    Refused(Box<dyn Error + Send + Sync>),
}

/// How many events the first half of them is, not dividing a position; 0 when they are all at one.
fn first_half(events: &[RecordedEvent]) -> usize {
    let middle = events[events.len() / 2].position;
    let half = events.iter().take_while(|event| event.position < middle).count();
    if half > 0 {
        return half;
    }
    let first = events.iter().take_while(|event| event.position == middle).count();
    if first < events.len() { first } else { 0 }
}

/// Where a part stands.
struct Place {
    /// The checkpoint.
    saved: Position,
    saved_at: Instant,
    /// Up to here everything is applied, or concerns others.
    reached: Position,
}

impl Place {
    fn save(&mut self, position: Position) {
        *self = Self { saved: position, reached: position, saved_at: Instant::now() };
    }
}

/// Completes when it is time to stop: also when whoever could tell is gone.
pub(super) async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn beating(pulse: Pulse) -> Result<Renewed, End> {
    match pulse {
        Pulse::Beats(renewed) => Ok(renewed),
        Pulse::Lost => Err(End::Lost),
    }
}

fn end_of(error: ProjectError) -> End {
    match error {
        ProjectError::ReadSide(error) => error.into(),
        error => End::Failed(error.into()),
    }
}
