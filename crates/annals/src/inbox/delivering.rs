//! Makes the deliveries of one inbox.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use annals_core::{Delivery, DeliveryId, Settled, SubscriberState, Take, Then, Timestamp};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::attempt::{attempt, chain};
use super::engine::{Engine, Held};
use super::hosted::Hosted;
use super::places::Place;
use super::rate::Allowance;
use super::settling::Outcome;
use super::signals::stopped;

/// Takes the deliveries of one inbox that are due, and makes them with its own workers.
pub(super) struct Deliverer {
    engine: Arc<Engine>,
    inbox: Arc<Hosted>,
    outcomes: mpsc::Sender<Outcome>,
    stop: watch::Receiver<bool>,
    woken: Arc<Notify>,
    running: JoinSet<Duration>,
    /// What is made by the running attempts, with their tokens.
    making: HashMap<Id, (DeliveryId, u64)>,
    /// Taken, and waiting for a worker.
    ready: VecDeque<Delivery>,
    allowance: Option<Allowance>,
    pace: Pace,
    /// There may be something to take, as far as is known without asking.
    may_take: bool,
}

/// What to do next.
enum Next {
    /// Look again at once.
    Look,
    /// Wait until something happens, at most until then.
    Wait(Option<Timestamp>),
}

impl Deliverer {
    pub(super) fn new(
        engine: &Arc<Engine>,
        inbox: &Arc<Hosted>,
        outcomes: &mpsc::Sender<Outcome>,
    ) -> Self {
        Self {
            engine: Arc::clone(engine),
            inbox: Arc::clone(inbox),
            outcomes: outcomes.clone(),
            stop: inbox.told_to_stop(),
            woken: engine.signals.deliveries(&inbox.name),
            running: JoinSet::new(),
            making: HashMap::new(),
            ready: VecDeque::new(),
            allowance: inbox.rate.map(Allowance::new),
            pace: Pace::default(),
            may_take: true,
        }
    }

    /// Makes deliveries until it is told to stop; then it finishes what it can.
    pub(super) async fn run(mut self) {
        while !*self.stop.borrow() {
            match self.step().await {
                Next::Look => {}
                Next::Wait(until) => self.wait(until).await,
            }
        }
        self.give_back_ready(self.engine.now()).await;
        let grace = self.engine.settings.grace;
        let finish = async { while self.join_next().await {} };
        if tokio::time::timeout(grace, finish).await.is_err() {
            tracing::warn!(inbox = %self.inbox.name, count = self.running.len(), "attempts take too long to wait for; they are given up");
            self.give_up_running().await;
        }
    }

    /// Waits for an attempt to end; `false` when none runs.
    async fn join_next(&mut self) -> bool {
        let Some(joined) = self.running.join_next_with_id().await else { return false };
        self.note(&joined);
        true
    }

    fn note(&mut self, joined: &Result<(Id, Duration), JoinError>) {
        match joined {
            Ok((id, took)) => {
                self.making.remove(id);
                self.pace.note(*took);
            }
            // It was given up, and stays among what is being made.
            Err(_) => self.pace.note(Pace::AHEAD),
        }
    }

    async fn give_up_running(&mut self) {
        self.running.abort_all();
        while self.join_next().await {}
        let now = self.engine.now();
        for (id, token) in std::mem::take(&mut self.making).into_values() {
            self.give_back(id, token, now).await;
        }
    }

    async fn step(&mut self) -> Next {
        while let Some(joined) = self.running.try_join_next_with_id() {
            self.note(&joined);
        }
        let now = self.engine.now();
        if self.engine.signals.state(&self.inbox.name) == SubscriberState::Paused {
            self.give_back_ready(now).await;
            return Next::Wait(None);
        }
        if let Some(closed_until) = self.closed_until(now) {
            self.give_back_ready(closed_until.unwrap_or(now)).await;
            return Next::Wait(closed_until);
        }
        let free = self.inbox.concurrency.saturating_sub(self.running.len());
        for _ in 0..free.min(self.ready.len()) {
            let delivery = self.ready.pop_front().expect("as many are ready");
            self.begin(delivery, Place::free());
        }
        let free = self.inbox.concurrency.saturating_sub(self.running.len());
        if free == 0 {
            return Next::Wait(None);
        }
        let allowed = self.allowance.as_ref().map_or(usize::MAX, |allowance| allowance.left(now));
        if allowed == 0 {
            return Next::Wait(self.allowance.as_ref().map(Allowance::next));
        }
        if let Some(next) = self.nothing_due(now).await {
            return next;
        }
        self.take(free.min(allowed)).await
    }

    /// `None` when it is open, otherwise until when it is closed, if it is ever open again.
    fn closed_until(&self, now: Timestamp) -> Option<Option<Timestamp>> {
        let open = self.inbox.hours.as_ref()?.next_open(now);
        (open != Some(now)).then_some(open)
    }

