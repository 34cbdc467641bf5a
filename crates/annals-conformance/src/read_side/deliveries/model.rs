//! Any history of deliveries gives the same answers as a list and loops over it.

use std::collections::{BTreeMap, BTreeSet};

use annals_core::{
    Attempt, Delivery, DeliveryInfo, DeliveryState, InboxInfo, NewDelivery, SelectDeliveries,
    Settled, SubscriberState, Take, Then, Timestamp,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::Strategy;
use proptest::prop_oneof;
use proptest::test_runner::{TestCaseError, TestCaseResult, TestError};
use tokio::runtime::Handle;

use super::words::{again, dead, delivery, done, given_back, take, to_recipient, waiting};
use crate::model::seeded_runner;
use crate::read_side::ReadSideBackend;
use crate::read_side::probe::{Probe, at, must, name};

use DeliveryState::{Dead, Done, Skipped, Taken, Waiting};

const OPERATIONS_MAX: usize = 100;
const INBOXES: [&str; 2] = ["chat", "mail"];
const LANES: [Option<&str>; 3] = [None, Some(""), Some("l")];
const RECIPIENTS: [Option<&str>; 2] = [None, Some("ada")];
const STATES: [DeliveryState; 5] = [Waiting, Taken, Dead, Done, Skipped];

/// What is done next; time goes on by a few seconds before it.
#[derive(Clone, Debug)]
struct Step {
    passes: u64,
    operation: Operation,
}

#[derive(Clone, Debug)]
enum Operation {
    Enqueue(Vec<New>),
    Take {
        inbox: usize,
        limit: usize,
        lasting: u64,
    },
    /// Of one of the attempts so far.
    Settle {
        attempt: usize,
        fate: Fate,
        delay: u64,
    },
    Keep {
        attempt: usize,
        lasting: u64,
    },
    Retry(Which),
    Skip(Which),
    Tell {
        inbox: usize,
        state: SubscriberState,
    },
    /// What was over so many seconds ago.
    Forget {
        inbox: usize,
        ago: u64,
    },
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Done,
    Again,
    GiveBack,
    Dead,
}

#[derive(Clone, Debug)]
struct New {
    inbox: usize,
    position: u64,
    lane: usize,
    recipient: usize,
    delay: u64,
}

/// The criteria, by number.
#[derive(Clone, Debug)]
struct Which {
    inbox: Option<usize>,
    state: Option<usize>,
    recipient: bool,
    position: Option<u64>,
}

pub(in crate::read_side) async fn deliveries_any_history_agrees_with_a_model(
    backend: &dyn ReadSideBackend,
) {
    let (mut runner, seed) = seeded_runner();
    let histories = vec(step(), 1..=OPERATIONS_MAX);
    let played = tokio::task::block_in_place(|| {
        runner.run(&histories, |history| Handle::current().block_on(play(backend, history)))
    });
    match played {
        Ok(()) => {}
        Err(TestError::Fail(reason, history)) => panic!(
            "seed {seed}: the queue and the model disagree: {reason}\nthe shortest history found \
             that shows it:\n{history:#?}"
        ),
        Err(TestError::Abort(reason)) => panic!("no histories could be made: {reason}"),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let new = (0..INBOXES.len(), 1..12_u64, 0..LANES.len(), 0..RECIPIENTS.len(), 0..4_u64);
    let new = new.prop_map(|(inbox, position, lane, recipient, delay)| New {
        inbox,
        position,
        lane,
        recipient,
        delay,
    });
    let fate = prop_oneof![
        4 => proptest::strategy::Just(Fate::Done),
        4 => proptest::strategy::Just(Fate::Again),
        1 => proptest::strategy::Just(Fate::GiveBack),
        2 => proptest::strategy::Just(Fate::Dead),
    ];
    let state = prop_oneof![
        2 => proptest::strategy::Just(SubscriberState::Running),
        1 => proptest::strategy::Just(SubscriberState::Paused),
        1 => proptest::strategy::Just(SubscriberState::Disabled),
    ];
    let operation = prop_oneof![
        6 => vec(new, 0..6).prop_map(Operation::Enqueue),
        9 => (0..INBOXES.len(), 0..4_usize, 1..6_u64)
            .prop_map(|(inbox, limit, lasting)| Operation::Take { inbox, limit, lasting }),
        // Mostly of the last ones.
        12 => (0..8_usize, fate, 0..4_u64)
            .prop_map(|(attempt, fate, delay)| Operation::Settle { attempt, fate, delay }),
        1 => (0..8_usize, 0..9_u64)
            .prop_map(|(attempt, lasting)| Operation::Keep { attempt, lasting }),
        2 => which().prop_map(Operation::Retry),
        1 => which().prop_map(Operation::Skip),
        1 => (0..INBOXES.len(), state).prop_map(|(inbox, state)| Operation::Tell { inbox, state }),
        3 => (0..INBOXES.len(), 0..2_u64)
            .prop_map(|(inbox, ago)| Operation::Forget { inbox, ago }),
    ];
    (0..3_u64, operation).prop_map(|(passes, operation)| Step { passes, operation })
}

fn which() -> impl Strategy<Value = Which> {
    let criteria = (
        option::weighted(0.5, 0..INBOXES.len()),
        option::weighted(0.3, 0..STATES.len()),
        proptest::bool::weighted(0.3),
        option::weighted(0.3, 1..12_u64),
    );
    criteria.prop_map(|(inbox, state, recipient, position)| Which {
        inbox,
        state,
        recipient,
        position,
    })
}

impl New {
    fn delivery(&self, now: u64) -> NewDelivery {
        let new = delivery(INBOXES[self.inbox], self.position);
        let new = NewDelivery {
            lane: LANES[self.lane].map(str::to_owned),
            due_at: at(now + self.delay),
            ..new
        };
        match RECIPIENTS[self.recipient] {
            Some(recipient) => to_recipient(new, recipient),
            None => new,
        }
    }
}

impl Which {
    fn select(&self) -> SelectDeliveries {
        let mut which = SelectDeliveries::all();
        which.inbox = self.inbox.map(|number| name(INBOXES[number]));
        which.state = self.state.map(|number| STATES[number]);
        which.recipient = self.recipient.then(|| "ada".to_owned());
        which.stream = self.position.map(|position| delivery("mail", position).event.stream);
        which
    }

    /// Said once more in plain words, so as not to ask the code under test.
    fn selects(&self, info: &DeliveryInfo) -> bool {
        self.inbox.is_none_or(|number| info.inbox.as_str() == INBOXES[number])
            && self.state.is_none_or(|number| info.state == STATES[number])
            && (!self.recipient || info.recipient.as_deref() == Some("ada"))
            && self.position.is_none_or(|position| info.event.position.get() % 3 == position % 3)
    }
}

/// The queue in plain words.
#[derive(Default)]
struct Model {
    now: u64,
    kept: Vec<Kept>,
    paused: BTreeSet<usize>,
    /// Everything that was ever taken.
    attempts: Vec<Delivery>,
}

struct Kept {
    info: DeliveryInfo,
    token: u64,
    until: Timestamp,
    over_at: Timestamp,
    remembered: BTreeMap<u64, Attempt>,
}

async fn play(backend: &dyn ReadSideBackend, history: Vec<Step>) -> TestCaseResult {
    let side = Probe::open(backend).await;
    for inbox in INBOXES {
        side.enrolled(inbox, 1).await;
    }
    let mut model = Model::default();
    for (number, step) in history.iter().enumerate() {
        model.now += step.passes;
        model.does(&side, &step.operation, number).await?;
        model.looks_like(&side, number).await?;
    }
    for kept in &model.kept {
        let expected: Vec<_> = kept.remembered.values().cloned().collect();
        agree(history.len(), &expected, &side.remembered(&kept.info.id).await)?;
    }
    Ok(())
}

fn agree<T: PartialEq + std::fmt::Debug>(number: usize, expected: &T, found: &T) -> TestCaseResult {
    if expected == found {
        return Ok(());
    }
    Err(TestCaseError::fail(format!("step {number}: expected {expected:?}, found {found:?}")))
}

impl Model {
    async fn does(&mut self, side: &Probe, operation: &Operation, number: usize) -> TestCaseResult {
        let now = at(self.now);
        match operation {
            Operation::Enqueue(new) => {
                let new: Vec<_> = new.iter().map(|new| new.delivery(self.now)).collect();
                let found = side.enqueued(new.clone(), self.now).await;
                let added = new.iter().filter(|new| self.adds(new, now)).count();
                agree(number, &(added as u64), &found)
            }
            Operation::Take { inbox, limit, lasting } => {
                let until = at(self.now + lasting);
                let take = Take { until, ..take(INBOXES[*inbox], self.now, *limit) };
                let found = must("to take", (**side).take(take)).await;
                self.takes(number, *inbox, *limit, until, found)
            }
            Operation::Settle { attempt, fate, delay } => {
                let Some(attempt) = self.attempts.iter().rev().nth(*attempt).cloned() else {
                    return Ok(());
                };
                let due = self.now + delay;
                let settled = match fate {
                    Fate::Done => done(&attempt),
                    Fate::Again => again(&attempt, due),
                    Fate::GiveBack => given_back(&attempt, due),
                    Fate::Dead => dead(&attempt),
                };
                side.settled(settled.clone(), self.now).await;
                self.settles(settled);
                Ok(())
            }
            Operation::Keep { attempt, lasting } => {
                let Some(attempt) = self.attempts.iter().rev().nth(*attempt).cloned() else {
                    return Ok(());
                };
                let until = at(self.now + lasting);
                must("to keep", side.keep(&[(attempt.id.clone(), attempt.token)], until)).await;
                if let Some(kept) = self.current(&attempt.id, attempt.token) {
                    kept.until = until;
                }
                Ok(())
            }
            Operation::Retry(which) => {
                let found = must("to retry", side.retry(&which.select(), now)).await;
                let mut count = 0;
                for kept in self.kept.iter_mut().filter(|kept| which.selects(&kept.info)) {
                    let info = &mut kept.info;
                    if info.state == Dead || (info.state == Waiting && info.attempts > 0) {
                        (info.state, info.attempts, info.due_at) = (Waiting, 0, now);
                        count += 1;
                    }
                }
                agree(number, &count, &found)
            }
            Operation::Skip(which) => {
                let found = must("to skip", side.skip(&which.select(), "why", now)).await;
                let mut count = 0;
                for kept in self.kept.iter_mut().filter(|kept| which.selects(&kept.info)) {
                    if kept.info.state == Dead || kept.info.state == Waiting {
                        kept.info.state = Skipped;
                        kept.info.skipped = Some("why".to_owned());
                        kept.over_at = now;
                        count += 1;
                    }
                }
                agree(number, &count, &found)
            }
            Operation::Tell { inbox, state } => {
                must("to tell", side.set_state(&name(INBOXES[*inbox]), *state)).await;
                self.paused.remove(inbox);
                if *state == SubscriberState::Paused {
                    self.paused.insert(*inbox);
                }
                Ok(())
            }
            Operation::Forget { inbox, ago } => {
                let inbox = name(INBOXES[*inbox]);
                let before = at(self.now.saturating_sub(*ago));
                let found = must("to forget", side.forget(&inbox, before, 1_000)).await;
                let count = self.kept.len();
                self.kept.retain(|kept| {
                    kept.info.inbox != inbox || kept.open() || kept.over_at >= before
                });
                agree(number, &((count - self.kept.len()) as u64), &found)
            }
        }
    }

    fn adds(&mut self, new: &NewDelivery, now: Timestamp) -> bool {
        if self.kept.iter().any(|kept| kept.info.id == new.id) {
            return false;
        }
        let info = waiting(new, now);
        let remembered = BTreeMap::new();
        self.kept.push(Kept { info, token: 0, until: now, over_at: now, remembered });
        self.kept.sort_by_key(|kept| (kept.info.event.position, kept.info.id.clone()));
        true
    }

    /// Whether a delivery of the same lane is open before this one.
    fn is_held_up(&self, index: usize) -> bool {
        let info = &self.kept[index].info;
        let before = self.kept[..index].iter().filter(|kept| kept.open());
        let mut before = before.filter(|kept| kept.info.inbox == info.inbox);
        info.lane.is_some() && before.any(|kept| kept.info.lane == info.lane)
    }

    fn free_at(&self, index: usize) -> Option<Timestamp> {
        let kept = &self.kept[index];
        match kept.info.state {
            _ if self.is_held_up(index) => None,
            Waiting => Some(kept.info.due_at),
            Taken => Some(kept.until),
            _ => None,
        }
    }

    fn takes(
        &mut self,
        number: usize,
        inbox: usize,
        limit: usize,
        until: Timestamp,
        found: Vec<Delivery>,
    ) -> TestCaseResult {
        let free = |index: &usize| {
            let of_inbox = self.kept[*index].info.inbox.as_str() == INBOXES[inbox];
            of_inbox && self.free_at(*index).is_some_and(|free| free <= at(self.now))
        };
        let limit = if self.paused.contains(&inbox) { 0 } else { limit };
        let taken: Vec<_> = (0..self.kept.len()).filter(free).take(limit).collect();
        agree(number, &taken.len(), &found.len())?;
        for (index, delivery) in taken.into_iter().zip(found) {
            let kept = &mut self.kept[index];
            kept.info.state = Taken;
            kept.info.attempts += 1;
            kept.until = until;
            let info = kept.info.clone();
            let expected = Delivery {
                id: info.id,
                inbox: info.inbox,
                event: info.event,
                recipient: info.recipient,
                lane: info.lane,
                attempt: info.attempts,
                enqueued_at: info.enqueued_at,
                token: delivery.token.max(kept.token + 1),
            };
            agree(number, &expected, &delivery)?;
            kept.token = delivery.token;
            self.attempts.push(delivery);
        }
        Ok(())
    }

    /// The delivery, if the token is that of the attempt which goes on.
    fn current(&mut self, id: &annals_core::DeliveryId, token: u64) -> Option<&mut Kept> {
        let kept = self.kept.iter_mut().find(|kept| kept.info.id == *id)?;
        (kept.info.state == Taken && kept.token == token).then_some(kept)
    }

    fn settles(&mut self, settled: Settled) {
        let now = at(self.now);
        if let Some(kept) = self.current(&settled.id, settled.token) {
            let error = settled.attempt.as_ref().and_then(|attempt| attempt.error.clone());
            kept.info.last_error = error.or(kept.info.last_error.take());
            (kept.info.state, kept.over_at) = match settled.then {
                Then::Done => (Done, now),
                Then::Dead => (Dead, now),
                Then::Again(due_at) | Then::GiveBack(due_at) => {
                    kept.info.due_at = due_at;
                    (Waiting, now)
                }
            };
            if matches!(settled.then, Then::GiveBack(_)) {
                kept.info.attempts -= 1;
            }
        }
        let kept = self.kept.iter_mut().find(|kept| kept.info.id == settled.id);
        if let (Some(kept), Some(attempt)) = (kept, settled.attempt)
            && (attempt.error.is_some() || !kept.remembered.is_empty())
        {
            kept.remembered.entry(settled.token).or_insert(attempt);
        }
    }

    async fn looks_like(&self, side: &Probe, number: usize) -> TestCaseResult {
        let infos: Vec<_> = self.kept.iter().map(|kept| kept.info.clone()).collect();
        let mut found = side.listed(SelectDeliveries::all()).await;
        // When something is due says nothing unless it waits.
        for (found, expected) in found.iter_mut().zip(&infos) {
            if found.state != Waiting {
                found.due_at = expected.due_at;
            }
        }
        agree(number, &infos, &found)?;
        for inbox in INBOXES {
            let of_inbox = |index: &usize| self.kept[*index].info.inbox.as_str() == inbox;
            let free =
                (0..self.kept.len()).filter(of_inbox).filter_map(|index| self.free_at(index));
            agree(number, &free.min(), &must("a look", side.next_due(&name(inbox))).await)?;
        }
        agree(number, &self.figures(), &must("figures", side.inboxes()).await)
    }

    fn figures(&self) -> Vec<InboxInfo> {
        let of_inbox = |inbox: &str| {
            let open = self.kept.iter().filter(|kept| kept.open());
            let open: Vec<_> = open.filter(|kept| kept.info.inbox.as_str() == inbox).collect();
            let count = |which: &dyn Fn(&DeliveryInfo) -> bool| {
                open.iter().filter(|kept| which(&kept.info)).count() as u64
            };
            let alive = open.iter().filter(|kept| kept.info.state != Dead);
            let info = InboxInfo {
                inbox: name(inbox),
                waiting: count(&|info| info.state == Waiting && info.attempts == 0),
                retrying: count(&|info| info.state == Waiting && info.attempts > 0),
                taken: count(&|info| info.state == Taken),
                dead: count(&|info| info.state == Dead),
                oldest: alive.map(|kept| kept.info.enqueued_at).min(),
            };
            (!open.is_empty()).then_some(info)
        };
        INBOXES.into_iter().filter_map(of_inbox).collect()
    }
}

impl Kept {
    fn open(&self) -> bool {
        !matches!(self.info.state, Done | Skipped)
    }
}
