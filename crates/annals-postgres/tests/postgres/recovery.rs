//! Servers that stop, crash, pause and come back, and those who were in the middle of something.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_core::{
    Append, AppendError, Data, EventId, EventStore, EventStoreExt, EventType, ExpectedVersion,
    NewEvent, Notice, Read, StreamId, Subscribe, Subscription,
};
use annals_postgres::PostgresStore;
use annals_scratch::{Cluster, Mode};
use futures_util::{FutureExt, StreamExt};
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);

fn append(writer: u32) -> Append {
    let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    let stream = StreamId::of("a", writer).expect("a stream id");
    Append::to(stream, ExpectedVersion::Any, [event])
}

async fn next_event(notices: &mut Subscription) -> EventId {
    loop {
        let notice = timeout(PATIENCE, notices.next()).await.expect("notices arrive in time");
        if let Notice::Event(event) = notice.expect("it goes on").expect("no failure is told") {
            return event.id;
        }
    }
}

/// Appends, repeating what is unknown or not possible just now, until it is told to stop.
async fn writer(store: PostgresStore, number: u32, over: Arc<AtomicBool>) -> Vec<EventId> {
    let mut ids = Vec::new();
    while !over.load(Ordering::SeqCst) {
        let append = append(number);
        loop {
            match store.append(append.clone()).await {
                Ok(_) => break,
                Err(AppendError::Indeterminate(_) | AppendError::Unavailable(_)) => {
                    sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("an outage is no {error:?}"),
            }
        }
        ids.extend(append.events().map(|event| event.id));
    }
    ids
}

/// Under load the server crashes, stops and pauses; what was acknowledged is there, once, and a
/// subscription from before sees all of it in order.
#[tokio::test(flavor = "multi_thread")]
async fn outages_lose_nothing_and_repeat_nothing() {
    let cluster = Cluster::start(&[]).await.unwrap();
    let store = PostgresStore::connect(&cluster.url("postgres")).await.unwrap();
    let mut notices = store.subscribe(Subscribe::all());
    assert!(matches!(notices.next().await, Some(Ok(Notice::CaughtUp(_)))));
    let over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|number| tokio::spawn(writer(store.clone(), number, Arc::clone(&over))))
        .collect();

    let mut seen = Vec::new();
    for outage in 0..3 {
        for _ in 0..20 {
            seen.push(next_event(&mut notices).await);
        }
        match outage {
            0 => cluster.stop(Mode::Immediate).unwrap(),
            1 => cluster.stop(Mode::Fast).unwrap(),
            _ => cluster.pause().unwrap(),
        }
        sleep(Duration::from_millis(300)).await;
        if outage < 2 {
            cluster.start_again().unwrap();
        } else {
            cluster.resume().unwrap();
        }
    }
    for _ in 0..20 {
        seen.push(next_event(&mut notices).await);
    }
    over.store(true, Ordering::SeqCst);
    let mut acknowledged = HashSet::new();
    for writer in writers {
        acknowledged.extend(timeout(PATIENCE, writer).await.expect("writers end").unwrap());
    }
    let log = store.read_to_end(Read::all()).await.unwrap();
    let stored: Vec<EventId> = log.iter().map(|event| event.id).collect();
    assert_eq!(stored.iter().copied().collect::<HashSet<_>>(), acknowledged);
    assert_eq!(stored.len(), acknowledged.len(), "nothing is stored twice");
    while seen.len() < stored.len() {
        seen.push(next_event(&mut notices).await);
    }
    assert_eq!(seen, stored, "the subscription saw the log");
}

/// A caller that goes away leaves nothing half done, and its append can be repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_may_ask_again() {
    let database = annals_scratch::Database::create().await;
    let store = PostgresStore::connect(database.url()).await.unwrap();
    for number in 0..20 {
        let append = append(number);
        // Given up at a random moment: after so many polls.
        let mut future = Box::pin(store.append(append.clone()));
        for _ in 0..number % 3 {
            let _ = (&mut future).now_or_never();
            tokio::task::yield_now().await;
        }
        drop(future);
        let receipt = store.append(append.clone()).await.unwrap();
        assert_eq!(store.append(append).await.unwrap(), receipt);
    }
    assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), 20);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let cluster = Cluster::start(&[]).await.unwrap();
    let store = PostgresStore::connect(&cluster.url("postgres")).await.unwrap();
    store.append(append(1)).await.unwrap();
    cluster.stop(Mode::Fast).unwrap();
    // The connection at hand is found broken, and then there is no other.
    let options = PostgresStore::options().patience(Duration::from_millis(100));
    assert!(options.connect(&cluster.url("postgres")).await.is_err());
    let error = store.read_to_end(Read::all()).await.unwrap_err();
    assert!(matches!(error, annals_core::ReadError::Unavailable(_)), "{error:?}");
    cluster.start_again().unwrap();
    assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), 1);
}

/// The log is read from a replica, which has what the primary had when the read began.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_answers_as_the_primary_would() {
    let cluster = Cluster::start(&[]).await.unwrap();
    let replica = cluster.replica().await.unwrap();
    let url = replica.url("postgres");
    let pool = sqlx_postgres::PgPool::connect_lazy(&url).unwrap();
    let options = PostgresStore::options().replica(pool);
    let store = options.connect(&cluster.url("postgres")).await.unwrap();
    let mut notices = store.subscribe(Subscribe::all());
    for number in 0..30 {
        let append = append(number % 3);
        store.append(append.clone()).await.unwrap();
        let log = store.read_to_end(Read::all()).await.unwrap();
        assert_eq!(log.len(), usize::try_from(number).unwrap() + 1, "one's own write is there");
        assert_eq!(next_event(&mut notices).await, append.streams[0].events[0].id);
    }
    // A store cannot be opened on the replica itself.
    let error = PostgresStore::connect(&url).await.unwrap_err();
    assert!(error.to_string().contains("primary"), "{error}");
}
