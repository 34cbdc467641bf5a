//! Code of the application that misbehaves in the transaction that it runs in: by a panic, by
//! passing over an error of the server, after which nothing of a transaction stays, and by ending
//! the transaction. `sql_projection` has the same behind the log.

use std::collections::HashMap;
use std::sync::Arc;

use annals_core::error::Chain;
use annals_core::{
    Append, AppendError, Data, EventStore, EventStoreExt, EventType, ExpectedVersion, NewEvent,
    Panicked, PoisonEvent, Query, Read, RecordedEvent, RowFold, RowKey, StreamId, SubscriberName,
};
use annals_postgres::{
    BoxError, Inline, OpenError, PostgresProjection, PostgresReactor, PostgresReadSide,
    PostgresRows, PostgresStore, ProjectionTable,
};
use annals_scratch::Database;
use async_trait::async_trait;
use bytes::Bytes;
use sqlx_core::connection::Connection;
use sqlx_core::executor::Executor;
use sqlx_core::query::query;
use sqlx_core::query_scalar::query_scalar;
use sqlx_core::raw_sql::raw_sql;
use sqlx_postgres::PgConnection;

/// Does what an event's data say.
#[derive(Debug)]
struct Obedient(SubscriberName);

impl Obedient {
    fn new() -> Self {
        Self(SubscriberName::from_static("obedient"))
    }
}

async fn obey(connection: &mut PgConnection, event: &RecordedEvent) -> Result<(), BoxError> {
    query("INSERT INTO notes VALUES (1)").execute(&mut *connection).await?;
    match &*event.data.bytes {
        b"\"panic\"" => panic!("as it was told"),
        b"\"pass over\"" => {
            let failed = query("INSERT INTO notes VALUES (NULL)").execute(connection).await;
            assert!(failed.is_err(), "there is a constraint");
        }
        b"\"commit\"" => end(connection, "COMMIT").await?,
        b"\"roll back\"" => end(connection, "ROLLBACK").await?,
        b"\"commit, and refuse\"" => {
            end(connection, "COMMIT").await?;
            return Err("it is done".into());
        }
        _ => {}
    }
    Ok(())
}

async fn end(connection: &mut PgConnection, how: &'static str) -> Result<(), BoxError> {
    connection.execute(raw_sql(how)).await?;
    Ok(())
}

#[async_trait]
impl PostgresReactor for Obedient {
    fn name(&self) -> &SubscriberName {
        &self.0
    }
    fn query(&self) -> Query {
        Query::all()
    }
    async fn react(
        &self,
        connection: &mut PgConnection,
        event: &RecordedEvent,
    ) -> Result<(), BoxError> {
        obey(connection, event).await
    }
}

#[async_trait]
impl PostgresProjection for Obedient {
    fn name(&self) -> &SubscriberName {
        &self.0
    }
    fn version(&self) -> u32 {
        1
    }
    fn query(&self) -> Query {
        Query::all()
    }
    fn tables(&self) -> Vec<ProjectionTable> {
        vec![ProjectionTable::new("seen", "CREATE TABLE {seen} (event uuid NOT NULL)")]
    }
    async fn apply(
        &self,
        rows: &mut PostgresRows<'_>,
        event: &RecordedEvent,
    ) -> Result<(), BoxError> {
        obey(rows.connection(), event).await
    }
}

impl RowFold for Obedient {
    fn name(&self) -> &SubscriberName {
        &self.0
    }
    fn version(&self) -> u32 {
        1
    }
    fn query(&self) -> Query {
        Query::all()
    }
    fn keys(&self, event: &RecordedEvent) -> Result<Vec<RowKey>, PoisonEvent> {
        assert!(&*event.data.bytes != b"\"panic in keys\"", "as it was told");
        Ok(vec!["all".into()])
    }
    fn fold(
        &self,
        event: &RecordedEvent,
        rows: &mut HashMap<RowKey, Bytes>,
        _: &dyn Fn(&RowKey) -> bool,
    ) -> Result<(), PoisonEvent> {
        assert!(&*event.data.bytes != b"\"panic\"", "as it was told");
        rows.insert("all".into(), "1".into());
        Ok(())
    }
}

struct World {
    database: Database,
    read_side: PostgresReadSide,
    connection: PgConnection,
}

impl World {
    async fn new() -> Self {
        let database = Database::create().await;
        let read_side = PostgresReadSide::connect(database.url()).await.expect("a read side");
        let mut connection = PgConnection::connect(database.url()).await.expect("a connection");
        let create = query("CREATE TABLE notes (note integer NOT NULL)");
        create.execute(&mut connection).await.expect("a table");
        Self { database, read_side, connection }
    }

    async fn open(&self, inline: Inline) -> Result<PostgresStore, OpenError> {
        PostgresStore::options().inline(inline).connect(self.database.url()).await
    }

    async fn notes(&mut self) -> i64 {
        let count = query_scalar("SELECT count(*) FROM notes");
        count.fetch_one(&mut self.connection).await.expect("a count")
    }
}

