//! The queue of deliveries against the one in memory: whatever is done to both, they say the same.

use std::time::Duration;

use annals_core::{
    Attempt, DeliveryId, DeliveryQueue, DeliveryState, Enqueue, Enrol, EventId, EventRef,
    EventType, MemoryReadSide, NewDelivery, OnNewVersion, Position, SelectDeliveries, Settled,
    StreamId, SubscriberName, SubscriberState, Take, Then, Timestamp, Version,
};
use annals_sqlite::SqliteReadSide;
use proptest::prelude::*;

const INBOXES: [&str; 2] = ["email", "webhook"];

/// What is done; numbers choose among the few things there are.
#[derive(Clone, Debug)]
enum Step {
    Enqueue(Vec<(u8, u8, Option<u8>, Option<u8>, u8)>),
    Take { inbox: u8, limit: u8, hidden: u8 },
    Settle { taken: u8, then: u8, error: bool },
    Keep { taken: u8, hidden: u8 },
    Pause { inbox: u8, paused: bool },
    Retry(Which),
    Skip(Which),
    Forget { ago: u8, limit: u8 },
    Wait(u8),
}

#[derive(Clone, Debug)]
struct Which {
    inbox: Option<u8>,
    state: Option<u8>,
    recipient: Option<u8>,
    after: Option<u8>,
}

fn which() -> impl Strategy<Value = Which> {
    let few = || prop::option::of(0_u8..4);
    (few(), few(), few(), prop::option::weighted(0.2, 0_u8..20))
        .prop_map(|(inbox, state, recipient, after)| Which { inbox, state, recipient, after })
}

fn step() -> impl Strategy<Value = Step> {
    let new = (0_u8..2, 0_u8..20, prop::option::of(0_u8..3), prop::option::of(0_u8..3), 0_u8..6);
    prop_oneof![
        3 => prop::collection::vec(new, 1..6).prop_map(Step::Enqueue),
        4 => (0_u8..2, 0_u8..4, 0_u8..6)
            .prop_map(|(inbox, limit, hidden)| Step::Take { inbox, limit, hidden }),
        4 => (any::<u8>(), 0_u8..4, any::<bool>())
            .prop_map(|(taken, then, error)| Step::Settle { taken, then, error }),
        1 => (any::<u8>(), 0_u8..9).prop_map(|(taken, hidden)| Step::Keep { taken, hidden }),
        1 => (0_u8..2, any::<bool>()).prop_map(|(inbox, paused)| Step::Pause { inbox, paused }),
        1 => which().prop_map(Step::Retry),
        1 => which().prop_map(Step::Skip),
        1 => (0_u8..9, 0_u8..4).prop_map(|(ago, limit)| Step::Forget { ago, limit }),
        3 => (1_u8..5).prop_map(Step::Wait),
    ]
}

fn inbox(number: u8) -> SubscriberName {
    SubscriberName::from_static(INBOXES[usize::from(number % 2)])
}

fn select(which: &Which) -> SelectDeliveries {
    let mut selected = SelectDeliveries::all();
    selected.inbox = which.inbox.map(inbox);
    selected.state = which.state.map(|state| {
        [DeliveryState::Waiting, DeliveryState::Dead, DeliveryState::Done, DeliveryState::Taken]
            [usize::from(state % 4)]
    });
    selected.recipient = which.recipient.map(|recipient| recipient.to_string());
    selected.after =
        which.after.map(|after| (Position::new(after.into()), DeliveryId::from_stored("f")));
    selected
}

/// A queue and what was taken from it.
struct Side {
    queue: Box<dyn DeliveryQueue>,
    taken: Vec<(DeliveryId, u64, u32)>,
    now: Timestamp,
}

fn later(now: Timestamp, by: u8) -> Timestamp {
    now.saturating_add(Duration::from_secs(by.into()))
}

impl Side {
    async fn new(queue: Box<dyn DeliveryQueue>) -> Self {
        for number in 0..2 {
            let enrol = Enrol {
                subscriber: inbox(number),
                version: 1,
                partitions: 1,
                after: Position::START,
                on_new_version: OnNewVersion::Refuse,
                now: Timestamp::EPOCH,
            };
            queue.enrol(enrol).await.expect("an inbox enrols");
        }
        Self { queue, taken: Vec::new(), now: Timestamp::EPOCH }
    }

    fn new_delivery(&self, new: &(u8, u8, Option<u8>, Option<u8>, u8)) -> NewDelivery {
        let (number, position, lane, recipient, due) = new;
        let id = EventId::from_bytes([*position; 16]);
        let recipient = recipient.map(|recipient| recipient.to_string());
        NewDelivery {
            id: DeliveryId::new(&inbox(*number), id, recipient.as_deref()),
            inbox: inbox(*number),
            event: EventRef {
                id,
                position: Position::new((*position).into()),
                stream: StreamId::from_static("a-1"),
                version: Version::FIRST,
                event_type: EventType::from_static("Happened"),
            },
            recipient,
            lane: lane.map(|lane| lane.to_string()),
            due_at: later(self.now, *due),
        }
    }

