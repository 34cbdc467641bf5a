//! Recording without aggregates: context, throttling, what changed, and status.

use std::sync::Arc;
use std::time::Duration;

use annals::{
    Annals, Changed, Context, EventStore, EventStoreExt, ExecuteError, ExpectedVersion,
    ManualClock, MemoryStore, Read, RecordError, Recordable, Recording, RetryPolicy, StateMachine,
    StreamId, Timestamp,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;

use crate::account::AccountEvent;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Status {
    Open,
    InProgress,
    Resolved,
    Closed,
}

impl StateMachine for Status {
    const INITIAL: Self = Self::Open;
    const EVENT: &'static str = "StatusChanged";

    fn next(self) -> &'static [Self] {
        match self {
            Self::Open => &[Self::InProgress],
            Self::InProgress => &[Self::Resolved],
            Self::Resolved => &[Self::Closed, Self::Open],
            Self::Closed => &[],
        }
    }
}

fn viewed() -> AccountEvent {
    AccountEvent::OwnerRenamed { owner: "whoever".into() }
}

fn moment(text: &str) -> Timestamp {
    text.parse().expect("a moment")
}

#[tokio::test]
async fn an_event_is_recorded_with_all_that_is_said_of_it() {
    let store = MemoryStore::new();
    let annals = Annals::new(store.clone());
    let around = Context::new().request_id("r-7").actor("somebody");
    around
        .scope(async {
            let event = AccountEvent::MoneyDeposited { amount: 5 };
            let record = annals.record(event).on("account-1").by("ada").because("refund");
            let record = record.tagged("branch:7").at(moment("2020-01-01T00:00:00Z"));
            let recording = record.expecting(ExpectedVersion::NoStream).await.unwrap();
            assert_eq!(recording.receipt().unwrap().streams[0].version.get(), 1);
        })
        .await;
    let event = store.read_to_end(Read::all()).await.unwrap().remove(0);
    assert_eq!(event.tags.iter().collect::<Vec<_>>(), ["branch:7"]);
    assert_eq!(event.occurred_at, moment("2020-01-01T00:00:00Z"));
    let said = ["actor", "reason", "request_id"].map(|key| event.metadata.get(key).unwrap());
    assert_eq!(said, [json!("ada"), json!("refund"), json!("r-7")]);
}

#[tokio::test]
async fn what_cannot_be_recorded_says_why() {
    let annals = Annals::new(MemoryStore::new());
    let event = || AccountEvent::MoneyDeposited { amount: 5 };
    let code = |error: RecordError| error.code();
    assert_eq!(code(annals.record(event()).on("").await.unwrap_err()), "invalid");
    let tagged = annals.record(event()).on("account-1").tagged("plain");
    assert_eq!(code(tagged.await.unwrap_err()), "invalid");
    let throttled = annals.record(event()).on("account-1").throttle(Duration::ZERO, "plain");
    assert_eq!(code(throttled.await.unwrap_err()), "invalid");
    let missing = annals.record(event()).on("account-1").expecting(ExpectedVersion::StreamExists);
    assert_eq!(code(missing.await.unwrap_err()), "conflict");
}

#[tokio::test]
async fn what_could_not_be_read_again_is_not_recorded() {
    #[derive(annals::Event)]
    enum Measured {
        Measured { celsius: f64 },
    }
    let annals = Annals::new(MemoryStore::new());
    let error = annals.record(Measured::Measured { celsius: f64::NAN }).on("oven-1").await;
    assert!(matches!(error, Err(ExecuteError::Encode(_))), "{error:?}");
}

