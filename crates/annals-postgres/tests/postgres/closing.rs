//! Closing a store, or the pool it was given, and dropping it anywhere.

use std::time::Duration;

use annals_core::{
    AppendError, Data, EventStore, EventStoreExt, EventType, ExpectedVersion, NewEvent, Notice,
    Read, ReadError, Receipt, StreamId, Subscribe, Subscription,
};
use annals_postgres::PostgresStore;
use annals_scratch::Database;
use futures_util::StreamExt;
use sqlx_core::pool::PoolOptions;
use sqlx_postgres::PgPool;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::{sleep, timeout};

const DEADLINE: Duration = Duration::from_secs(20);

async fn append(store: &PostgresStore) -> Result<Receipt, AppendError> {
    let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    store.append_to(StreamId::from_static("a-1"), ExpectedVersion::Any, [event]).await
}

/// Subscribes, and gets so far that it waits for news.
async fn follow(store: &PostgresStore) -> Subscription {
    let mut notices = store.subscribe(Subscribe::all());
    while !matches!(next(&mut notices).await, Some(Ok(Notice::CaughtUp(_)))) {}
    notices
}

async fn next(notices: &mut Subscription) -> Option<Result<Notice, ReadError>> {
    timeout(DEADLINE, notices.next()).await.expect("a notice arrives in time")
}

async fn next_event(notices: &mut Subscription) {
    while !matches!(next(notices).await.expect("it goes on"), Ok(Notice::Event(_))) {}
}

async fn is_closed_for_everybody(store: &PostgresStore, notices: &mut Subscription) {
    let refused = append(store).await.expect_err("the store is closed");
    assert!(matches!(refused, AppendError::Closed), "{refused:?}");
    let refused = store.head().await.expect_err("the store is closed");
    assert!(matches!(refused, ReadError::Closed), "{refused:?}");
    let refused = store.read_to_end(Read::all()).await.expect_err("the store is closed");
    assert!(matches!(refused, ReadError::Closed), "{refused:?}");
    let ended = next(notices).await;
    assert!(matches!(ended, Some(Err(ReadError::Closed))), "{ended:?}");
    let late = next(&mut store.subscribe(Subscribe::all())).await;
    assert!(matches!(late, Some(Err(ReadError::Closed))), "{late:?}");
}

#[tokio::test]
async fn a_closed_store_has_given_its_connections_back_and_refuses_everything() {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.expect("the store opens");
    append(&store).await.expect("the store is open");
    let mut notices = follow(&store).await;
    // The store keeps more than one connection from now on.
    let (one, another) = tokio::join!(store.head(), store.head());
    one.and(another).expect("the store is open");
    timeout(DEADLINE, store.close()).await.expect("no connection is kept");
    assert_eq!(store.pool().size(), 0);
    is_closed_for_everybody(&store, &mut notices).await;
}

/// The pool waits for connections that the store keeps at hand.
#[tokio::test]
async fn an_application_may_close_its_pool_under_the_store() {
    let database = Database::create().await;
    let pool = PgPool::connect_lazy(database.url()).expect("an address");
    let store = PostgresStore::options().over(pool.clone()).await.expect("the store opens");
    append(&store).await.expect("the store is open");
    let mut notices = follow(&store).await;
    timeout(DEADLINE, pool.close()).await.expect("no connection is kept");
    is_closed_for_everybody(&store, &mut notices).await;
}

#[tokio::test]
async fn the_last_clone_gives_the_connections_back() {
    let database = Database::create().await;
    let pool = PgPool::connect_lazy(database.url()).expect("an address");
    let store = PostgresStore::options().over(pool.clone()).await.expect("the store opens");
    append(&store).await.expect("the store is open");
    drop(store);
    let returned = async {
        while pool.num_idle() < pool.size() as usize {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, returned).await.expect("they come back");
}

/// Whoever looked for news would otherwise ask for a database that is gone for ever.
#[tokio::test]
async fn a_store_that_is_dropped_when_its_database_is_gone_leaves_no_task_behind() {
    let database = Database::create().await;
    let store = PostgresStore::connect(database.url()).await.expect("the store opens");
    let mut notices = follow(&store).await;
    drop(database);
    store.head().await.expect_err("the database is gone");
    drop(store);
    while next(&mut notices).await.is_some() {}
    let tasks = Handle::current().metrics();
    let ended = async {
        while tasks.num_alive_tasks() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, ended).await.expect("they end");
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The pool starts tasks when it gets connections back, or must have some at all times.
#[test]
fn a_store_may_be_dropped_where_no_runtime_is() {
    let inside = runtime();
    let database = inside.block_on(Database::create());
    let store = inside.block_on(async {
        let pool = PoolOptions::new().min_connections(2).connect(database.url()).await.unwrap();
        let store = PostgresStore::options().over(pool).await.unwrap();
        append(&store).await.unwrap();
        store
    });
    drop(store);
    drop(inside);
}

/// What was under way in the first one is not counted any more.
#[test]
fn a_store_goes_on_in_another_runtime() {
    let (first, second) = (runtime(), runtime());
    let database = second.block_on(Database::create());
    let store = first.block_on(async {
        let options = PostgresStore::options().lanes(1);
        options.connect(database.url()).await.unwrap()
    });
    // Follows the log in the second runtime, watched in the first one.
    let mut early = first.block_on(follow(&store));
    first.block_on(append(&store)).unwrap();
    drop(first);
    second.block_on(async {
        for _ in 0..3 {
            let appended = timeout(DEADLINE, append(&store)).await.expect("somebody stores it");
            appended.unwrap();
        }
        next_event(&mut early).await;
        let mut late = follow(&store).await;
        append(&store).await.unwrap();
        next_event(&mut late).await;
    });
}
