//! From an append to a subscriber, at a light load.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use annals_core::{EventId, EventStore, ExpectedVersion, Notice, Subscribe};
use annals_postgres::PostgresStore;
use futures_util::StreamExt;
use sqlx_core::acquire::Acquire;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::fact::Fact;
use crate::server::{Server, connect, open};

const BETWEEN_APPENDS: Duration = Duration::from_millis(20);
/// How long the last events are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// When each append began; whoever takes an event out of it has seen it.
type Begun = Arc<Mutex<HashMap<EventId, Instant>>>;

pub async fn measure(server: &Server, time: Duration) {
    println!("\n| append to subscriber | p50 (ms) | p99 (ms) | max (ms) | targets |");
    println!("|---|---|---|---|---|");
    for in_transaction in [false, true] {
        let database = server.database().await;
        let store = open(&database).await;
        let other = open(&database).await;
        let appends = (time.as_secs_f64() / BETWEEN_APPENDS.as_secs_f64()).ceil() as usize;
        let here = Follower::of(&store, appends).await;
        let there = Follower::of(&other, appends).await;
        let mut connection = connect(database.url()).await;
        let mut ticks = interval(BETWEEN_APPENDS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for turn in 0..appends as u64 {
            ticks.tick().await;
            let append = Fact::scattered(0, turn).into_append(ExpectedVersion::Any);
            let id = append.streams[0].events[0].id;
            let now = Instant::now();
            here.begun.lock().expect("nobody panics").insert(id, now);
            there.begun.lock().expect("nobody panics").insert(id, now);
            if in_transaction {
                let mut transaction = connection.begin().await.expect("the transaction begins");
                let appended = store.append_in(&mut transaction, &append).await;
                appended.expect("the append succeeds");
                transaction.commit().await.expect("the transaction is committed");
            } else {
                store.append(append).await.expect("the append succeeds");
            }
        }
        let what = if in_transaction { "`append_in`" } else { "`append`" };
        let targets = if in_transaction { "" } else { "p50 ≤ 10, p99 ≤ 100" };
        here.print(&format!("{what}, the same store"), targets).await;
        there.print(&format!("{what}, another store"), targets).await;
        store.close().await;
        other.close().await;
    }
}

struct Follower {
    begun: Begun,
    times: JoinHandle<Vec<Duration>>,
}

impl Follower {
    /// Returns once it has caught up and waits for what comes.
    async fn of(store: &PostgresStore, events: usize) -> Self {
        let begun = Begun::default();
        let seen = Arc::clone(&begun);
        let mut notices = store.subscribe(Subscribe::all());
        let first = notices.next().await.expect("a subscription has no end");
        assert!(matches!(first, Ok(Notice::CaughtUp(_))), "the log is empty");
        let times = tokio::spawn(async move {
            let mut times = Vec::with_capacity(events);
            while times.len() < events {
                let notice = notices.next().await.expect("a subscription has no end");
                let Notice::Event(event) = notice.expect("the subscription goes on") else {
                    continue;
                };
                let now = Instant::now();
                let begun = seen.lock().expect("nobody panics").remove(&event.id);
                times.push(now - begun.expect("it is delivered once"));
            }
            times
        });
        Self { begun, times }
    }

    async fn print(self, what: &str, targets: &str) {
        let times = timeout(PATIENCE, self.times).await.expect("every event is delivered");
        let mut times = times.expect("the follower does not panic");
        times.sort();
        let at = |share: f64| {
            let place = ((times.len() as f64 * share) as usize).min(times.len() - 1);
            times[place].as_secs_f64() * 1_000.0
        };
        println!("| {what} | {:.1} | {:.1} | {:.1} | {targets} |", at(0.5), at(0.99), at(1.0));
    }
}
