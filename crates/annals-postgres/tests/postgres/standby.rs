//! An address that moves without cutting what is connected, as a name or a plain TCP proxy does.

use std::time::Duration;

use annals_core::{Append, Data, EventStore, EventType, ExpectedVersion, NewEvent, StreamId};
use annals_postgres::PostgresStore;
use annals_scratch::Cluster;
use sqlx_core::pool::PoolOptions;
use sqlx_postgres::PgConnectOptions;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(1);

fn append() -> Append {
    let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    Append::to(StreamId::from_static("a-1"), ExpectedVersion::Any, [event])
}

/// A way to the server at a port. When another one is named, connections are cut.
async fn way_to(server: watch::Receiver<u16>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = server.clone();
            tokio::spawn(async move {
                let port = *server.borrow_and_update();
                let mut there = TcpStream::connect(("127.0.0.1", port)).await?;
                tokio::select! {
                    copied = copy_bidirectional(&mut client, &mut there) => drop(copied),
                    _ = server.changed() => {}
                }
                Ok::<_, std::io::Error>(())
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_a_standby_are_not_kept() {
    let cluster = Cluster::start(&[]).await.unwrap();
    let (server, way) = watch::channel(cluster.port());
    let options: PgConnectOptions = cluster.url("postgres").parse().unwrap();
    let options = options.port(way_to(way).await);
    // So few that one which is given back is taken again.
    let pool = PoolOptions::new().max_connections(1).connect_lazy_with(options);
    let store = PostgresStore::options().patience(PATIENCE).over(pool).await.unwrap();
    store.append(append()).await.unwrap();
    let standby = cluster.replica().await.unwrap();
    server.send_replace(standby.port());
    let answers = [store.append(append()).await, store.append(append()).await];
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    store.head().await.expect_err("a standby cannot tell");

    // New connections are to the primary, and those there are stay.
    server.send_if_modified(|port| {
        *port = cluster.port();
        false
    });
    let appended = async { while store.append(append()).await.is_err() {} };
    timeout(DEADLINE, appended).await.expect("appends go on");
    store.head().await.expect("so do reads");
}