fn told(what: &str) -> Append {
    let data = Data::json(format!("\"{what}\""));
    let event = NewEvent::new(EventType::from_static("Told"), data);
    Append::to(StreamId::from_static("orders-1"), ExpectedVersion::Any, [event])
}

fn vetoed(error: AppendError) -> BoxError {
    let AppendError::Vetoed { by, source } = error else { panic!("{error:?}") };
    assert_eq!(by.as_str(), "obedient");
    source
}

async fn stored(store: &PostgresStore) -> usize {
    store.read_to_end(Read::all()).await.expect("events").len()
}

#[tokio::test]
async fn a_panic_is_a_veto() {
    let mut world = World::new().await;
    let reactor = world.open(Inline::reactor(Obedient::new())).await.unwrap();
    let source = vetoed(reactor.append(told("panic")).await.unwrap_err());
    let panicked = source.downcast_ref::<Panicked>().expect("that it panicked");
    assert_eq!(panicked.said, "as it was told");
    reactor.append(told("go on")).await.unwrap();
    assert_eq!((stored(&reactor).await, world.notes().await), (1, 1));

    let mut transaction = world.connection.begin().await.unwrap();
    reactor.append_in(&mut transaction, &told("go on")).await.unwrap();
    vetoed(reactor.append_in(&mut transaction, &told("panic")).await.unwrap_err());
    reactor.append_in(&mut transaction, &told("go on")).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!((stored(&reactor).await, world.notes().await), (3, 3));
}

#[tokio::test]
async fn a_panic_of_an_inline_projection_is_a_veto() {
    for is_fold in [false, true] {
        let mut world = World::new().await;
        let inline = || match is_fold {
            true => Inline::fold(&world.read_side, Arc::new(Obedient::new())),
            false => Inline::projection(&world.read_side, Obedient::new()),
        };
        let store = world.open(inline()).await.unwrap();
        let tried = if is_fold { &["panic", "panic in keys"][..] } else { &["panic"] };
        let mut transaction = world.connection.begin().await.unwrap();
        for what in tried {
            for error in [
                store.append(told(what)).await.unwrap_err(),
                store.append_in(&mut transaction, &told(what)).await.unwrap_err(),
            ] {
                let said = Chain(&*vetoed(error)).to_string();
                assert!(said.contains("it panicked: as it was told"), "{said}");
            }
        }
        store.append_in(&mut transaction, &told("go on")).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(stored(&store).await, 1);
    }
}

/// While a projection catches up with what the log holds already.
#[tokio::test]
async fn a_panic_keeps_a_store_from_opening_and_no_more() {
    for is_fold in [false, true] {
        let world = World::new().await;
        let plain = PostgresStore::connect(world.database.url()).await.unwrap();
        plain.append(told("panic")).await.unwrap();
        let inline = match is_fold {
            true => Inline::fold(&world.read_side, Arc::new(Obedient::new())),
            false => Inline::projection(&world.read_side, Obedient::new()),
        };
        let error = world.open(inline).await.unwrap_err();
        assert!(matches!(&error, OpenError::Inline { .. }), "{error:?}");
        let said = Chain(&error).to_string();
        assert!(said.contains("it panicked: as it was told"), "{said}");
    }
}

/// PostgreSQL answers a commit of a transaction in which a statement has failed as if it had
/// committed it.
#[tokio::test]
async fn what_passes_over_an_error_of_the_server_vetoes_the_append() {
    let mut world = World::new().await;
    let reactor = world.open(Inline::reactor(Obedient::new())).await.unwrap();
    let source = vetoed(reactor.append(told("pass over")).await.unwrap_err());
    assert!(source.to_string().contains("passed over an error"), "{source}");
    assert_eq!(stored(&reactor).await, 0);

    let mut transaction = world.connection.begin().await.unwrap();
    vetoed(reactor.append_in(&mut transaction, &told("pass over")).await.unwrap_err());
    reactor.append_in(&mut transaction, &told("go on")).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!((stored(&reactor).await, world.notes().await), (1, 1));

    let projection = Inline::projection(&world.read_side, Obedient::new());
    let projection = world.open(projection).await.unwrap();
    vetoed(projection.append(told("pass over")).await.unwrap_err());
    assert_eq!(stored(&projection).await, 1);
}

/// Nobody knows then what is stored, and nobody says so.
#[tokio::test]
async fn what_ends_the_transaction_leaves_the_outcome_unknown() {
    for is_reactor in [true, false] {
        let mut world = World::new().await;
        let inline = match is_reactor {
            true => Inline::reactor(Obedient::new()),
            false => Inline::projection(&world.read_side, Obedient::new()),
        };
        let store = world.open(inline).await.unwrap();
        for how in ["commit", "roll back", "commit, and refuse"] {
            let mut transaction = world.connection.begin().await.unwrap();
            for error in [
                store.append(told(how)).await.unwrap_err(),
                store.append_in(&mut transaction, &told(how)).await.unwrap_err(),
            ] {
                assert!(matches!(&error, AppendError::Indeterminate(_)), "{error:?}");
                let said = Chain(&error).to_string();
                assert!(said.contains("it ended the transaction"), "{said}");
            }
        }
        store.append(told("go on")).await.unwrap();
    }
}
