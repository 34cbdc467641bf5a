//! A server that is far away.

use std::time::Duration;

use annals_core::{EventStore, Notice, Subscribe};
use annals_postgres::PostgresStore;
use annals_scratch::Database;
use futures_util::StreamExt;
use sqlx_core::connection::Connection;
use sqlx_core::query_scalar::query_scalar;
use sqlx_postgres::{PgConnectOptions, PgConnection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

const DEADLINE: Duration = Duration::from_secs(30);
const WAY: Duration = Duration::from_millis(20);
/// Shorter than a round trip.
const POLL: Duration = Duration::from_millis(10);

async fn way_to(server: (String, u16)) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = server.clone();
            tokio::spawn(async move {
                let there = TcpStream::connect(server).await.expect("the server is there");
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = there.into_split();
                tokio::join!(copy(from_client, to_server), copy(from_server, to_client));
            });
        }
    });
    port
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut bytes = [0; 8192];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        sleep(WAY).await;
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

/// However often it looks while the listener is still on its way.
#[tokio::test]
async fn a_subscription_listens() {
    let database = Database::create().await;
    let options: PgConnectOptions = database.url().parse().unwrap();
    let port = way_to((options.get_host().to_owned(), options.get_port())).await;
    let options = options.host("127.0.0.1").port(port);
    let store = PostgresStore::options().poll(POLL).connect_with(options).await.unwrap();
    let mut notices = store.subscribe(Subscribe::all());
    let first = timeout(DEADLINE, notices.next()).await.expect("it arrives in time");
    assert!(matches!(first, Some(Ok(Notice::CaughtUp(_)))), "{first:?}");
    let mut observer = PgConnection::connect(database.url()).await.unwrap();
    let listens = "SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN%' AND state = 'idle')";
    let listening = async {
        while !query_scalar::<_, bool>(listens).fetch_one(&mut observer).await.unwrap() {
            sleep(POLL).await;
        }
    };
    timeout(DEADLINE, listening).await.expect("it listens");
}
