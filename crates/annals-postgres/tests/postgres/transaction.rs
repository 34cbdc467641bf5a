//! Events and the application's own rows in one transaction.

use std::time::Duration;

use annals_core::{
    Append, AppendCondition, AppendError, Category, Conflict, Data, EventStore, EventStoreExt,
    EventType, ExpectedVersion, Metadata, NewEvent, Notice, Query, Read, StreamId, Subscribe, Tag,
};
use annals_postgres::PostgresStore;
use annals_scratch::Database;
use futures_util::StreamExt;
use sqlx_core::connection::Connection;
use sqlx_core::query::query;
use sqlx_core::query_as::query_as;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::{PgConnection, Postgres};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

struct Application {
    database: Database,
    store: PostgresStore,
    connection: PgConnection,
}

impl Application {
    async fn new() -> Self {
        let database = Database::create().await;
        let store = PostgresStore::connect(database.url()).await.expect("the store opens");
        let mut connection = connect(&database).await;
        query(
            "CREATE TABLE users (id bigint PRIMARY KEY, name text, deleted boolean DEFAULT false)",
        )
        .execute(&mut connection)
        .await
        .expect("a table");
        Self { database, store, connection }
    }

    async fn users(&mut self) -> i64 {
        query_scalar("SELECT count(*) FROM users")
            .fetch_one(&mut self.connection)
            .await
            .expect("rows")
    }

    async fn events(&self) -> usize {
        self.store.read_to_end(Read::all()).await.expect("the log is read").len()
    }
}

async fn connect(database: &Database) -> PgConnection {
    PgConnection::connect(database.url()).await.expect("a connection")
}

