//! The store: hands each call to the file that does it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use annals_core::{
    Append, AppendError, Clock, EventStore, EventStream, Fault, Invalid, Limits, ListStreams,
    Position, Read, ReadError, Receipt, Stats, StreamCatalog, StreamInfos, Subscribe, Subscription,
    Timestamp,
};
use async_trait::async_trait;
use futures_util::stream;
use sqlx_postgres::PgPool;
use tokio::sync::{Semaphore, watch};

use crate::bell::Bell;
use crate::catalog::{self, Counted};
use crate::connections::Connections;
use crate::group::Pending;
use crate::inline::Hooks;
use crate::keys::Keys;
use crate::open::Options;
use crate::partitions::Ahead;
use crate::read::{OnFailure, Source, read};
use crate::schema::SchemaName;
use crate::snapshot::WRITING_MAX;
use crate::waiting::Waiting;
use crate::watermark::{Blocker, Watermark};
use crate::writer::{Queue, Writer};
use crate::{OpenError, subscribe};

/// The most bytes of appends that wait; further callers wait before they ask.
const QUEUE_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// A log in a PostgreSQL database. Clones share it.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    schema: SchemaName,
    clock: Option<Arc<dyn Clock>>,
    limits: Limits,
    pub(crate) writer: Arc<Writer>,
    queue: Arc<Semaphore>,
    /// One permit for each caller that may write snapshots.
    pub(crate) snapshots: Semaphore,
    counted: Counted,
    pub(crate) ahead: Arc<Ahead>,
    pub(crate) source: Arc<Source>,
    pub(crate) bell: Arc<Bell>,
    /// How far the log can be read; none when the store is closed.
    head: Mutex<Option<watch::Sender<Position>>>,
    pub(crate) poll: Duration,
    /// Whether somebody looks for new events.
    pub(crate) watched: Mutex<bool>,
    /// What runs in the transactions of appends.
    pub(crate) hooks: Hooks,
    pub(crate) patience: Duration,
}

/// How far readers are behind what is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatermarkStatus {
    /// Up to here the log can be read.
    pub head: Position,
    /// The last event that is committed.
    pub newest: Position,
    /// Transactions that have appended and are still open, the oldest first. Readers do not go
    /// beyond the first of them.
    pub blockers: Vec<Blocker>,
}

impl WatermarkStatus {
    /// How long the oldest open transaction has held readers back; nothing when none does.
    #[must_use]
    pub fn lag(&self) -> Duration {
        match self.blockers.first() {
            Some(blocker) if self.head < self.newest => blocker.age,
            _ => Duration::ZERO,
        }
    }
}

impl PostgresStore {
    /// Opens the store in a database, making its tables in the schema `annals` when they are not
    /// there: `postgres://user:password@host:5432/database`.
    ///
    /// # Errors
    /// As [`Options::connect`].
    pub async fn connect(url: &str) -> Result<Self, OpenError> {
        Self::options().connect(url).await
    }

    /// How to open a store otherwise.
    pub fn options() -> Options {
        Options::new()
    }

    pub(crate) fn start(options: Options, pool: PgPool) -> Self {
        let Options { schema, clock, limits, patience, poll, lanes, replica, inline, .. } = options;
        let connections = Arc::new(Connections::new(pool).patient(patience));
        let bell = Arc::new(Bell::new(Arc::clone(&connections), &schema));
        let ahead = Arc::new(Ahead::new(Arc::clone(&connections), schema.clone()));
        let (head, known) = watch::channel(Position::START);
        let writer = Arc::new(Writer {
            connections: Arc::clone(&connections),
            schema: schema.clone(),
            clock: clock.clone(),
            bell: Arc::clone(&bell),
            ahead: Arc::clone(&ahead),
            patience,
            lanes_max: lanes,
            queue: Mutex::new(Queue::default()),
            waiting: Waiting::new(),
        });
        let source = Arc::new(Source {
            watermark: Watermark::new(Arc::clone(&connections), schema.clone(), patience),
            connections,
            replica: replica.map(|pool| Connections::new(pool).patient(patience)),
            schema: schema.clone(),
            head: known,
            patience,
        });
        let queue = Arc::new(Semaphore::new(QUEUE_BYTES_MAX as usize));
        let (counted, watched) = Default::default();
        let shared = Shared {
            schema,
            clock,
            limits,
            writer,
            queue,
            snapshots: Semaphore::new(WRITING_MAX),
            counted,
            ahead,
            source,
            bell,
            head: Mutex::new(Some(head)),
            poll,
            watched,
            hooks: Hooks::new(inline),
            patience,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The schema of the store's tables.
    #[must_use]
    pub fn schema(&self) -> &SchemaName {
        &self.shared.schema
    }

    /// The pool the store takes its connections from.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        self.shared.source.connections.pool()
    }

    /// How far readers are, and who holds them back: the figure to watch, and what to tell the
    /// person who is called because of it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn watermark(&self) -> Result<WatermarkStatus, ReadError> {
        let watermark = &self.shared.source.watermark;
        let blockers = watermark.blockers().await?;
        let mark = watermark.now().await?;
        Ok(WatermarkStatus { head: mark.head, newest: mark.newest, blockers })
    }

