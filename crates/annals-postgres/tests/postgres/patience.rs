//! A server that is there and says nothing: its host has lost power, or the way there loses what
//! is sent. Whoever asked is told so in time, and everybody goes on when it answers again.

use std::time::Duration;

use annals_core::{
    Append, AppendError, Data, EventStore, EventStoreExt, EventType, ExpectedVersion, NewEvent,
    Notice, Read, ReadError, StreamId, Subscribe, Subscription,
};
use annals_postgres::{PartitionError, PostgresStore};
use annals_scratch::Database;
use futures_util::StreamExt;
use futures_util::future::join_all;
use sqlx_postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// What the store has.
const PATIENCE: Duration = Duration::from_secs(1);
/// Twice as long, and what a busy machine takes beside.
const IN_TIME: Duration = Duration::from_secs(12);
const DEADLINE: Duration = Duration::from_secs(60);

/// A way to the server that can lose everything that is sent, and whatever is connected then
/// stays lost.
struct Way {
    port: u16,
    loses: watch::Sender<bool>,
}

impl Way {
    async fn to(server: (String, u16)) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let (loses, losing) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, server.clone(), losing.clone()));
            }
        });
        Self { port, loses }
    }
}

async fn forward(client: TcpStream, server: (String, u16), losing: watch::Receiver<bool>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        copy(from_client, to_server, losing.clone()),
        copy(from_server, to_client, losing)
    );
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut losing: watch::Receiver<bool>,
) {
    let mut bytes = [0; 8192];
    loop {
        let read = tokio::select! {
            biased;
            _ = losing.wait_for(|loses| *loses) => break,
            read = from.read(&mut bytes) => read.unwrap_or(0),
        };
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
    // Nobody learns that it is over.
    std::future::pending::<()>().await;
}

struct World {
    _database: Database,
    way: Way,
    store: PostgresStore,
}

impl World {
    async fn new() -> Self {
        let database = Database::create().await;
        let options: PgConnectOptions = database.url().parse().expect("an address");
        let server = (options.get_host().to_owned(), options.get_port());
        let way = Way::to(server).await;
        let options = options.host("127.0.0.1").port(way.port);
        let store = PostgresStore::options().patience(PATIENCE).connect_with(options).await;
        let store = store.expect("the store opens");
        // Some connections are at hand from now on.
        let heads = [store.head(), store.head(), store.head(), store.head()];
        for head in join_all(heads).await {
            head.expect("the server answers");
        }
        Self { _database: database, way, store }
    }

    fn lose(&self) {
        self.way.loses.send_replace(true);
    }

    fn recover(&self) {
        self.way.loses.send_replace(false);
    }
}

fn append() -> Append {
    let event = NewEvent::new(EventType::from_static("Happened"), Data::json("{}"));
    Append::to(StreamId::from_static("a-1"), ExpectedVersion::Any, [event])
}

async fn next_event(notices: &mut Subscription) {
    loop {
        let notice = timeout(DEADLINE, notices.next()).await.expect("notices arrive in time");
        if let Notice::Event(_) = notice.expect("it goes on").expect("no failure is told") {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_a_silent_server_is_told_in_time() {
    let world = World::new().await;
    world.lose();

    let begun = Instant::now();
    let store = &world.store;
    let (appended, read, extended) = timeout(DEADLINE, async {
        tokio::join!(store.append(append()), store.head(), store.extend_partitions())
    })
    .await
    .expect("they are answered");
    assert!(matches!(extended, Err(PartitionError::Sql(_))), "{extended:?}");
    assert!(matches!(appended, Err(AppendError::Indeterminate(_))), "{appended:?}");
    assert!(matches!(read, Err(ReadError::Unavailable(_))), "{read:?}");
    assert!(begun.elapsed() < IN_TIME, "{:?}", begun.elapsed());

    world.recover();
    let append = append();
    let receipt = world.store.append(append.clone()).await.unwrap();
    assert_eq!(world.store.append(append).await.unwrap(), receipt);
    assert!(!world.store.read_to_end(Read::all()).await.unwrap().is_empty());
}

/// The way is lost for less than the patience there is.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_goes_by_another_connection() {
    let world = World::new().await;
    world.store.append(append()).await.unwrap();
    world.lose();
    let append = append();
    let appending = tokio::spawn({
        let (store, append) = (world.store.clone(), append.clone());
        async move { store.append(append).await }
    });
    // Until the one at hand is found silent; from then on new ones are tried.
    tokio::time::sleep(PATIENCE / 2).await;
    world.recover();
    let receipt = timeout(DEADLINE, appending).await.expect("it is answered").unwrap().unwrap();
    assert_eq!(world.store.append(append).await.unwrap(), receipt);
    assert_eq!(world.store.read_to_end(Read::all()).await.unwrap().len(), 2, "stored once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_goes_on_when_the_server_answers_again() {
    let world = World::new().await;
    let mut notices = world.store.subscribe(Subscribe::all());
    world.store.append(append()).await.unwrap();
    next_event(&mut notices).await;
    world.lose();
    // It takes notice of the silence.
    let silent = timeout(DEADLINE, world.store.head()).await.expect("it is answered");
    silent.expect_err("nothing arrives");
    world.recover();
    let appended = async { while world.store.append(append()).await.is_err() {} };
    timeout(DEADLINE, appended).await.expect("appends go on");
    next_event(&mut notices).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_silent_server_can_be_closed() {
    let world = World::new().await;
    let mut notices = world.store.subscribe(Subscribe::all());
    world.store.append(append()).await.unwrap();
    next_event(&mut notices).await;
    world.lose();
    timeout(DEADLINE, world.store.close()).await.expect("it ends");
    let ended = async { while let Some(Ok(_)) = notices.next().await {} };
    timeout(DEADLINE, ended).await.expect("so does the subscription");
}