    /// Asks when the next delivery is due, unless it is known that there may be one.
    async fn nothing_due(&mut self, now: Timestamp) -> Option<Next> {
        if std::mem::take(&mut self.may_take) {
            return None;
        }
        match self.engine.queue.next_due(&self.inbox.name).await {
            Ok(Some(due)) if due <= now => None,
            Ok(due) => Some(Next::Wait(due)),
            Err(error) => Some(self.silent("when something is due", &error)),
        }
    }

    /// Takes up to so many deliveries, and more if they are made so quickly that the way to the
    /// queue would take longer.
    async fn take(&mut self, count: usize) -> Next {
        let Some(mut places) = self.places(count).await else { return Next::Look };
        let is_held_back = self.allowance.is_some() || self.engine.places.are_scarce();
        let limit = match is_held_back {
            true => places.len(),
            false => places.len().max(self.pace.ahead(self.inbox.concurrency)),
        };
        let now = self.engine.now();
        let until = self.engine.until();
        let take = Take { inbox: self.inbox.name.clone(), limit, now, until };
        let taken = match self.engine.queue.take(take).await {
            Ok(taken) => taken,
            Err(error) => return self.silent("its deliveries", &error),
        };
        if taken.is_empty() {
            return Next::Wait(None);
        }
        self.may_take = taken.len() == limit;
        if let Some(allowance) = &mut self.allowance {
            allowance.used(taken.len(), now);
        }
        let held = |taken: &Delivery| Held { inbox: taken.inbox.clone(), token: taken.token };
        self.engine.held().extend(taken.iter().map(|taken| (taken.id.clone(), held(taken))));
        for delivery in taken {
            match places.pop() {
                Some(place) => self.begin(delivery, place),
                None => self.ready.push_back(delivery),
            }
        }
        Next::Look
    }

    /// One worker at least, when there is one or it is told to stop, and up to so many.
    async fn places(&mut self, count: usize) -> Option<Vec<Place>> {
        let mut places = Vec::new();
        tokio::select! {
            place = self.engine.places.get(self.inbox.priority) => places.push(place),
            () = stopped(&mut self.stop) => return None,
        }
        while places.len() < count
            && let Some(place) = self.engine.places.try_get()
        {
            places.push(place);
        }
        Some(places)
    }

    fn begin(&mut self, delivery: Delivery, place: Place) {
        let engine = Arc::clone(&self.engine);
        let inbox = Arc::clone(&self.inbox);
        let outcomes = self.outcomes.clone();
        let making = (delivery.id.clone(), delivery.token);
        let task = self.running.spawn(async move {
            let begun = Instant::now();
            let settled = attempt(&engine, &inbox, delivery).await;
            let took = begun.elapsed();
            drop(place);
            // Whoever settles is there for longer than whoever makes attempts.
            drop(outcomes.send((inbox.name.clone(), settled)).await);
            took
        });
        self.making.insert(task.id(), making);
    }

    async fn give_back_ready(&mut self, due: Timestamp) {
        for Delivery { id, token, .. } in std::mem::take(&mut self.ready) {
            self.give_back(id, token, due).await;
        }
    }

    async fn give_back(&self, id: DeliveryId, token: u64, due: Timestamp) {
        let settled = Settled { id, token, attempt: None, then: Then::GiveBack(due) };
        drop(self.outcomes.send((self.inbox.name.clone(), settled)).await);
    }

    fn silent(&self, what: &str, error: &annals_core::ReadSideError) -> Next {
        let error = chain(error);
        tracing::warn!(inbox = %self.inbox.name, error, "the queue does not say {what}; it is asked again");
        Next::Wait(None)
    }

    /// Waits until there may be something to do: something was enqueued or settled, an attempt
    /// has ended, the moment has come. The moment is the clock's, which may be moved: so it looks
    /// again from time to time.
    async fn wait(&mut self, until: Option<Timestamp>) {
        let now = self.engine.now().as_micros();
        let ahead = until.map(|until| until.as_micros().saturating_sub(now).max(0));
        let ahead = ahead.and_then(|ahead| u64::try_from(ahead).ok()).map(Duration::from_micros);
        let poll = self.engine.settings.poll;
        tokio::select! {
            () = self.woken.notified() => self.may_take = true,
            Some(joined) = self.running.join_next_with_id() => self.note(&joined),
            () = tokio::time::sleep(ahead.map_or(poll, |ahead| ahead.min(poll))) => {}
            () = stopped(&mut self.stop) => {}
        }
    }
}

/// How long attempts take, about.
struct Pace {
    mean: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { mean: Self::AHEAD }
    }
}

impl Pace {
    /// As much work as is taken ahead: little enough that another process with nothing to do
    /// would hardly have been quicker.
    const AHEAD: Duration = Duration::from_millis(100);

    fn note(&mut self, took: Duration) {
        self.mean = (self.mean * 7 + took) / 8;
    }

    /// How many deliveries so many workers make in that time.
    fn ahead(&self, workers: usize) -> usize {
        const MAX: u128 = 128;
        let each = Self::AHEAD.as_micros() / self.mean.as_micros().max(1);
        let each = usize::try_from(each.min(MAX)).unwrap_or(0);
        (each * workers).min(128)
    }
}