#[tokio::test]
async fn an_append_of_the_application_is_recognised_by_its_id_as_well() {
    let store = MemoryStore::new();
    let annals = Annals::new(store.clone());
    let record = || annals.record(viewed()).on("issue-7").id("r-1").by("ada");
    let append = record().append().unwrap();
    store.append(append).await.unwrap();
    let recording = record().await.unwrap();
    assert!(recording.receipt().is_some());
    assert!(store.append(record().append().unwrap()).await.is_err());
    assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_equal_event_is_recorded_once_within_the_time() {
    let clock = Arc::new(ManualClock::at(moment("2026-03-01T12:00:00Z")));
    let store = MemoryStore::with(clock.clone(), annals::Limits::DEFAULT);
    let annals = Annals::new(store.clone()).with_clock(Arc::clone(&clock));
    let view = |by: &str| {
        let record = annals.record(viewed()).on("issue-7").by(by);
        record.throttle(Duration::from_secs(300), format!("viewer:{by}"))
    };
    let Recording::Recorded(first) = view("ada").await.unwrap() else { panic!("throttled") };
    let Recording::Throttled(last) = view("ada").await.unwrap() else { panic!("recorded") };
    assert_eq!(last.position, first.first_position);
    // Another key, stream or type is another matter.
    assert!(view("bob").await.unwrap().receipt().is_some());
    let elsewhere = annals.record(viewed()).on("issue-8");
    let elsewhere = elsewhere.throttle(Duration::from_secs(300), "viewer:ada").await.unwrap();
    assert!(elsewhere.receipt().is_some());
    let other = annals.record(AccountEvent::MoneyDeposited { amount: 1 }).on("issue-7");
    let other = other.throttle(Duration::from_secs(300), "viewer:ada").await.unwrap();
    assert!(other.receipt().is_some());

    clock.set(moment("2026-03-01T12:04:59.999999Z"));
    assert!(view("ada").await.unwrap().receipt().is_none());
    clock.set(moment("2026-03-01T12:05:00Z"));
    assert!(view("ada").await.unwrap().receipt().is_some());
    // A clock that went back does not make it old.
    clock.set(moment("2026-03-01T12:00:00Z"));
    assert!(view("ada").await.unwrap().receipt().is_none());
}

/// However many try at once, one of each key is recorded.
async fn throttle_storm(store: impl EventStore + 'static) {
    let patient = RetryPolicy::default().attempts_max(100);
    let annals = Annals::new(store).with_retry(patient);
    let mut tasks = JoinSet::new();
    for n in 0..64 {
        let annals = annals.clone();
        tasks.spawn(async move {
            let record = annals.record(viewed()).on("issue-7");
            let key = format!("viewer:{}", n % 4);
            let recording = record.throttle(Duration::from_secs(300), key).await.expect("it can");
            usize::from(recording.receipt().is_some())
        });
    }
    let recorded: usize = tasks.join_all().await.into_iter().sum();
    assert_eq!(recorded, 4);
    let log = annals.store().read_to_end(Read::all()).await.expect("it reads");
    assert_eq!(log.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_throttle_holds_when_many_try_at_once_in_memory() {
    throttle_storm(MemoryStore::new()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_throttle_holds_when_many_try_at_once_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    throttle_storm(annals::SqliteStore::open(directory.path().join("log.db")).unwrap()).await;
}

#[tokio::test]
async fn a_status_changes_only_along_the_ways_that_are_allowed() {
    let store = MemoryStore::new();
    let annals = Annals::new(store.clone());
    let refused = annals.transit("issue-7", Status::Resolved).await.unwrap_err();
    assert!(matches!(refused, ExecuteError::Refused(_)), "{refused:?}");
    assert_eq!(refused.to_string(), "Open cannot become Resolved; it can become InProgress");
    annals.transit("issue-7", Status::InProgress).by("ada").await.unwrap();
    let resolved = annals.transit("issue-7", Status::Resolved).because("it works");
    let annals::Transited { transition, receipt, .. } = resolved.await.unwrap();
    assert_eq!((transition.from, transition.to), (Status::InProgress, Status::Resolved));
    assert_eq!(receipt.streams[0].version.get(), 2);
    annals.transit("issue-7", Status::Closed).await.unwrap();
    let end = annals.transit("issue-7", Status::Open).await.unwrap_err();
    assert_eq!(end.to_string(), "Closed cannot become Open; it stays what it is");

    let log = store.read_to_end(Read::all()).await.unwrap();
    assert_eq!(log[0].event_type.as_str(), "StatusChanged");
    assert_eq!(&log[0].data.bytes[..], br#"{"from":"Open","to":"InProgress"}"#);
}

async fn status_storm(store: impl EventStore + 'static) {
    let patient = RetryPolicy::default().attempts_max(100);
    let annals = Annals::new(store).with_retry(patient);
    let mut tasks = JoinSet::new();
    for n in 0..64 {
        let annals = annals.clone();
        let all = [Status::Open, Status::InProgress, Status::Resolved, Status::Closed];
        tasks.spawn(async move {
            match annals.transit("issue-7", all[n % 4]).await {
                Ok(_) | Err(ExecuteError::Refused(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        });
    }
    tasks.join_all().await;
    let (mut status, mut recorded) = (Status::INITIAL, 0);
    for event in annals.store().read_to_end(Read::all()).await.expect("it reads") {
        let said: annals::Transition<Status> =
            serde_json::from_slice(&event.data.bytes).expect("a transition");
        assert_eq!(said.from, status);
        assert!(status.next().contains(&said.to));
        status = said.to;
        recorded += 1;
    }
    assert!(recorded > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_transitions_at_once_each_is_allowed_in_memory() {
    status_storm(MemoryStore::new()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_transitions_at_once_each_is_allowed_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    status_storm(annals::SqliteStore::open(directory.path().join("log.db")).unwrap()).await;
}

#[tokio::test]
async fn transitions_and_changes_go_into_a_transaction_of_the_application() {
    let annals = Annals::new(MemoryStore::new());
    let transition = Status::Open.to(Status::InProgress).unwrap();
    let append = annals.record(transition).on("issue-7").by("ada").append().unwrap();
    assert_eq!(append.streams[0].stream, StreamId::from_static("issue-7"));
    let event = append.events().next().unwrap();
    assert_eq!(event.metadata.get("actor"), Some(json!("ada")));
    let changed = Changed::between("Issue", &json!({"title": "a"}), &json!({"title": "b"}));
    let append = annals.record(changed.unwrap()).on("issue-7").append().unwrap();
    let data = &append.events().next().unwrap().data;
    assert_eq!(&data.bytes[..], br#"{"changes":{"title":{"from":"a","to":"b"}}}"#);
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        (0..5_i32).prop_map(|value| json!(value)),
        "[a-c]{0,2}".prop_map(|value| json!(value)),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|value| json!(value)),
            prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|value| json!(value)),
        ]
    })
}

fn any_object() -> impl Strategy<Value = serde_json::Value> {
    prop::collection::btree_map("[a-d]", any_json(), 0..4).prop_map(|value| json!(value))
}

/// Every value by its path, without nulls and empty objects, which say as much as nothing.
fn leaves(path: &str, value: &serde_json::Value, into: &mut Vec<(String, serde_json::Value)>) {
    match value {
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(&path, value, into);
            }
        }
        serde_json::Value::Null => {}
        value => into.push((path.to_owned(), value.clone())),
    }
}

proptest! {
    /// What was, with the changes made to it, is what is.
    #[test]
    fn changes_tell_the_whole_difference(before in any_object(), after in any_object()) {
        let changed = Changed::between("Row", &before, &after).unwrap();
        let (mut was, mut is) = (vec![], vec![]);
        leaves("", &before, &mut was);
        leaves("", &after, &mut is);
        for (path, change) in changed.fields() {
            was.retain(|(at, _)| at != path && !at.starts_with(&format!("{path}.")));
            leaves(path, &change.to, &mut was);
        }
        was.sort_by(|a, b| a.0.cmp(&b.0));
        is.sort_by(|a, b| a.0.cmp(&b.0));
        prop_assert_eq!(was, is);
        prop_assert_eq!(changed.clone().into_event().unwrap().is_none(), changed.is_empty());
    }
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_throttle_holds_when_many_try_at_once_in_a_database() {
    let database = annals_scratch::Database::create().await;
    let store = annals::PostgresStore::connect(database.url()).await.unwrap();
    throttle_storm(store).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_transitions_at_once_each_is_allowed_in_a_database() {
    let database = annals_scratch::Database::create().await;
    let store = annals::PostgresStore::connect(database.url()).await.unwrap();
    status_storm(store).await;
}
