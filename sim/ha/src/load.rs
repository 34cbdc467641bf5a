//! The load: writers, followers and an application, all by way of the proxy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use annals_core::{EventStore, Position, Query};
use annals_postgres::PostgresStore;
use anyhow::{Context, Result};
use sqlx_core::pool::PoolOptions;
use sqlx_core::query::query;
use sqlx_postgres::{PgConnectOptions, PgPool, Postgres};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::application::{Application, CREATE_TABLE, Retries};
use crate::cluster::DEADLINE;
use crate::follow::{Follower, Seen, a_part};
use crate::ledger::Ledger;
use crate::log::Log;
use crate::writers::{Manner, Writer};

const USER: &str = "app";
const WRITERS: [Manner; 16] = {
    use Manner::{Any, Both, Claim, Exact, Own};
    [Any, Any, Any, Any, Exact, Exact, Exact, Exact, Own, Own, Own, Own, Claim, Claim, Both, Both]
};
/// Shorter than any failover, so that unknown outcomes are seen.
const IMPATIENT: Duration = Duration::from_secs(1);
/// How often a resuming follower starts again.
const LIFE: Duration = Duration::from_secs(4);

/// More than the eight that a store takes at once.
const CONNECTIONS: u32 = 12;

/// Where PostgreSQL is reached, and how.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    address: SocketAddr,
    patience: Option<Duration>,
}

impl Door {
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self { address, patience: None }
    }

    /// The same for a store that soon gives up to repeat an append.
    pub(crate) fn impatient(&self) -> Self {
        Self { patience: Some(IMPATIENT), ..self.clone() }
    }

    /// Opens a store, as often as it takes.
    pub(crate) async fn open(&self) -> PostgresStore {
        loop {
            match self.try_open().await {
                Ok(store) => return store,
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
        }
    }

    pub(crate) async fn try_open(&self) -> Result<PostgresStore> {
        let mut options = PostgresStore::options();
        if let Some(patience) = self.patience {
            options = options.patience(patience);
        }
        Ok(options.connect_with(self.options(USER)).await?)
    }

    pub(crate) fn pool(&self, user: &str) -> PgPool {
        PoolOptions::<Postgres>::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(self.options(user))
    }

    fn options(&self, user: &str) -> PgConnectOptions {
        let database = if user == USER { USER } else { "postgres" };
        PgConnectOptions::new_without_pgpass()
            .host(&self.address.ip().to_string())
            .port(self.address.port())
            .username(user)
            .database(database)
    }

    /// Makes what the load needs, as an administrator would.
    async fn prepare(&self) -> Result<()> {
        let administrator = self.pool("postgres");
        for statement in ["CREATE ROLE app LOGIN", "CREATE DATABASE app OWNER app"] {
            query(statement).execute(&administrator).await?;
        }
        administrator.close().await;
        let owner = self.pool(USER);
        query(CREATE_TABLE).execute(&owner).await?;
        owner.close().await;
        Ok(())
    }
}

/// What is under way.
pub(crate) struct Load {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) store: PostgresStore,
    stop: watch::Sender<bool>,
    end: watch::Sender<Option<Position>>,
    writers: Vec<JoinHandle<()>>,
    application: JoinHandle<Retries>,
    followers: Vec<JoinHandle<Seen>>,
}

/// What there is when nobody appends any more.
pub(crate) struct Harvest {
    pub(crate) head: Position,
    pub(crate) seen: Vec<Seen>,
    pub(crate) retries: Retries,
}

impl Load {
    pub(crate) async fn start(proxy: SocketAddr, log: Log) -> Result<Self> {
        let ledger = Arc::new(Ledger::new(log));
        let door = Door::at(proxy);
        door.prepare().await.context("preparing the database")?;
        let store = door.try_open().await?;
        let impatient = door.impatient().try_open().await?;
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = watch::channel(None);
        let writer = |(number, manner): (u64, Manner)| {
            let store = if number % 2 == 0 { &store } else { &impatient };
            let (store, ledger) = (store.clone(), Arc::clone(&ledger));
            let repeat_by = store.clone();
            let writer = Writer { number, manner, store, repeat_by, ledger, through_proxy: true };
            tokio::spawn(writer.run(stopped.clone()))
        };
        let writers = (0..).zip(WRITERS).map(writer).collect();
        let pool = door.pool(USER);
        let application = Application {
            store: PostgresStore::options().over(pool.clone()).await?,
            pool,
            ledger: Arc::clone(&ledger),
        };
        let follower = |(name, query, life)| {
            let (door, ledger) = (door.clone(), Arc::clone(&ledger));
            tokio::spawn(Follower { name, query, door, life, ledger }.run(ended.clone()))
        };
        let followers = [
            ("of everything", Query::all(), None),
            ("of a part", a_part(), None),
            ("that starts again", Query::all(), Some(LIFE)),
        ];
        log.say(
            "load: 16 writers, half of them with a patience of 1 s; an application with a table; \
             3 subscribers",
        );
        Ok(Self {
            store: store.clone(),
            stop,
            end,
            writers,
            application: tokio::spawn(application.run(stopped.clone())),
            followers: followers.map(follower).into(),
            ledger: Arc::clone(&ledger),
        })
    }

    /// Appends through a connection that knows only one node, until the returned handle is told
    /// to stop: a client that has not heard of the new leader.
    pub(crate) async fn stubborn(&self, node: SocketAddr, number: u64) -> Result<Stubborn> {
        let store = Door::at(node).impatient().try_open().await?;
        let (stop, stopped) = watch::channel(false);
        let writer = |number| {
            let (store, ledger) = (store.clone(), Arc::clone(&self.ledger));
            let (manner, repeat_by) = (Manner::Any, self.store.clone());
            Writer { number, manner, store, repeat_by, ledger, through_proxy: false }
                .run(stopped.clone())
        };
        let writers = [number, number + 1].map(|number| tokio::spawn(writer(number)));
        Ok(Stubborn { stop, writers })
    }

    /// Waits until appends are acknowledged again.
    pub(crate) async fn goes_on(&self) -> Result<()> {
        let before = self.ledger.counts().acknowledged;
        let deadline = Instant::now() + DEADLINE;
        while self.ledger.counts().acknowledged < before + 100 {
            anyhow::ensure!(Instant::now() < deadline, "appends do not go on");
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Stops the writers, lets each finish what it has begun, and the followers see everything.
    pub(crate) async fn finish(self) -> Result<Harvest> {
        self.stop.send_replace(true);
        for writer in self.writers {
            timeout(DEADLINE, writer).await.context("a writer does not come to an end")??;
        }
        let retries = timeout(DEADLINE, self.application).await;
        let retries = retries.context("the application does not come to an end")??;
        let head = self.store.head().await?;
        self.end.send_replace(Some(head));
        let mut seen = Vec::new();
        for follower in self.followers {
            let follower = timeout(DEADLINE, follower).await;
            seen.push(follower.context("a subscriber does not reach the end of the log")??);
        }
        Ok(Harvest { head, seen, retries })
    }
}

/// Writers that go on with the node they know.
pub(crate) struct Stubborn {
    stop: watch::Sender<bool>,
    writers: [JoinHandle<()>; 2],
}

impl Stubborn {
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.send_replace(true);
        for writer in self.writers {
            timeout(DEADLINE, writer)
                .await
                .context("a stubborn writer does not come to an end")??;
        }
        Ok(())
    }
}
