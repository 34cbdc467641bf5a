//! The queue of inboxes, compared with the one in memory step by step; and many who work one lane
//! at the same time.

use std::sync::Arc;
use std::time::Duration;

use annals_core::{
    Attempt, Delivery, DeliveryId, DeliveryQueue, DeliveryState, Enqueue, EventId, EventRef,
    EventType, MemoryReadSide, NewDelivery, Position, SelectDeliveries, Settled, StreamId,
    SubscriberName, Take, Then, Timestamp, Version,
};
use annals_postgres::PostgresReadSide;
use annals_scratch::Database;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn at(second: u64) -> Timestamp {
    Timestamp::from_micros(
        1_700_000_000_000_000 + i64::try_from(second).expect("small") * 1_000_000,
    )
}

fn inbox() -> SubscriberName {
    SubscriberName::from_static("email")
}

/// A delivery whose event stands at this position.
fn new(position: u64, recipient: Option<&str>, lane: Option<String>, due: u64) -> NewDelivery {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&position.to_be_bytes());
    let event = EventId::from_bytes(id);
    NewDelivery {
        id: DeliveryId::new(&inbox(), event, recipient),
        inbox: inbox(),
        event: EventRef {
            id: event,
            position: Position::new(position),
            stream: StreamId::of("issue", position % 5).expect("a stream"),
            version: Version::new(1),
            event_type: EventType::from_static("IssueOpened"),
        },
        recipient: recipient.map(str::to_owned),
        lane,
        due_at: at(due),
    }
}

fn settled(delivery: &Delivery, then: Then, error: Option<&str>, now: u64) -> Settled {
    let attempt = Attempt {
        number: delivery.attempt,
        at: at(now),
        duration: Duration::from_millis(3),
        error: error.map(str::to_owned),
        note: None,
    };
    Settled { id: delivery.id.clone(), token: delivery.token, attempt: Some(attempt), then }
}

/// Both queues, always told the same.
struct Both {
    memory: MemoryReadSide,
    postgres: PostgresReadSide,
    /// Each of them with its own token.
    taken: Vec<(Delivery, Delivery)>,
}

impl Both {
    async fn enqueue(&self, deliveries: Vec<NewDelivery>, now: u64) {
        let enqueue = Enqueue { deliveries, advances: Vec::new() };
        let expected = self.memory.enqueue(enqueue.clone(), at(now)).await.expect("an answer");
        assert_eq!(self.postgres.enqueue(enqueue, at(now)).await.expect("an answer"), expected);
    }

    async fn take(&mut self, limit: usize, now: u64, until: u64) {
        let take = Take { inbox: inbox(), limit, now: at(now), until: at(until) };
        let expected = self.memory.take(take.clone()).await.expect("an answer");
        let found = self.postgres.take(take).await.expect("an answer");
        let plain = |taken: &[Delivery]| {
            taken.iter().map(|one| Delivery { token: 0, ..one.clone() }).collect::<Vec<_>>()
        };
        assert_eq!(plain(&found), plain(&expected), "taken at {now}");
        self.taken.extend(expected.into_iter().zip(found));
    }

    async fn settle(&mut self, index: usize, then: Then, error: Option<&str>, now: u64) {
        let (memory, postgres) = self.taken.swap_remove(index);
        self.memory
            .settle(vec![settled(&memory, then, error, now)], at(now))
            .await
            .expect("an answer");
        self.postgres
            .settle(vec![settled(&postgres, then, error, now)], at(now))
            .await
            .expect("an answer");
    }

    async fn compare(&self) {
        let all = SelectDeliveries::all();
        let expected = self.memory.deliveries(&all, 1_000).await.expect("an answer");
        let mut found = self.postgres.deliveries(&all, 1_000).await.expect("an answer");
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter_mut().zip(&expected) {
            // When it is due says nothing of what does not wait.
            if expected.state != DeliveryState::Waiting {
                found.due_at = expected.due_at;
            }
            assert_eq!(format!("{found:?}"), format!("{expected:?}"));
        }
        let due = self.memory.next_due(&inbox()).await.expect("an answer");
        assert_eq!(self.postgres.next_due(&inbox()).await.expect("an answer"), due);
        assert_eq!(
            self.postgres.inboxes().await.expect("an answer"),
            self.memory.inboxes().await.expect("an answer")
        );
        for info in expected.iter().take(5) {
            let attempts = self.memory.attempts(&info.id).await.expect("an answer");
            assert_eq!(self.postgres.attempts(&info.id).await.expect("an answer"), attempts);
        }
    }
}

