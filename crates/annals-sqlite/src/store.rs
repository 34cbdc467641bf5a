//! The store: hands each call to the thread that does it.

use std::sync::Arc;

use annals_core::subscription::follow;
use annals_core::{
    Append, AppendError, Clock, Conflict, EventStore, EventStream, Fault, Limits, ListStreams,
    Position, Read, ReadError, Receipt, Stats, StreamCatalog, StreamInfos, Subscribe,
    SubscribeFrom, Subscription,
};
use async_trait::async_trait;
use crossbeam_channel::Sender;
use futures_util::{StreamExt, stream};
use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::chore::Chores;
use crate::fault::{OpenError, read_error};
use crate::inline::Hooks;
use crate::number::{position, stored_position};
use crate::open::Options;
use crate::query::find_after;
use crate::reader::{Reader, Readers};
use crate::snapshot::CHORES_BYTES_MAX;
use crate::stream::newest_position;
use crate::writer::{Answer, Pending, Request, Rhythm, Writer};
use crate::{catalog, read};

/// The most bytes of appends that wait for the writer; further callers wait before they ask.
const QUEUE_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// A condition that looks further back than this is checked by a reader first.
const LOOK_BACK_MAX: u64 = 512;

/// A log in an SQLite file. Clones share it.
///
/// Every guarantee S1 to S10 holds, also with several processes on one file. Threads of its own
/// do the work, so it can be used from any async runtime.
///
/// ```
/// use annals_core::{Data, EventStoreExt, EventType, ExpectedVersion, NewEvent, Read, StreamId};
/// use annals_sqlite::SqliteStore;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("annals.db");
/// let store = SqliteStore::open(&path)?;
/// let account = StreamId::new("account-1")?;
/// let opened = NewEvent::new(EventType::new("AccountOpened")?, Data::json("{}"));
/// store.append_to(account.clone(), ExpectedVersion::NoStream, [opened]).await?;
/// store.close().await;
///
/// let store = SqliteStore::open(&path)?;
/// assert_eq!(store.read_to_end(Read::stream(account)).await?.len(), 1);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    /// What runs inside appends, if anything does.
    pub(crate) hooks: Option<Hooks>,
    pub(crate) readers: Readers,
    pub(crate) writer: Sender<Request>,
    /// One permit for each byte of an append that waits.
    queue: Arc<Semaphore>,
    /// The same for snapshots.
    pub(crate) chores: Arc<Semaphore>,
    head: watch::Receiver<Position>,
}

impl SqliteStore {
    /// Opens a file with the default options, creating it when it does not exist.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self, OpenError> {
        Self::options().open(path)
    }

    /// Options for opening a file.
    pub fn options() -> Options {
        Options::new()
    }

    pub(crate) fn start(
        options: Options,
        connection: Connection,
        readers: Vec<Connection>,
    ) -> Result<Self, OpenError> {
        let newest = newest_position(&connection)?;
        let (head_sender, head) = watch::channel(position(newest));
        let (writer, requests) = crossbeam_channel::unbounded();
        let clock = Arc::clone(&options.clock);
        let hooks = Hooks::new(&options.inline, &options.limits);
        let work = Writer {
            requests,
            head: head_sender,
            clock,
            hooks: hooks.clone(),
            rhythm: Rhythm::default(),
            chores: Chores::new(options.patience()),
        };
        std::thread::Builder::new()
            .name("annals-writer".into())
            .spawn(move || work.run(&connection))
            .map_err(OpenError::Thread)?;
        let readers = Readers::start(readers).map_err(OpenError::Thread)?;
        let Options { clock, limits, .. } = options;
        let queue = Arc::new(Semaphore::new(QUEUE_BYTES_MAX as usize));
        let chores = Arc::new(Semaphore::new(CHORES_BYTES_MAX as usize));
        let shared = Shared { clock, limits, hooks, readers, writer, queue, chores, head };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Stores every append that was asked for, then stops writing and ends all subscriptions.
    ///
    /// Snapshots that wait to be saved are answered with
    /// [`SnapshotError::Closed`](annals_core::SnapshotError::Closed), as is what is asked for later.
    /// Appends asked for later are answered with [`AppendError::Closed`]; reads still work as
    /// long as somebody holds the store. Dropping the last clone does the same without
    /// waiting for it.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.shared.writer.send(Request::Close(done)).is_ok() {
            // An error means that the writer had stopped before.
            let _ = closed.await;
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Looks for conflicts with conditions that reach far back, so that the one writer never
    /// looks far for anybody. Up to which position the conditions are known to hold.
    ///
    /// A conflict found here is as true as one found later, because events never go away.
    async fn check_ahead(&self, append: Arc<Append>) -> Result<Position, AppendError> {
        let known = self.shared.head.borrow().get();
        let looks_far_back = |after: Position| after.get().saturating_add(LOOK_BACK_MAX) < known;
        if !append.conditions.iter().any(|condition| looks_far_back(condition.after)) {
            return Ok(Position::START);
        }
        let checked = self.shared.readers.run(move |reader| {
            check_conditions(reader, &append)
                .map_err(|error| read_error("checking conditions", error))
        });
        checked.await?.map_err(AppendError::from)
    }
}

