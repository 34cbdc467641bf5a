//! S5 under fire: writers that sleep before they commit, roll back, are cut off by the server or
//! killed, and commit in another order than they began in; and those who must see all of it.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use annals_core::{
    Append, AppendError, Data, EventId, EventStore, EventStoreExt, EventType, ExpectedVersion,
    NewEvent, Notice, Position, Query, QueryItem, Read, RecordedEvent, StreamId, Subscribe,
};
use annals_postgres::PostgresStore;
use annals_scratch::Database;
use futures_util::StreamExt;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use sqlx_core::connection::Connection;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::PgConnection;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const WRITERS: u64 = 16;
const PROCESSES: usize = 4;
const KILLED_PROCESSES: usize = 2;
const PATIENCE: Duration = Duration::from_secs(60);

/// Longer storms are for hands: `ANNALS_STORM_SECONDS=300 cargo test -p annals-postgres --release
/// --test postgres storm -- --nocapture`.
fn duration() -> Duration {
    let seconds = std::env::var("ANNALS_STORM_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(6))
}

fn append(writer: u64, random: &mut SmallRng) -> Append {
    let kind = EventType::from_static(["Red", "Green", "Blue"][random.random_range(0..3)]);
    let event = || NewEvent::new(kind.clone(), Data::json("{}"));
    let own = StreamId::of("own", writer).expect("a valid id");
    let shared = StreamId::of("shared", random.random_range(0..32)).expect("a valid id");
    let own_events: Vec<_> = (0..random.random_range(1..4)).map(|_| event()).collect();
    Append::to(own, ExpectedVersion::Any, own_events).and_to(
        shared,
        ExpectedVersion::Any,
        [event()],
    )
}

/// What the writers of this process know to be stored, and how often each end was met.
#[derive(Default)]
struct Tally {
    acknowledged: AtomicU64,
    rolled_back: AtomicU64,
    cut_off: AtomicU64,
    over: AtomicBool,
}

impl Tally {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// Appends through the store until the storm is over; ids of what was acknowledged.
async fn plain_writer(store: PostgresStore, writer: u64, tally: Arc<Tally>) -> Vec<EventId> {
    let mut random = SmallRng::seed_from_u64(writer);
    let mut ids = Vec::new();
    while !tally.is_over() {
        let append = append(writer, &mut random);
        // Whose outcome is unknown is repeated, as every careful caller does.
        while let Err(error) = store.append(append.clone()).await {
            let again =
                matches!(error, AppendError::Indeterminate(_) | AppendError::Unavailable(_));
            assert!(again, "{error:?}");
        }
        tally.acknowledged.fetch_add(1, Ordering::Relaxed);
        ids.extend(append.events().map(|event| event.id));
    }
    ids
}

/// Appends in transactions of its own that linger, and end in every possible way.
async fn application(
    store: PostgresStore,
    url: String,
    writer: u64,
    tally: Arc<Tally>,
) -> Vec<EventId> {
    let mut random = SmallRng::seed_from_u64(writer);
    let mut ids = Vec::new();
    let mut killer = PgConnection::connect(&url).await.expect("a connection");
    while !tally.is_over() {
        let mut connection = PgConnection::connect(&url).await.expect("a connection");
        let pid: i32 = query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut connection)
            .await
            .expect("a process id");
        for _ in 0..8 {
            let mut transaction = connection.begin().await.expect("a transaction");
            let first = append(writer, &mut random);
            // To streams it has already: two transactions that want each other's would end in a
            // deadlock, which the server finds only after a second.
            let second = Append {
                streams: vec![append(writer, &mut random).streams.remove(0)],
                ..Append::default()
            };
            let linger = Duration::from_millis(random.random_range(0..40));
            let end = random.random_range(0..10);
            store.append_in(&mut transaction, &first).await.expect("the first append");
            store.append_in(&mut transaction, &second).await.expect("the second append");
            sleep(linger).await;
            match end {
                0..=6 => {
                    transaction.commit().await.expect("a commit");
                    tally.acknowledged.fetch_add(2, Ordering::Relaxed);
                    ids.extend(first.events().chain(second.events()).map(|event| event.id));
                }
                7 | 8 => {
                    transaction.rollback().await.expect("a rollback");
                    tally.rolled_back.fetch_add(1, Ordering::Relaxed);
                }
                _ => {
                    query_scalar::<_, bool>("SELECT pg_terminate_backend($1)")
                        .bind(pid)
                        .fetch_one(&mut killer)
                        .await
                        .expect("the session is ended");
                    tally.cut_off.fetch_add(1, Ordering::Relaxed);
                    drop(transaction);
                    break;
                }
            }
        }
    }
    ids
}

/// Follows the log to the position that is told at the end.
async fn follower(
    store: PostgresStore,
    query: Query,
    after: Position,
    mut end: tokio::sync::watch::Receiver<Option<Position>>,
) -> Vec<RecordedEvent> {
    let mut seen = Vec::new();
    let mut notices = store.subscribe(Subscribe::query(query).after(after));
    let mut at = after;
    loop {
        if end.borrow_and_update().is_some_and(|end| at >= end) {
            return seen;
        }
        tokio::select! {
            notice = notices.next() => match notice.expect("subscriptions do not end") {
                Ok(Notice::Event(event)) => {
                    at = event.position;
                    seen.push(event);
                }
                Ok(Notice::CaughtUp(position)) => at = position,
                Err(error) => panic!("subscriptions survive: {error:?}"),
            },
            changed = end.changed() => changed.expect("the storm tells its end"),
        }
    }
}

/// The control: what everybody writes first, `WHERE position > last`.
async fn naive_poller(url: String, tally: Arc<Tally>) -> Vec<i64> {
    let mut connection = PgConnection::connect(&url).await.expect("a connection");
    let mut seen = Vec::new();
    while !tally.is_over() {
        let last = seen.last().copied().unwrap_or(0);
        let select = "SELECT position FROM annals.events WHERE position > $1 ORDER BY position";
        let more: Vec<i64> =
            query_scalar(select).bind(last).fetch_all(&mut connection).await.expect("positions");
        seen.extend(more);
        sleep(Duration::from_millis(1)).await;
    }
    seen
}

/// A process that appends until it is killed; see [`client_process`].
fn start_client(url: &str, number: usize) -> Child {
    Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["--exact", "storm::client_process", "--nocapture"])
        .env("ANNALS_STORM_CLIENT", format!("{number} {url}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("another process of this program")
}

/// Not a test by itself: what the storm starts as processes of their own, to kill them.
#[tokio::test(flavor = "multi_thread")]
async fn client_process() {
    let Ok(client) = std::env::var("ANNALS_STORM_CLIENT") else { return };
    let (number, url) = client.split_once(' ').expect("a number and a URL");
    let number: u64 = number.parse().expect("a number");
    let store = PostgresStore::connect(url).await.expect("the store opens");
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let (writer, tally) = (1_000 + number * 10 + writer, Arc::default());
        writers.spawn(plain_writer(store.clone(), writer, Arc::clone(&tally)));
        writers.spawn(application(store.clone(), url.to_owned(), writer, tally));
    }
    writers.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_writers_hides_no_event_from_anybody() {
    let database = Database::create().await;
    let url = database.url().to_owned();
    let mut stores = Vec::new();
    for _ in 0..PROCESSES {
        stores.push(PostgresStore::connect(&url).await.unwrap());
    }
    let tally = Arc::new(Tally::default());
    let (tell_end, end) = tokio::sync::watch::channel(None);

    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = stores[usize::try_from(writer).unwrap() % PROCESSES].clone();
        let tally = Arc::clone(&tally);
        match writer % 2 {
            0 => writers.spawn(plain_writer(store, writer, tally)),
            _ => writers.spawn(application(store, url.clone(), writer, tally)),
        };
    }
    let shared = QueryItem::new().category(annals_core::Category::from_static("shared"));
    let queries = [
        Query::all(),
        Query::of(QueryItem::new().event_type(EventType::from_static("Red"))),
        Query::of(shared).or(QueryItem::new().stream(StreamId::from_static("own-1"))),
        Query::stream(StreamId::from_static("shared-1")),
    ];
    let mut followers = JoinSet::new();
    for (number, query) in queries.iter().enumerate() {
        let store = stores[number % PROCESSES].clone();
        let (query, end) = (query.clone(), end.clone());
        followers.spawn(async move {
            let seen = follower(store, query.clone(), Position::START, end).await;
            (query, Position::START, seen)
        });
    }
    let naive = tokio::spawn(naive_poller(url.clone(), Arc::clone(&tally)));

    let until = Instant::now() + duration();
    let mut joined = 0;
    while Instant::now() < until {
        // Processes come and are killed, and followers keep joining where the log is.
        let mut clients: Vec<_> = (0..KILLED_PROCESSES).map(|n| start_client(&url, n)).collect();
        sleep(Duration::from_millis(1_500)).await;
        let (store, query) = (stores[joined % PROCESSES].clone(), queries[joined % 4].clone());
        let (after, end) = (store.head().await.unwrap(), end.clone());
        followers.spawn(async move {
            let seen = follower(store, query.clone(), after, end).await;
            (query, after, seen)
        });
        joined += 1;
        for client in &mut clients {
            client.kill().unwrap();
            client.wait().unwrap();
        }
    }
    tally.over.store(true, Ordering::SeqCst);
    let acknowledged: Vec<EventId> = writers.join_all().await.concat();
    let naive = naive.await.unwrap();
    // The sessions of the killed processes may still be about to end.
    let log = settled(&stores[0]).await;
    tell_end.send_replace(Some(log.last().unwrap().position));

    let followed = timeout(PATIENCE, followers.join_all()).await.expect("followers arrive in time");
    for (query, after, seen) in &followed {
        let expected: Vec<_> =
            log.iter().filter(|e| e.position > *after && query.matches(e)).map(place).collect();
        let seen: Vec<_> = seen.iter().map(place).collect();
        assert_eq!(seen, expected, "what a follower of {query:?} after {after} saw");
    }
    let stored: std::collections::HashSet<_> = log.iter().map(|event| event.id).collect();
    assert!(acknowledged.iter().all(|id| stored.contains(id)), "all that is acknowledged is there");
    versions_are_dense(&log);
    let missed = missed_by(&naive, &log);
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    eprintln!(
        "{} events in {:?}; {} appends acknowledged, {} transactions rolled back, {} cut off; \
         {} followers missed nothing; the naive poller missed {missed} of {} events",
        log.len(),
        duration(),
        count(&tally.acknowledged),
        count(&tally.rolled_back),
        count(&tally.cut_off),
        followed.len(),
        naive.len() + missed,
    );
    assert!(missed > 0, "a storm that even the naive poller survives shows nothing");
    assert!(count(&tally.rolled_back) > 0 && count(&tally.cut_off) > 0);
}

/// The whole log, once nothing is under way any more.
async fn settled(store: &PostgresStore) -> Vec<RecordedEvent> {
    let settled = async {
        while !store.watermark().await.expect("the watermark is read").blockers.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, settled).await.expect("transactions end in time");
    store.read_to_end(Read::all()).await.expect("the log is read")
}

fn place(event: &RecordedEvent) -> (Position, EventId) {
    (event.position, event.id)
}

fn versions_are_dense(log: &[RecordedEvent]) {
    let mut versions = BTreeMap::<_, u64>::new();
    for event in log {
        let version = versions.entry(&event.stream).or_default();
        *version += 1;
        assert_eq!(event.version.get(), *version, "{} at {}", event.stream, event.position);
    }
}

/// How many events up to the last one the naive poller saw it did not see.
fn missed_by(naive: &[i64], log: &[RecordedEvent]) -> usize {
    let seen: std::collections::HashSet<_> = naive.iter().map(|at| at.unsigned_abs()).collect();
    let last = naive.last().map_or(0, |at| at.unsigned_abs());
    log.iter().map(|e| e.position.get()).filter(|at| *at <= last && !seen.contains(at)).count()
}