    /// Refuses further appends and snapshots, waits for the appends that were asked for, ends all subscriptions, and
    /// closes the pool; not that of a replica, which others may use.
    pub async fn close(&self) {
        let room = self.shared.queue.acquire_many(QUEUE_BYTES_MAX).await;
        self.shared.queue.close();
        self.shared.snapshots.close();
        drop(room);
        self.shared.end();
        let Source { replica, connections, .. } = &*self.shared.source;
        replica.iter().for_each(Connections::let_go);
        connections.close().await;
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Refuses what could never be stored, before others depend on it.
    pub(crate) fn check(&self, append: &Append) -> Result<(), Invalid> {
        append.check(&self.shared.limits)?;
        // Whoever says that it was stored before is believed elsewhere.
        let is_text = |json: &[u8]| std::str::from_utf8(json).is_ok();
        match append.events().all(|event| is_text(event.metadata.as_json())) {
            true => Ok(()),
            false => Err(Invalid::Metadata),
        }
    }

    pub(crate) fn moment(&self) -> Option<Timestamp> {
        self.shared.clock.as_ref().map(|clock| clock.now())
    }

    pub(crate) fn expect_commit(&self) {
        self.shared.bell.appended();
    }
}

impl Shared {
    pub(crate) fn publish(&self, head: Position) {
        if let Some(sender) = &*self.head() {
            sender.send_if_modified(|known| {
                let moved = head > *known;
                *known = head.max(*known);
                moved
            });
        }
    }

    /// Where the head is to be seen, unless the store is closed.
    pub(crate) fn follow(&self) -> Option<watch::Receiver<Position>> {
        self.head().as_ref().map(watch::Sender::subscribe)
    }

    /// Wakes those who follow the log, though it may be where it was.
    pub(crate) fn wake(&self) {
        if let Some(sender) = &*self.head() {
            sender.send_modify(|_| ());
        }
    }

    /// Ends all subscriptions: the store is closed.
    pub(crate) fn end(&self) {
        drop(self.head().take());
    }

    /// Whether anybody but the source itself looks at the head.
    pub(crate) fn is_followed(&self) -> bool {
        self.head().as_ref().is_some_and(|sender| sender.receiver_count() > 1)
    }

    fn head(&self) -> MutexGuard<'_, Option<watch::Sender<Position>>> {
        self.head.lock().expect("nobody panics while holding the head")
    }
}

#[async_trait]
impl EventStore for PostgresStore {
    fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        self.check(&append)?;
        let bytes = u32::try_from(append.bytes()).unwrap_or(u32::MAX).clamp(1, QUEUE_BYTES_MAX);
        let room = Arc::clone(&self.shared.queue).acquire_many_owned(bytes).await;
        let room = room.map_err(|_| AppendError::Closed)?;
        if !self.shared.hooks.is_empty() {
            return self.append_with_hooks(append, room).await;
        }
        let keys = Keys::of(&self.shared.schema, &append);
        let (pending, answered) = Pending::new(append, keys, room);
        self.shared.writer.submit(pending);
        answered.await.unwrap_or_else(|_| {
            Err(AppendError::Indeterminate(Fault::new(
                "appending: what stored it has panicked, or its runtime has ended",
            )))
        })
    }

    fn read(&self, bounds: Read) -> EventStream {
        match bounds.check(&self.shared.limits) {
            Ok(()) => read(Arc::clone(&self.shared.source), bounds, OnFailure::Tell),
            Err(invalid) => Box::pin(stream::iter([Err(invalid.into())])),
        }
    }

    fn subscribe(&self, bounds: Subscribe) -> Subscription {
        match self.shared.limits.check_query(&bounds.query) {
            Ok(()) => subscribe::subscribe(self, bounds),
            Err(invalid) => Box::pin(stream::iter([Err(invalid.into())])),
        }
    }

    async fn head(&self) -> Result<Position, ReadError> {
        let head = self.shared.source.watermark.covering(Position::END).await?.head;
        self.shared.publish(head);
        Ok(head)
    }
}

#[async_trait]
impl StreamCatalog for PostgresStore {
    fn streams(&self, list: ListStreams) -> StreamInfos {
        catalog::streams(Arc::clone(&self.shared.source), list)
    }

    async fn stats(&self) -> Result<Stats, ReadError> {
        self.shared.counted.stats(&self.shared.source).await
    }
}