    /// Does a step; what the queue answers, without its tokens.
    async fn perform(&mut self, step: &Step) -> String {
        match step {
            Step::Enqueue(new) => {
                let deliveries = new.iter().map(|new| self.new_delivery(new)).collect();
                let enqueue = Enqueue { deliveries, advances: Vec::new() };
                format!("{:?}", self.queue.enqueue(enqueue, self.now).await)
            }
            Step::Take { inbox: number, limit, hidden } => {
                let (limit, until) = (usize::from(*limit), later(self.now, *hidden));
                let take = Take { inbox: inbox(*number), limit, now: self.now, until };
                let mut taken = self.queue.take(take).await.expect("the queue answers");
                for one in &mut taken {
                    self.taken.push((one.id.clone(), one.token, one.attempt));
                    one.token = 0;
                }
                format!("{taken:?}")
            }
            Step::Settle { taken, then, error } => {
                let Some((id, token, number)) = self.one(*taken) else { return String::new() };
                let error = error.then(|| format!("error {number}"));
                let again = later(self.now, *then);
                let (then, attempt) = match then {
                    0 => (Then::Done, true),
                    1 => (Then::Again(again), true),
                    2 => (Then::GiveBack(again), false),
                    _ => (Then::Dead, true),
                };
                let attempt = attempt.then_some(Attempt {
                    number,
                    at: self.now,
                    duration: Duration::from_millis(number.into()),
                    error,
                    note: Some("a note".into()),
                });
                let settled = vec![Settled { id, token, attempt, then }];
                format!("{:?}", self.queue.settle(settled, self.now).await)
            }
            Step::Keep { taken, hidden } => {
                let Some((id, token, _)) = self.one(*taken) else { return String::new() };
                let until = later(self.now, *hidden);
                format!("{:?}", self.queue.keep(&[(id, token)], until).await)
            }
            Step::Pause { inbox: number, paused } => {
                let state =
                    if *paused { SubscriberState::Paused } else { SubscriberState::Running };
                format!("{:?}", self.queue.set_state(&inbox(*number), state).await)
            }
            Step::Retry(which) => format!("{:?}", self.queue.retry(&select(which), self.now).await),
            Step::Skip(which) => {
                format!("{:?}", self.queue.skip(&select(which), "no", self.now).await)
            }
            Step::Forget { ago, limit } => {
                let before =
                    Timestamp::from_micros(self.now.as_micros() - i64::from(*ago) * 1_000_000);
                // Which ones go first is nobody's business.
                let limit = if *limit == 0 { 0 } else { usize::MAX };
                format!("{:?}", self.queue.forget(before, limit).await)
            }
            Step::Wait(seconds) => {
                self.now = later(self.now, *seconds);
                String::new()
            }
        }
    }

    fn one(&self, number: u8) -> Option<(DeliveryId, u64, u32)> {
        let recent = self.taken.len().saturating_sub(6);
        let recent = &self.taken[recent..];
        recent.get(usize::from(number) % recent.len().max(1)).cloned()
    }

    /// All that can be seen.
    async fn look(&self) -> String {
        let mut seen = Vec::new();
        let all = self.queue.deliveries(&SelectDeliveries::all(), 1_000).await.expect("it answers");
        for info in &all {
            let attempts = self.queue.attempts(&info.id).await.expect("it answers");
            // When it was due is of no interest any more once it does not wait.
            let due = (info.state == DeliveryState::Waiting).then_some(info.due_at);
            seen.push(format!(
                "{} {:?} {} {due:?} {:?} {:?} {attempts:?}",
                info.id, info.state, info.attempts, info.last_error, info.skipped
            ));
        }
        for number in 0..2 {
            seen.push(format!("{:?}", self.queue.next_due(&inbox(number)).await));
        }
        seen.push(format!("{:?}", self.queue.inboxes().await));
        for state in [DeliveryState::Dead, DeliveryState::Taken] {
            let which = SelectDeliveries::inbox(inbox(0)).state(state);
            let found = self.queue.deliveries(&which, 3).await.expect("it answers");
            seen.push(format!("{:?}", found.iter().map(|info| &info.id).collect::<Vec<_>>()));
        }
        seen.join("\n")
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_does_what_the_one_in_memory_does(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let read_side = SqliteReadSide::open(directory.path().join("derived.db")).unwrap();
            let mut ours = Side::new(Box::new(read_side)).await;
            let mut model = Side::new(Box::new(MemoryReadSide::new())).await;
            for (number, step) in steps.iter().enumerate() {
                let said = (ours.perform(step).await, model.perform(step).await);
                prop_assert_eq!(&said.0, &said.1, "step {}: {:?}", number, step);
                let seen = (ours.look().await, model.look().await);
                prop_assert_eq!(&seen.0, &seen.1, "after step {}: {:?}", number, step);
            }
            Ok(())
        })?;
    }
}