fn created(number: u64, expected: ExpectedVersion) -> Append {
    let event =
        NewEvent::new(EventType::from_static("UserCreated"), Data::json(r#"{"name":"Ada"}"#));
    Append::to(StreamId::of("user", number).expect("a stream id"), expected, [event])
}

async fn insert(connection: &mut PgConnection, id: i64) {
    query("INSERT INTO users (id, name) VALUES ($1, 'Ada')")
        .bind(id)
        .execute(connection)
        .await
        .expect("a row");
}

#[tokio::test]
async fn rows_and_events_are_committed_together_or_not_at_all() {
    let mut app = Application::new().await;
    let mut transaction = app.connection.begin().await.unwrap();
    insert(&mut transaction, 1).await;
    let receipt = app
        .store
        .append_in(&mut transaction, &created(1, ExpectedVersion::NoStream))
        .await
        .unwrap();
    assert_eq!(receipt.streams[0].version.get(), 1);
    transaction.rollback().await.unwrap();
    assert_eq!((app.users().await, app.events().await), (0, 0));

    let mut transaction = app.connection.begin().await.unwrap();
    insert(&mut transaction, 1).await;
    app.store.append_in(&mut transaction, &created(1, ExpectedVersion::NoStream)).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!((app.users().await, app.events().await), (1, 1));
}

#[tokio::test]
async fn a_refused_append_leaves_the_transaction_usable() {
    let mut app = Application::new().await;
    app.store.append(created(1, ExpectedVersion::NoStream)).await.unwrap();
    let mut transaction = app.connection.begin().await.unwrap();
    insert(&mut transaction, 2).await;
    let refused =
        app.store.append_in(&mut transaction, &created(1, ExpectedVersion::NoStream)).await;
    let AppendError::Conflict(conflict) = refused.unwrap_err() else { panic!("a conflict") };
    assert!(matches!(*conflict, Conflict::Version { found, .. } if found.get() == 1));
    app.store.append_in(&mut transaction, &created(2, ExpectedVersion::NoStream)).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!((app.users().await, app.events().await), (1, 2));
}

#[tokio::test]
async fn a_repeat_inside_a_transaction_gives_the_first_receipt() {
    let mut app = Application::new().await;
    let append = created(1, ExpectedVersion::NoStream);
    let first = app.store.append(append.clone()).await.unwrap();
    let mut transaction = app.connection.begin().await.unwrap();
    assert_eq!(app.store.append_in(&mut transaction, &append).await.unwrap(), first);
    // Also of what the transaction itself has written.
    let own = created(2, ExpectedVersion::NoStream);
    let receipt = app.store.append_in(&mut transaction, &own).await.unwrap();
    assert_eq!(app.store.append_in(&mut transaction, &own).await.unwrap(), receipt);
    transaction.commit().await.unwrap();
    assert_eq!(app.events().await, 2);
}

/// At other levels a transaction looks at the past, and could not see what it must conflict with.
#[tokio::test]
async fn other_isolation_levels_are_refused() {
    let mut app = Application::new().await;
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let begin = sqlx_core::sql_str::AssertSqlSafe(format!("BEGIN ISOLATION LEVEL {level}"));
        let mut transaction = app.connection.begin_with(begin).await.unwrap();
        let refused =
            app.store.append_in(&mut transaction, &created(1, ExpectedVersion::Any)).await;
        assert!(matches!(refused, Err(AppendError::Unsupported(_))), "{level}: {refused:?}");
        transaction.rollback().await.unwrap();
    }
    assert_eq!(app.events().await, 0);
}

/// The pattern of the tutorial: whoever wants to change a user waits for the one who does.
#[tokio::test(flavor = "multi_thread")]
async fn two_transactions_on_one_stream_wait_for_each_other() {
    let mut app = Application::new().await;
    let (store, mut second) = (app.store.clone(), connect(&app.database).await);
    let mut transaction = app.connection.begin().await.unwrap();
    app.store.append_in(&mut transaction, &created(1, ExpectedVersion::NoStream)).await.unwrap();
    let waiting = tokio::spawn(async move {
        let mut transaction = second.begin().await.unwrap();
        let outcome =
            store.append_in(&mut transaction, &created(1, ExpectedVersion::NoStream)).await;
        transaction.rollback().await.unwrap();
        outcome
    });
    wait_for_a_waiter(&app.database).await;
    assert!(!waiting.is_finished());
    transaction.commit().await.unwrap();
    let outcome = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert!(matches!(outcome, Err(AppendError::Conflict(_))), "{outcome:?}");
}

/// A condition waits for an append that might break it, and then sees it.
#[tokio::test(flavor = "multi_thread")]
async fn a_condition_waits_for_what_may_break_it() {
    let mut app = Application::new().await;
    let seat = Tag::of("seat", 7).unwrap();
    let mut booked = created(1, ExpectedVersion::Any);
    booked.streams[0].events[0].tags.push(seat.clone());
    let free = AppendCondition::none_match(Query::of(annals_core::QueryItem::new().tag(seat)));
    let mut transaction = app.connection.begin().await.unwrap();
    app.store.append_in(&mut transaction, &booked).await.unwrap();

    let store = app.store.clone();
    let waiting =
        tokio::spawn(
            async move { store.append(created(2, ExpectedVersion::Any).only_if(free)).await },
        );
    wait_for_a_waiter(&app.database).await;
    // What has nothing to do with the seat does not wait.
    let other = app.store.append(created(3, ExpectedVersion::Any));
    timeout(PATIENCE, other).await.expect("others go on").unwrap();
    assert!(!waiting.is_finished());
    transaction.commit().await.unwrap();
    let outcome = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert!(matches!(outcome, Err(AppendError::Conflict(_))), "{outcome:?}");
}

/// Until somebody waits for an advisory lock in this database.
async fn wait_for_a_waiter(database: &Database) {
    let mut connection = connect(database).await;
    let look = async {
        loop {
            let waits: bool = query_scalar(
                "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                 WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted)",
            )
            .fetch_one(&mut connection)
            .await
            .expect("the locks are read");
            if waits {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, look).await.expect("somebody waits in time");
}

/// Nobody is told of a transaction of the application; subscribers find it by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn subscribers_of_every_process_see_what_was_committed() {
    let mut app = Application::new().await;
    let elsewhere = PostgresStore::connect(app.database.url()).await.unwrap();
    let mut here = app.store.subscribe(Subscribe::all());
    let mut there = elsewhere.subscribe(Subscribe::all());
    for notices in [&mut here, &mut there] {
        assert!(matches!(notices.next().await, Some(Ok(Notice::CaughtUp(_)))));
    }
    let mut transaction = app.connection.begin().await.unwrap();
    app.store.append_in(&mut transaction, &created(1, ExpectedVersion::Any)).await.unwrap();
    transaction.commit().await.unwrap();
    for notices in [&mut here, &mut there] {
        let notice = timeout(PATIENCE, notices.next()).await.expect("in time").unwrap().unwrap();
        assert!(matches!(notice, Notice::Event(event) if event.stream.as_str() == "user-1"));
    }
}

/// An acknowledged event is on the disk, whatever the session's default is.
#[tokio::test]
async fn a_lazy_session_commits_durably_all_the_same() {
    let mut app = Application::new().await;
    query("SET synchronous_commit = off").execute(&mut app.connection).await.unwrap();
    let setting = "SELECT current_setting('synchronous_commit')";
    let mut transaction = app.connection.begin().await.unwrap();
    app.store.append_in(&mut transaction, &created(1, ExpectedVersion::Any)).await.unwrap();
    let during: String = query_scalar(setting).fetch_one(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let after: String = query_scalar(setting).fetch_one(&mut app.connection).await.unwrap();
    assert_eq!((during.as_str(), after.as_str()), ("on", "off"));
}

/// What `psql` shows of a category is what the tutorial's table of events shows.
#[tokio::test]
async fn a_category_can_be_seen_as_a_table() {
    let mut app = Application::new().await;
    let mut append = created(7, ExpectedVersion::NoStream);
    append.streams[0].events[0].metadata = Metadata::from_json(r#"{"ip":"127.0.0.1"}"#).unwrap();
    let mut opaque = NewEvent::new(EventType::from_static("PictureSet"), Data::json("no { json"));
    opaque.data.bytes = bytes::Bytes::from_static(b"\xff\x00");
    append.streams[0].events.push(opaque);
    app.store.append(append).await.unwrap();
    app.store.append(Append { streams: vec![], ..Append::default() }).await.unwrap_err();
    let view = app.store.create_view(&Category::from_static("user")).await.unwrap();
    assert_eq!(view, "user_events");
    app.store.create_view(&Category::from_static("user")).await.expect("once more");

    type Row = (String, String, Option<String>, Option<String>);
    let rows: Vec<Row> = query_as::<Postgres, Row>(
        "SELECT user_id, event_type, payload::text, metadata->>'ip' FROM annals.user_events ORDER BY id",
    )
    .fetch_all(&mut app.connection)
    .await
    .unwrap();
    let row = |id: &str, kind: &str, payload: &str, ip: Option<&str>| {
        (id.to_owned(), kind.to_owned(), Some(payload.to_owned()), ip.map(str::to_owned))
    };
    assert_eq!(
        rows,
        [
            row("7", "UserCreated", r#"{"name":"Ada"}"#, Some("127.0.0.1")),
            row("7", "PictureSet", r#""/wA=""#, None),
        ]
    );
    for change in [
        "UPDATE annals.user_events SET event_type = 'X'",
        "DELETE FROM annals.user_events",
        "INSERT INTO annals.user_events (user_id) VALUES ('8')",
        "UPDATE annals.events SET type = 'X'",
        "DELETE FROM annals.events",
        "TRUNCATE annals.events",
    ] {
        let error = query(change).execute(&mut app.connection).await.unwrap_err();
        assert!(error.to_string().contains("immutable"), "{change}: {error}");
    }
    // A quote in a name is only a quote.
    let quoted = Category::new("o'neil\"s").unwrap();
    app.store.create_view(&quoted).await.unwrap();
}