#[tokio::test]
async fn the_queue_does_what_the_one_in_memory_does() {
    let database = Database::create().await;
    for seed in 0..6 {
        let postgres = PostgresReadSide::options()
            .schema(format!("read_{seed}").parse().unwrap())
            .connect(database.url())
            .await
            .unwrap();
        let mut both = Both { memory: MemoryReadSide::new(), postgres, taken: Vec::new() };
        let mut random = StdRng::seed_from_u64(seed);
        let mut now = 0;
        for _ in 0..150 {
            now += random.random_range(0..3);
            let lane = |random: &mut StdRng| {
                random.random_bool(0.7).then(|| format!("lane {}", random.random_range(0..4)))
            };
            match random.random_range(0..12) {
                // Also out of order, and what was there before.
                0..=3 => {
                    let count = random.random_range(1..6);
                    let deliveries = (0..count).map(|_| {
                        let recipient = [None, Some("ada"), Some("bob")][random.random_range(0..3)];
                        let due = now + random.random_range(0..4) * random.random_range(0..2);
                        new(random.random_range(1..60), recipient, lane(&mut random), due)
                    });
                    let deliveries = deliveries.collect();
                    both.enqueue(deliveries, now).await;
                }
                4..=6 => {
                    let limit = random.random_range(1..5);
                    both.take(limit, now, now + random.random_range(1..8)).await;
                }
                7..=9 if !both.taken.is_empty() => {
                    let index = random.random_range(0..both.taken.len());
                    let later = at(now + random.random_range(0..5));
                    let (then, error) = match random.random_range(0..6) {
                        0..=2 => (Then::Done, None),
                        3 => (Then::Again(later), Some("no answer")),
                        4 => (Then::GiveBack(later), None),
                        _ => (Then::Dead, Some("refused")),
                    };
                    both.settle(index, then, error, now).await;
                }
                10 => {
                    let which = SelectDeliveries::inbox(inbox());
                    let stream = StreamId::of("issue", random.random_range(0..5)).unwrap();
                    let which = which.stream(stream);
                    let expected = both.memory.retry(&which, at(now)).await.unwrap();
                    assert_eq!(both.postgres.retry(&which, at(now)).await.unwrap(), expected);
                }
                11 => {
                    let stream = StreamId::of("issue", random.random_range(0..5)).unwrap();
                    let which = SelectDeliveries::all().state(DeliveryState::Dead).stream(stream);
                    let expected = both.memory.skip(&which, "old", at(now)).await.unwrap();
                    assert_eq!(both.postgres.skip(&which, "old", at(now)).await.unwrap(), expected);
                }
                _ => {}
            }
            both.compare().await;
        }
        let before = at(now / 2);
        let expected = both.memory.forget(&inbox(), before, 1_000).await.unwrap();
        assert_eq!(both.postgres.forget(&inbox(), before, 1_000).await.unwrap(), expected);
        both.compare().await;
        both.postgres.close().await;
    }
}

/// Enqueueing and settling meet in one lane all the time; a lane that loses its head stands still.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_busy_lane_never_loses_its_head() {
    const EACH: u64 = 60;
    const LANES: u64 = 3;
    let database = Database::create().await;
    let read_side = Arc::new(PostgresReadSide::connect(database.url()).await.unwrap());
    let mut tasks = Vec::new();
    for writer in 0..2 {
        let read_side = Arc::clone(&read_side);
        tasks.push(tokio::spawn(async move {
            for n in 0..EACH {
                let position = n * 2 + writer + 1;
                let lane = Some(format!("lane {}", position % LANES));
                let deliveries = vec![new(position, None, lane, 0)];
                let enqueue = Enqueue { deliveries, advances: Vec::new() };
                read_side.enqueue(enqueue, at(1)).await.unwrap();
            }
        }));
    }
    let (sender, mut made) = tokio::sync::mpsc::unbounded_channel();
    let mut workers = Vec::new();
    for _ in 0..3 {
        let (read_side, sender) = (Arc::clone(&read_side), sender.clone());
        workers.push(tokio::spawn(async move {
            loop {
                let take = Take { inbox: inbox(), limit: 2, now: at(2), until: at(1_000_000) };
                for delivery in read_side.take(take).await.unwrap() {
                    read_side
                        .settle(vec![settled(&delivery, Then::Done, None, 2)], at(2))
                        .await
                        .unwrap();
                    sender.send(delivery).unwrap();
                }
            }
        }));
    }
    let mut seen = Vec::new();
    while seen.len() < usize::try_from(2 * EACH).unwrap() {
        let next = tokio::time::timeout(Duration::from_secs(60), made.recv()).await;
        seen.push(next.unwrap_or_else(|_| panic!("only {} were made", seen.len())).unwrap());
    }
    workers.iter().for_each(tokio::task::JoinHandle::abort);
    for task in tasks {
        task.await.unwrap();
    }
    let mut ids: Vec<_> = seen.iter().map(|one| one.id.clone()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), seen.len(), "none was made twice");
    assert_eq!(read_side.next_due(&inbox()).await.unwrap(), None);
}
