//! What is particular to the read side on SQLite: that it is in a file, and who else uses that.

use std::path::PathBuf;
use std::time::Duration;

use annals_core::{
    Advance, CheckpointStore, Claim, Data, Delivery, DeliveryId, DeliveryQueue, Enqueue, Enrol,
    EventId, EventRef, EventStoreExt, EventType, ExpectedVersion, Generation, Lease, NewDelivery,
    NewEvent, OnNewVersion, Position, ReadSideError, RowChange, RowStore, Settled, StreamId,
    SubscriberName, SubscriberState, Take, Then, Timestamp, Version,
};
use annals_sqlite::{Check, OpenError, SqliteReadSide, SqliteStore};
use rusqlite::{Connection, TransactionBehavior};

const NOW: Timestamp = Timestamp::EPOCH;

fn later(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

static NAME: std::sync::LazyLock<SubscriberName> = std::sync::LazyLock::new(|| name("balances"));

fn name(name: &'static str) -> SubscriberName {
    SubscriberName::from_static(name)
}

async fn enrol(read_side: &SqliteReadSide, subscriber: &'static str) {
    let enrol = Enrol {
        subscriber: name(subscriber),
        version: 1,
        partitions: 1,
        after: Position::START,
        on_new_version: OnNewVersion::Refuse,
        now: NOW,
    };
    read_side.enrol(enrol).await.expect("a subscriber enrols");
}

async fn claim(read_side: &SqliteReadSide, subscriber: &'static str, owner: &str) -> Option<Lease> {
    let claim = Claim {
        subscriber: name(subscriber),
        generation: Generation::FIRST,
        partition: 0,
        owner: owner.into(),
        now: NOW,
        until: later(1),
    };
    read_side.claim(claim).await.expect("the read side answers")
}

fn advance(lease: &Lease, to: u64) -> Advance {
    let (to, parked) = (Position::new(to), Vec::new());
    Advance { lease: lease.clone(), to, events: 1, parked, now: NOW }
}

fn put(key: &str, value: &str) -> RowChange {
    RowChange { key: key.into(), value: Some(value.to_owned().into()) }
}

fn delivery(number: u64, lane: Option<&str>) -> NewDelivery {
    let (inbox, id) = (name("email"), EventId::from_bytes(u128::from(number).to_be_bytes()));
    NewDelivery {
        id: DeliveryId::new(&inbox, id, None),
        inbox,
        event: EventRef {
            id,
            position: Position::new(number),
            stream: StreamId::from_static("a-1"),
            version: Version::new(number),
            event_type: EventType::from_static("Happened"),
        },
        recipient: None,
        lane: lane.map(str::to_owned),
        due_at: NOW,
    }
}

async fn enqueue(read_side: &SqliteReadSide, deliveries: Vec<NewDelivery>) {
    let enqueue = Enqueue { deliveries, advances: Vec::new() };
    read_side.enqueue(enqueue, NOW).await.expect("deliveries are enqueued");
}

async fn take(read_side: &SqliteReadSide, limit: usize) -> Vec<Delivery> {
    let take = Take { inbox: name("email"), limit, now: NOW, until: later(1_000) };
    read_side.take(take).await.expect("deliveries are taken")
}

fn done(delivery: &Delivery) -> Settled {
    let (id, token) = (delivery.id.clone(), delivery.token);
    Settled { id, token, attempt: None, then: Then::Done }
}

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory for the file") }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("derived.db")
    }

    fn open(&self) -> SqliteReadSide {
        SqliteReadSide::open(self.path()).expect("the read side opens")
    }
}

/// Goal: each delivery is taken once, and those of a lane one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn two_read_sides_on_one_file_share_a_queue() {
    let place = Place::new();
    let sides = [place.open(), place.open()];
    let lanes = ["x", "y", "z"];
    let deliveries =
        (1..=90).zip(lanes.iter().cycle()).map(|(number, lane)| delivery(number, Some(lane)));
    enqueue(&sides[0], deliveries.collect()).await;

    let takers = sides.map(|read_side| {
        tokio::spawn(async move {
            let mut taken = Vec::new();
            while read_side.inboxes().await.unwrap().iter().any(|info| info.waiting > 0) {
                let now = take(&read_side, 2).await;
                read_side.settle(now.iter().map(done).collect(), NOW).await.unwrap();
                taken.extend(now);
            }
            taken
        })
    });
    let mut numbers = Vec::new();
    for taker in takers {
        let taken = taker.await.unwrap();
        for lane in lanes {
            let positions = taken.iter().filter(|one| one.lane.as_deref() == Some(lane));
            assert!(positions.map(|one| one.event.position).is_sorted(), "lane {lane}");
        }
        numbers.extend(taken.iter().map(|one| one.event.position.get()));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=90).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_read_side_may_be_in_the_file_of_the_log() {
    let place = Place::new();
    let read_side = place.open();
    let store = SqliteStore::open(place.path()).unwrap();
    let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    let stream = StreamId::from_static("a-1");
    store.append_to(stream, ExpectedVersion::NoStream, [event]).await.unwrap();
    enrol(&read_side, "balances").await;
    let lease = claim(&read_side, "balances", "somebody").await.unwrap();
    read_side.commit_rows(vec![put("key", "1")], &advance(&lease, 1)).await.unwrap();
    drop((store, read_side));

    SqliteStore::options().check(Check::Full).open(place.path()).unwrap();
    let row = place.open().row(&name("balances"), &"key".into()).await.unwrap();
    assert_eq!(row.unwrap().value, "1");
    let connection = Connection::open(place.path()).unwrap();
    let seen: String = connection
        .query_row(
            "SELECT value FROM annals_active_rows WHERE subscriber = 'balances'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(seen, "1", "people see it with their own statements");
}

#[tokio::test]
async fn writing_waits_for_another_process_but_not_for_ever() {
    let place = Place::new();
    let options = SqliteReadSide::options().busy_timeout(Duration::from_millis(20));
    let read_side = options.open(place.path()).unwrap();
    enrol(&read_side, "balances").await;
    let mut other = Connection::open(place.path()).unwrap();
    let lock = other.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let set = || read_side.set_state(&NAME, SubscriberState::Paused);
    let error = set().await.unwrap_err();
    assert!(matches!(error, ReadSideError::Unavailable(_)), "{error:?}");
    lock.rollback().unwrap();
    set().await.unwrap();

    // One that is patient gets through as soon as the other is done, whenever that is.
    let patient = place.open();
    let lock = other.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let unlock = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        lock.rollback().unwrap();
    };
    let (done, ()) = tokio::join!(patient.set_state(&NAME, SubscriberState::Running), unlock);
    done.unwrap();
}

#[tokio::test]
async fn what_is_asked_before_closing_is_done_and_what_comes_later_is_told() {
    let place = Place::new();
    let read_side = place.open();
    enrol(&read_side, "balances").await;
    read_side.close().await;
    let error = read_side.set_state(&NAME, SubscriberState::Paused).await.unwrap_err();
    assert!(matches!(error, ReadSideError::Closed), "{error:?}");
    assert!(read_side.subscriber(&NAME).await.unwrap().is_some(), "it can still be read");
}

#[test]
fn a_newer_schema_is_refused() {
    let place = Place::new();
    drop(place.open());
    let connection = Connection::open(place.path()).unwrap();
    connection.execute("UPDATE annals_read_side_schema SET version = 99", []).unwrap();
    let error = SqliteReadSide::open(place.path()).unwrap_err();
    assert!(matches!(error, OpenError::TooNew { found: 99, .. }), "{error:?}");
}
