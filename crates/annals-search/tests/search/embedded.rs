//! The indices that run inside the application.

use annals_core::Position;
use annals_scratch::Database;
use annals_search::{
    Edit, EventEdits, Fields, IndexName, MemoryIndex, PostgresIndex, PostgresTables, Search,
    SearchError, SearchIndex, SqliteIndex, SqliteTables,
};
use serde_json::json;
use sqlx_core::pool::PoolOptions;
use sqlx_postgres::PgPool;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::cases::{cases, event, fields};
use crate::converge::converges;

fn name() -> IndexName {
    IndexName::new("products-1").expect("a valid name")
}

async fn memory() -> (MemoryIndex, ()) {
    (MemoryIndex::new(fields()), ())
}

async fn sqlite() -> (SqliteIndex, TempDir) {
    let folder = TempDir::new().expect("a folder for the test");
    let index = SqliteIndex::open(folder.path().join("search.db"), name(), fields());
    (index.expect("a fresh file can be opened"), folder)
}

async fn postgres() -> (PostgresIndex, (PgPool, Database)) {
    let database = Database::create().await;
    let pool = pool(&database).await;
    let index = PostgresIndex::open(pool.clone(), name(), fields()).await;
    (index.expect("a fresh database can be opened"), (pool, database))
}

async fn pool(database: &Database) -> PgPool {
    let pool = PoolOptions::new().max_connections(4).connect(database.url());
    pool.await.expect("the database is there")
}

cases!(in_memory, super::memory);
cases!(in_sqlite, super::sqlite);
cases!(in_postgres, super::postgres);

#[test]
fn in_memory_any_order_comes_to_the_same() {
    // Against itself: what is in order is what the other indices are held to.
    let runtime = Runtime::new().unwrap();
    converges(&MemoryIndex::new(fields()), 256, &runtime);
}

#[test]
fn in_sqlite_any_order_comes_to_the_same() {
    let runtime = Runtime::new().unwrap();
    let (index, _folder) = runtime.block_on(sqlite());
    converges(&index, 64, &runtime);
}

#[test]
fn in_postgres_any_order_comes_to_the_same() {
    let runtime = Runtime::new().unwrap();
    let (index, _database) = runtime.block_on(postgres());
    converges(&index, 32, &runtime);
}

#[tokio::test]
async fn an_sqlite_index_is_there_after_reopening_and_only_with_its_fields() {
    let (index, folder) = sqlite().await;
    index.apply(&[event(1, Edit::index("1", json!({"name": "shoe"})))]).await.unwrap();
    drop(index);
    let path = folder.path().join("search.db");
    let again = SqliteIndex::open(&path, name(), fields()).unwrap();
    assert!(again.document("1").await.unwrap().is_some());
    let error = SqliteIndex::open(&path, name(), Fields::new().text("title")).unwrap_err();
    assert!(matches!(error, SearchError::OtherFields { .. }), "{error:?}");
    let other = IndexName::new("products-2").unwrap();
    let beside = SqliteIndex::open(&path, other, Fields::new().text("title")).unwrap();
    assert_eq!(beside.document("1").await.unwrap(), None);
}

#[tokio::test]
async fn a_postgres_index_is_opened_by_many_at_once_and_only_with_its_fields() {
    let database = Database::create().await;
    let pool = pool(&database).await;
    let open = || PostgresIndex::open(pool.clone(), name(), fields());
    let (a, b, c) = tokio::join!(open(), open(), open());
    a.and(b).and(c).unwrap();
    let error = PostgresIndex::open(pool, name(), Fields::new()).await.unwrap_err();
    assert!(matches!(error, SearchError::OtherFields { .. }), "{error:?}");
}

#[test]
fn what_is_applied_in_an_sqlite_transaction_commits_and_rolls_back_with_it() {
    let tables = SqliteTables::new(name(), fields());
    let mut database = rusqlite::Connection::open_in_memory().unwrap();
    tables.create_in(&database).unwrap();
    for (commits, position) in [(false, 1), (true, 2)] {
        let transaction = database.transaction().unwrap();
        let events = [event(position, Edit::index("1", json!({"name": "shoe"})))];
        tables.apply_in(&transaction, &events).unwrap();
        if commits {
            transaction.commit().unwrap();
        } else {
            transaction.rollback().unwrap();
        }
        assert_eq!(tables.document_in(&database, "1").unwrap().is_some(), commits);
    }
}

#[tokio::test]
async fn what_is_applied_in_a_postgres_transaction_commits_and_rolls_back_with_it() {
    let (index, (pool, _database)) = postgres().await;
    let tables = PostgresTables::new(name(), fields());
    for (commits, position) in [(false, 1), (true, 2)] {
        let mut transaction = pool.begin().await.unwrap();
        let refused = Edit::index("2", json!(1));
        let edits = vec![Edit::index("1", json!({"name": "shoe"})), refused];
        let events = [EventEdits { position: Position::new(position), edits }];
        let error = tables.apply_in(&mut transaction, &events).await.unwrap_err();
        assert!(matches!(error, SearchError::Refused(_)), "{error:?}");
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        assert_eq!(index.document("1").await.unwrap().is_some(), commits);
    }
}

#[tokio::test]
async fn what_is_no_text_is_kept_and_not_searched() {
    let (memory, ()) = memory().await;
    let (sqlite, _folder) = sqlite().await;
    let (postgres, _database) = postgres().await;
    let document = json!({"name": [1, {"x": "deep"}, true], "category": {"x": 1}, "size": [[1]]});
    for index in [&memory as &dyn SearchIndex, &sqlite, &postgres] {
        index.apply(&[event(1, Edit::index("1", document.clone()))]).await.unwrap();
        assert_eq!(index.document("1").await.unwrap().as_ref(), Some(&document));
        assert!(index.search(&Search::new("deep")).await.unwrap().hits.is_empty());
        assert_eq!(index.search(&Search::everything()).await.unwrap().hits.len(), 1);
    }
}
