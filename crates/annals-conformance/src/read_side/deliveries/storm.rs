//! Workers that fail, die and come late, over lanes: in the end all is made, in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use annals_core::{Delivery, DeliveryState, SelectDeliveries, Settled, Take};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::words::{again, dead, delivery, done, given_back, in_lane, take};
use crate::read_side::ReadSideBackend;
use crate::read_side::probe::{Probe, at, must};
use crate::storm::together;

const WORKERS: usize = 8;
const INBOXES: [&str; 2] = ["mail", "chat"];
const LANES: u64 = 8;
const EACH: u64 = 6;

/// The time that all workers share, and what they made, in order.
#[derive(Default)]
struct World {
    clock: AtomicU64,
    made: Mutex<Vec<Delivery>>,
}

pub(in crate::read_side) async fn deliveries_of_a_storm_are_made_in_order_and_end(
    backend: &dyn ReadSideBackend,
) {
    let side = Probe::open(backend).await;
    for inbox in INBOXES {
        let laned = (1..=LANES * EACH)
            .map(|position| in_lane(inbox, position, &format!("lane {}", position % LANES)));
        let free = (1_001..=1_000 + EACH).map(|position| delivery(inbox, position));
        side.put(laned.chain(free)).await;
    }
    let world = Arc::new(World::default());
    together(WORKERS, |number| worker(side.clone(), world.clone(), number as u64)).await;

    let all = side.listed(SelectDeliveries::all()).await;
    assert_eq!(all.len() as u64, 2 * (LANES + 1) * EACH);
    assert!(all.iter().all(|info| info.state == DeliveryState::Done), "all is made: {all:?}");
    let made = world.made.lock().expect("no worker panicked");
    let mut first = BTreeMap::new();
    for (number, delivery) in made.iter().enumerate() {
        first.entry(&delivery.id).or_insert((number, delivery));
    }
    assert_eq!(first.len(), all.len(), "all was made");
    let mut in_order: Vec<_> = first.into_values().collect();
    in_order.sort_by_key(|(number, _)| *number);
    let mut last = BTreeMap::new();
    for (_, delivery) in in_order {
        let Some(lane) = &delivery.lane else { continue };
        let before = last.insert((&delivery.inbox, lane), delivery.event.position);
        let rises = before.is_none_or(|before| before < delivery.event.position);
        assert!(rises, "{:?} was made behind {before:?} of its lane", delivery.id);
    }
}

async fn worker(side: Probe, world: Arc<World>, number: u64) {
    let mut random = SmallRng::seed_from_u64(number);
    loop {
        let now = world.clock.fetch_add(1, Ordering::Relaxed);
        let inbox = INBOXES[random.random_range(0..INBOXES.len())];
        let limit = random.random_range(1..6);
        let until = at(now + random.random_range(2..40));
        let taken = must("to take", (*side).take(Take { until, ..take(inbox, now, limit) })).await;
        let mut settled = Vec::new();
        for delivery in &taken {
            settled.extend(attempted(&world, &mut random, delivery, now));
            tokio::task::yield_now().await;
        }
        must("to settle", side.settle(settled, at(now))).await;
        if taken.is_empty() {
            must("to retry", side.retry(&SelectDeliveries::all(), at(now))).await;
            if must("figures", side.inboxes()).await.is_empty() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// What comes of an attempt; nothing if whoever made it dies.
fn attempted(
    world: &World,
    random: &mut SmallRng,
    delivery: &Delivery,
    now: u64,
) -> Option<Settled> {
    match random.random_range(0..20) {
        0 => None,
        1 | 2 => Some(again(delivery, now + random.random_range(0..20))),
        3 => Some(dead(delivery)),
        4 => Some(given_back(delivery, now)),
        fate => {
            world.made.lock().expect("no worker panicked").push(delivery.clone());
            // Some die between making it and saying so.
            (fate > 5).then(|| done(delivery))
        }
    }
}
