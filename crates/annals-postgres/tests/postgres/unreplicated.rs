//! Events that a server holds and no standby has: whoever asks for them again is not told that
//! they are stored before they are safe.

use std::time::Duration;

use annals_core::{
    Append, AppendError, Data, EventStore, EventStoreExt, EventType, ExpectedVersion, NewEvent,
    Read, StreamId,
};
use annals_postgres::PostgresStore;
use annals_scratch::{Cluster, Mode};
use sqlx_core::connection::{ConnectOptions, Connection};
use sqlx_core::query::query;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::{PgConnectOptions, PgConnection};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);
/// How long something must not happen. Too short it proves less, and never fails wrongly.
const NEVER: Duration = Duration::from_secs(1);

fn append() -> Append {
    let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    let stream = StreamId::of("a", 1).expect("a stream id");
    Append::to(stream, ExpectedVersion::Any, [event])
}

async fn connect(cluster: &Cluster) -> PgConnection {
    let options: PgConnectOptions = cluster.url("postgres").parse().expect("an address");
    options.connect().await.expect("a connection")
}

/// Makes commits wait for a standby of this name; for none, when it is empty.
async fn wait_for_standby(cluster: &Cluster, name: &str) {
    let mut connection = connect(cluster).await;
    let set = match name {
        "" => "ALTER SYSTEM RESET synchronous_standby_names",
        _ => "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
    };
    for statement in [set, "SELECT pg_reload_conf()"] {
        query(statement).execute(&mut connection).await.expect("a superuser may");
    }
    until(
        &mut connection,
        "SELECT current_setting('synchronous_standby_names') <> ''",
        !name.is_empty(),
    )
    .await;
}

async fn until(connection: &mut PgConnection, question: &'static str, wanted: bool) {
    let answered = async {
        while query_scalar::<_, bool>(question)
            .fetch_one(&mut *connection)
            .await
            .expect("an answer")
            != wanted
        {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, answered).await.expect(question);
}

const A_COMMIT_WAITS: &str =
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')";

/// A crash leaves committed what no standby has received; a failover would lose it.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_waits_for_the_standbys_too() {
    let cluster = Cluster::start(&[]).await.unwrap();
    let store = PostgresStore::connect(&cluster.url("postgres")).await.unwrap();
    wait_for_standby(&cluster, "nobody").await;
    let append = append();
    let first = tokio::spawn({
        let (store, append) = (store.clone(), append.clone());
        async move { store.append(append).await }
    });
    until(&mut connect(&cluster).await, A_COMMIT_WAITS, true).await;
    cluster.stop(Mode::Immediate).unwrap();
    cluster.start_again().unwrap();
    let found = "SELECT EXISTS (SELECT FROM annals.events)";
    until(&mut connect(&cluster).await, found, true).await;

    let mut first = first;
    let answer = timeout(NEVER, &mut first).await;
    assert!(answer.is_err(), "acknowledged, though no standby has it: {answer:?}");
    wait_for_standby(&cluster, "").await;
    let receipt = timeout(PATIENCE, first).await.expect("it is answered").unwrap().unwrap();
    assert_eq!(store.append(append).await.unwrap(), receipt);
    assert_eq!(store.read_to_end(Read::all()).await.unwrap().len(), 1);
}

/// A leader that was put out of office goes on as a standby, with what it wrote in vain.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_does_not_answer_a_repeat() {
    let cluster = Cluster::start(&[]).await.unwrap();
    let store = PostgresStore::connect(&cluster.url("postgres")).await.unwrap();
    let append = append();
    store.append(append.clone()).await.unwrap();
    let standby = cluster.replica().await.unwrap();
    let mut connection = connect(&standby).await;
    let mut transaction = connection.begin().await.unwrap();
    let answer = store.append_in(&mut transaction, &append).await;
    assert!(matches!(answer, Err(AppendError::Indeterminate(_))), "{answer:?}");
}

/// The way to the server, until it is cut: the server learns nothing of it for a while.
async fn way_to(cluster: &Cluster, cut: watch::Receiver<u32>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let (port, server) = (listener.local_addr().expect("it is bound").port(), cluster.port());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut cut = cut.clone();
            tokio::spawn(async move {
                cut.borrow_and_update();
                let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
                tokio::select! {
                    copied = copy_bidirectional(&mut client, &mut server) => drop(copied),
                    _ = cut.changed() => {}
                }
                Ok::<_, std::io::Error>(())
            });
        }
    });
    port
}

/// The first attempt still waits for a standby when the repeat gives up to wait for its locks.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_unknown_once_is_not_called_unavailable() {
    let cluster = Cluster::start(&[]).await.unwrap();
    let (cut, is_cut) = watch::channel(0);
    let options: PgConnectOptions = cluster.url("postgres").parse().unwrap();
    let options = options.port(way_to(&cluster, is_cut).await).options([("lock_timeout", "100ms")]);
    let store = PostgresStore::options().patience(NEVER).connect_with(options).await.unwrap();
    wait_for_standby(&cluster, "nobody").await;
    let first = tokio::spawn({
        let store = store.clone();
        async move { store.append(append()).await }
    });
    until(&mut connect(&cluster).await, A_COMMIT_WAITS, true).await;
    cut.send_replace(1);
    let answer = timeout(PATIENCE, first).await.expect("it is answered").unwrap();
    assert!(matches!(answer, Err(AppendError::Indeterminate(_))), "{answer:?}");

    wait_for_standby(&cluster, "").await;
    let stored = async {
        while store.read_to_end(Read::all()).await.unwrap().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, stored).await.expect("it was stored all the same");
}
