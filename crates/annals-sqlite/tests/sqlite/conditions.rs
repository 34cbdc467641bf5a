//! Conditions that look far back, which a reader checks before the writer does.

use annals_core::{
    Append, AppendCondition, AppendError, Conflict, Data, EventStore, EventStoreExt, EventType,
    ExpectedVersion, NewEvent, Query, QueryItem, Read, StreamId, Tag,
};
use annals_sqlite::SqliteStore;
use tempfile::TempDir;

/// A store with more events than the writer would look back on.
async fn long_log() -> (TempDir, SqliteStore) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = SqliteStore::open(directory.path().join("annals.db")).expect("the store opens");
    for _ in 0..2 {
        let events = (0..1_000).map(|_| event("Happened"));
        let stream = StreamId::from_static("past-1");
        store.append_to(stream, ExpectedVersion::Any, events).await.expect("the past is stored");
    }
    (directory, store)
}

fn event(event_type: &'static str) -> NewEvent {
    NewEvent::new(EventType::from_static(event_type), Data::json("{}"))
}

fn name_is_free() -> AppendCondition {
    AppendCondition::none_match(Query::of(QueryItem::new().tag(Tag::from_static("name:ada"))))
}

/// Takes the name "ada", if nobody has it.
fn register(user: usize) -> Append {
    let registered = event("Registered").tagged(Tag::from_static("name:ada"));
    let stream = StreamId::of("user", user).expect("a valid stream id");
    Append::to(stream, ExpectedVersion::NoStream, [registered]).only_if(name_is_free())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_wins_and_the_others_are_told_their_own_condition() {
    let (_directory, store) = long_log().await;
    let racers: Vec<_> = (0..32)
        .map(|user| {
            let store = store.clone();
            tokio::spawn(async move { store.append(register(user)).await })
        })
        .collect();
    let mut winners = Vec::new();
    for racer in racers {
        match racer.await.unwrap() {
            Ok(receipt) => winners.push(receipt),
            Err(AppendError::Conflict(conflict)) => {
                let Conflict::Condition { condition, .. } = *conflict else {
                    panic!("{conflict:?}")
                };
                assert_eq!(condition, name_is_free());
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(winners.len(), 1);
    let log = store.read_to_end(Read::query(name_is_free().query)).await.unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].position, winners[0].first_position);
}

#[tokio::test]
async fn a_repeat_is_recognised_although_its_condition_no_longer_holds() {
    let (_directory, store) = long_log().await;
    let append = register(1);
    let receipt = store.append(append.clone()).await.unwrap();
    assert_eq!(store.append(append).await.unwrap(), receipt);
}
