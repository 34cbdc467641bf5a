//! Many tasks decide at once on what the others change: no course is overbooked, no student has
//! too many courses, and every success is in the log once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals::{
    Annals, Append, AppendError, Event, EventStore, EventStoreExt, EventStream, ExecuteError,
    Limits, MemoryStore, Position, Read, ReadError, Receipt, RetryPolicy, Subscribe, Subscription,
};
use async_trait::async_trait;
use tokio::task::JoinSet;

use crate::courses::{COURSES_MAX, CourseEvent, Refusal, define, subscribe};

const TASKS: u32 = 64;
const COURSES: u32 = 5;
const STUDENTS: u32 = 7;
const PLACES: u32 = 4;

/// Each of 64 tasks lets one of seven students try one of five courses with four places each, and
/// then the next: 35 wishes, each wished by several, for 20 places, of which each student may
/// have three.
async fn overbook(store: impl EventStore + 'static) {
    let patient = RetryPolicy::default().attempts_max(200);
    let conflicts = Arc::new(AtomicU64::new(0));
    let store = Dawdling { store, conflicts: Arc::clone(&conflicts) };
    let school = Annals::new(store).with_retry(patient);
    for course in 0..COURSES {
        school.decide(define(&format!("c{course}"), PLACES)).await.unwrap();
    }
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let school = school.clone();
        tasks.spawn(async move {
            let mut won = Vec::new();
            for course in [task % COURSES, (task + 1) % COURSES] {
                let wish = subscribe(&format!("s{}", task % STUDENTS), &format!("c{course}"));
                match school.decide(wish.clone()).await {
                    Ok(_) => won.push((wish.student, wish.course)),
                    Err(ExecuteError::Refused(Refusal::Unknown | Refusal::Gone)) => {
                        panic!("refused for no reason: {wish:?}")
                    }
                    Err(ExecuteError::Refused(_)) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            won
        });
    }
    let mut won = tasks.join_all().await.concat();
    won.sort_unstable();

    let (mut recorded, mut of_course, mut of_student) =
        (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for stored in school.store().read_to_end(Read::all()).await.unwrap() {
        for event in CourseEvent::decode(&stored).unwrap() {
            if let CourseEvent::StudentSubscribed { student, course } = event {
                *of_course.entry(course.clone()).or_insert(0) += 1;
                *of_student.entry(student.clone()).or_insert(0) += 1;
                recorded.push((student, course));
            }
        }
    }
    recorded.sort_unstable();
    assert_eq!(recorded, won, "what is in the log and what the tasks were told");
    let mut once = recorded.clone();
    once.dedup();
    assert_eq!(once, recorded, "nobody is subscribed twice");
    assert!(of_course.values().all(|taken| *taken <= PLACES), "{of_course:?}");
    assert!(of_student.values().all(|taken| *taken <= COURSES_MAX), "{of_student:?}");
    // Somebody else was faster at times, or the test shows nothing.
    assert!(conflicts.load(Ordering::Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_in_memory() {
    overbook(MemoryStore::new()).await;
}

/// A store that lets others go first, so that what was read is old when it is decided on, and
/// counts how often that led to a conflict.
#[derive(Debug)]
struct Dawdling<S> {
    store: S,
    conflicts: Arc<AtomicU64>,
}

#[async_trait]
impl<S: EventStore> EventStore for Dawdling<S> {
    fn limits(&self) -> &Limits {
        self.store.limits()
    }

    async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        let outcome = self.store.append(append).await;
        if let Err(AppendError::Conflict(_)) = &outcome {
            self.conflicts.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    fn read(&self, read: Read) -> EventStream {
        self.store.read(read)
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        self.store.subscribe(subscribe)
    }

    async fn head(&self) -> Result<Position, ReadError> {
        self.store.head().await
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("school.db");
    overbook(annals::SqliteStore::open(path).unwrap()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_in_a_database() {
    let database = annals_scratch::Database::create().await;
    overbook(annals::PostgresStore::connect(database.url()).await.unwrap()).await;
}