/// Up to which position all conditions hold, or the conflict that stands against the append.
///
/// An append that is stored already is left to the writer, who recognises it (S7).
fn check_conditions(
    reader: &Reader,
    append: &Append,
) -> rusqlite::Result<Result<Position, Conflict>> {
    // Taken first: whatever is appended meanwhile stands after it and is left to the writer.
    let newest = position(newest_position(&reader.connection)?);
    for condition in &append.conditions {
        let after = stored_position(condition.after);
        match find_after(&reader.connection, &condition.query, after)? {
            None => {}
            Some(_) if is_any_stored(&reader.connection, append)? => {
                return Ok(Ok(Position::START));
            }
            Some(found) => {
                let (condition, found) = (condition.clone(), position(found));
                return Ok(Err(Conflict::Condition { condition, found }));
            }
        }
    }
    Ok(Ok(newest))
}

pub(crate) fn is_any_stored(connection: &Connection, append: &Append) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM annals_events WHERE id = ?1")?;
    for event in append.events() {
        if statement.exists([event.id.as_bytes()])? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[async_trait]
impl EventStore for SqliteStore {
    fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        append.check(&self.shared.limits)?;
        let append = Arc::new(append);
        let checked = self.check_ahead(Arc::clone(&append)).await?;
        let bytes = u32::try_from(append.bytes()).unwrap_or(u32::MAX).min(QUEUE_BYTES_MAX);
        let room = Arc::clone(&self.shared.queue).acquire_many_owned(bytes).await;
        let room = room.map_err(|_| AppendError::Closed)?;
        let (caller, answered) = oneshot::channel();
        let answer = Answer::to(caller);
        let request = Request::Append(Pending { append, checked, answer, room });
        self.shared.writer.send(request).map_err(|_| AppendError::Closed)?;
        answered.await.unwrap_or_else(|_| {
            Err(AppendError::Indeterminate(Fault::new("appending: the writer has stopped")))
        })
    }

    fn read(&self, read: Read) -> EventStream {
        match read.check(&self.shared.limits) {
            Ok(()) => read::read(self.shared.readers.clone(), read),
            Err(invalid) => Box::pin(stream::iter([Err(invalid.into())])),
        }
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        if let Err(invalid) = self.shared.limits.check_query(&subscribe.query) {
            return Box::pin(stream::iter([Err(invalid.into())]));
        }
        let head = self.shared.head.clone();
        // Not the store itself, which ends its subscriptions when it is dropped.
        let readers = self.shared.readers.clone();
        let read = move |read| read::read(readers.clone(), read);
        if subscribe.from != SubscribeFrom::Head {
            // A closed writer has closed the heads as well, which the subscription notices.
            let _ = self.shared.writer.send(Request::Watch);
            return follow(read, head, subscribe);
        }
        // Other processes may have appended since anybody looked. The writer answers in turn:
        // before every append that is asked for after this call.
        let (asker, end) = oneshot::channel();
        let _ = self.shared.writer.send(Request::Head(asker));
        Box::pin(stream::once(end).flat_map(move |end| match end {
            Ok(Ok(end)) => follow(read.clone(), head.clone(), subscribe.clone().after(end)),
            Ok(Err(error)) => Box::pin(stream::iter([Err(error)])),
            Err(_) => Box::pin(stream::iter([Err(ReadError::Closed)])),
        }))
    }

    async fn head(&self) -> Result<Position, ReadError> {
        let newest = self.shared.readers.run(|reader| {
            newest_position(&reader.connection)
                .map_err(|error| read_error("finding the head", error))
        });
        newest.await.map(position)
    }
}

#[async_trait]
impl StreamCatalog for SqliteStore {
    fn streams(&self, list: ListStreams) -> StreamInfos {
        catalog::streams(self.shared.readers.clone(), list)
    }

    async fn stats(&self) -> Result<Stats, ReadError> {
        catalog::stats(&self.shared.readers).await
    }
}
