//! Faults outside of reactors: a log whose code panics, or whose bytes are damaged.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals::{
    Append, AppendError, DeliveryState, EventStore, EventStream, Fault, Inbox, Limits, Position,
    Read, ReadError, Receipt, RunningInboxes, SelectDeliveries, Subscribe, Subscription,
};
use async_trait::async_trait;
use futures_util::stream;

use crate::inbox::world::{Witness, World, idle, until};

on_every_read_side!(
    a_reader_that_panics_begins_anew_and_disturbs_no_attempt,
    a_panic_while_an_event_is_looked_for_is_that_of_one_attempt,
    a_log_that_is_away_costs_no_attempt,
    an_event_that_can_never_be_read_makes_a_dead_letter,
);

/// A log around another one, which is not always well.
#[derive(Debug)]
struct Moody {
    inner: Arc<dyn EventStore>,
    /// How often subscribing panics from now on.
    subscribing_panics: AtomicUsize,
    reading: Mutex<Reading>,
    asked_in_vain: AtomicUsize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Reading {
    Works,
    Panics,
    Away,
    Corrupt,
}

impl Moody {
    fn around(world: &mut World) -> Arc<Self> {
        let moody = Arc::new(Self {
            inner: Arc::clone(&world.log),
            subscribing_panics: AtomicUsize::new(0),
            reading: Mutex::new(Reading::Works),
            asked_in_vain: AtomicUsize::new(0),
        });
        world.log = moody.clone();
        moody
    }

    fn reads(&self, reading: Reading) {
        *self.reading.lock().unwrap() = reading;
    }
}

#[async_trait]
impl EventStore for Moody {
    async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        self.inner.append(append).await
    }

    fn read(&self, read: Read) -> EventStream {
        let reading = *self.reading.lock().unwrap();
        let in_vain = usize::from(reading != Reading::Works);
        self.asked_in_vain.fetch_add(in_vain, Ordering::SeqCst);
        let failing = |error| -> EventStream { Box::pin(stream::iter([Err(error)])) };
        match reading {
            Reading::Works => self.inner.read(read),
            Reading::Panics => panic!("nobody thought of that"),
            Reading::Away => failing(ReadError::Unavailable(Fault::new("the line is dead"))),
            Reading::Corrupt => failing(ReadError::Corrupt(Fault::new("no number"))),
        }
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        let panics = |left: usize| left.checked_sub(1);
        let left = self.subscribing_panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, panics);
        assert!(left.is_err(), "nobody thought of this");
        self.inner.subscribe(subscribe)
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.inner.head().await
    }

    fn limits(&self) -> &Limits {
        self.inner.limits()
    }
}

async fn a_reader_that_panics_begins_anew_and_disturbs_no_attempt(mut world: World) {
    let moody = Moody::around(&mut world);
    let [slow, late] = [Witness::new().taking(Duration::from_millis(500)), Witness::new()];
    let goes = Inbox::new("goes", Witness::new());
    let inboxes = world.start([Inbox::new("slow", slow.clone()), goes]).await;
    world.append("issue-1", &["Opened"]).await;
    until("it is being made", || slow.count() == 1).await;
    let panics_twice = || moody.subscribing_panics.store(2, Ordering::SeqCst);
    let has_panicked = || moody.subscribing_panics.load(Ordering::SeqCst) == 0;
    // Whoever goes makes those that stay subscribe anew …
    panics_twice();
    assert!(inboxes.remove(&"goes".parse().unwrap()).await);
    until("it has panicked", has_panicked).await;
    // … and whoever comes reads alone at first.
    panics_twice();
    inboxes.add(Inbox::new("late", late.clone())).await.unwrap();
    until("it has panicked", has_panicked).await;
    world.append("issue-2", &["Opened"]).await;
    idle(&inboxes).await;
    // An attempt that was given up would have been made twice.
    assert_eq!(slow.sorted(), ["issue-1@1 Opened", "issue-2@1 Opened"]);
    assert_eq!(late.sorted(), ["issue-1@1 Opened", "issue-2@1 Opened"]);
    let all = inboxes.deliveries(SelectDeliveries::all(), 9).await.unwrap();
    assert!(all.iter().all(|one| (one.state, one.attempts) == (DeliveryState::Done, 1)), "{all:?}");
}

/// An inbox that is fed an event of which nobody here knows anything yet, while the log is in a
/// mood.
async fn fed(world: &World, moody: &Moody, reading: Reading, witness: &Witness) -> RunningInboxes {
    world.append("issue-1", &["Opened"]).await;
    let delivery = world.delivery_of_last("email").await;
    moody.reads(reading);
    let inboxes = world.start([Inbox::new("email", witness.clone()).fed()]).await;
    inboxes.enqueue(vec![delivery]).await.unwrap();
    inboxes
}

async fn a_panic_while_an_event_is_looked_for_is_that_of_one_attempt(mut world: World) {
    let (moody, witness) = (Moody::around(&mut world), Witness::new());
    let inboxes = fed(&world, &moody, Reading::Panics, &witness).await;
    idle(&inboxes).await;
    let all = inboxes.deliveries(SelectDeliveries::all(), 9).await.unwrap();
    assert_eq!((all[0].state, all[0].attempts), (DeliveryState::Waiting, 1), "{all:?}");
    let error = all[0].last_error.as_deref().unwrap();
    assert_eq!(error, "the attempt panicked: nobody thought of that");
    moody.reads(Reading::Works);
    world.pass(Duration::from_secs(1));
    until("it is made", || witness.count() == 1).await;
}

async fn a_log_that_is_away_costs_no_attempt(mut world: World) {
    let (moody, witness) = (Moody::around(&mut world), Witness::new());
    let inboxes = fed(&world, &moody, Reading::Away, &witness).await;
    idle(&inboxes).await;
    let asked = || moody.asked_in_vain.load(Ordering::SeqCst);
    assert_eq!(asked(), 1);
    world.pass(Duration::from_millis(10));
    until("it is asked again", || asked() == 2).await;
    idle(&inboxes).await;
    moody.reads(Reading::Works);
    world.pass(Duration::from_millis(10));
    until("it is made", || witness.count() == 1).await;
    assert_eq!(witness.seen()[0].attempt, 1);
}

async fn an_event_that_can_never_be_read_makes_a_dead_letter(mut world: World) {
    let (moody, witness) = (Moody::around(&mut world), Witness::new());
    let inboxes = fed(&world, &moody, Reading::Corrupt, &witness).await;
    idle(&inboxes).await;
    let dead = inboxes.dead_letters(SelectDeliveries::all(), 9).await.unwrap();
    let error = dead[0].last_error.as_deref().unwrap();
    assert!(error.contains("the store is damaged") && error.contains("no number"), "{error}");
    moody.reads(Reading::Works);
    inboxes.retry(SelectDeliveries::all()).await.unwrap();
    until("it is made", || witness.count() == 1).await;
}
