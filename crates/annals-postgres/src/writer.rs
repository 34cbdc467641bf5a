//! Grouping: appends that wait while a statement is under way share the next one.
//!
//! A few lanes take groups from one queue; each lane has one statement under way. A group never
//! waits for a lock: what somebody else holds is waited for aside, so that one busy stream holds
//! up no other.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use annals_core::{Append, AppendError, Clock, EventId, Fault, NewEvent, RecordedEvent};
use sqlx_core::error::Error;
use sqlx_core::pool::PoolConnection;
use sqlx_postgres::Postgres;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep};

use crate::append::{Answer, GROUP_EVENTS_MAX, Locks, Outcome, send};
use crate::bell::Bell;
use crate::connections::Connections;
use crate::fault::{self, chain, is_id_taken, is_partition_missing, sqlstate};
use crate::keys::Keys;
use crate::partitions::Ahead;
use crate::repeat::repeated;
use crate::schema::SchemaName;

/// The most bytes of a group, unless a single append has more.
const GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most locks of a group, unless a single append has more: the server's table is bounded.
const GROUP_KEYS_MAX: usize = 1_024;
/// The most groups that wait for locks of others at once, each on a connection.
const WAITING_MAX: usize = 4;
/// How soon a group whose outcome is unknown is sent again; it grows up to the second.
const SEND_AGAIN: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];
/// How often an append is sent again because its event ids met those of another one.
const ID_MEETINGS_MAX: usize = 3;
/// How often a group is sent again because there was no partition for it.
const EXTENSIONS_MAX: usize = 3;

/// An append whose caller waits.
pub(crate) struct Pending {
    pub(crate) append: Arc<Append>,
    pub(crate) keys: Keys,
    pub(crate) answer: oneshot::Sender<Outcome>,
    /// Its place in the queue, a permit for each of its bytes, free again when it is answered.
    pub(crate) room: OwnedSemaphorePermit,
    /// Since when it may be stored without anybody knowing: from then on no answer may say that
    /// it is not, whatever becomes of further attempts.
    pub(crate) unknown_since: Option<Instant>,
}

impl Pending {
    fn answer(self, outcome: Outcome) {
        // A caller that has gone away needs no answer.
        let _ = self.answer.send(outcome);
    }
}

#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) connections: Arc<Connections>,
    pub(crate) schema: SchemaName,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) ahead: Arc<Ahead>,
    /// How long a group is sent again whose outcome is unknown.
    pub(crate) patience: Duration,
    pub(crate) lanes_max: usize,
    pub(crate) queue: Mutex<Queue>,
    /// Appends that wait for a key which somebody else holds.
    pub(crate) waiting: Mutex<HashMap<i64, Vec<Pending>>>,
    pub(crate) waiters: Semaphore,
}

#[derive(Default)]
pub(crate) struct Queue {
    pending: VecDeque<Pending>,
    lanes: usize,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} appends waiting, {} lanes at work", self.pending.len(), self.lanes)
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an append of {} events", self.append.events().count())
    }
}

impl Writer {
    pub(crate) fn waiters() -> Semaphore {
        Semaphore::new(WAITING_MAX)
    }

    /// Queues an append; its answer comes when it is stored or refused.
    pub(crate) fn submit(self: &Arc<Self>, pending: Pending) {
        let mut queue = self.queue();
        queue.pending.push_back(pending);
        if queue.lanes < self.lanes_max {
            queue.lanes += 1;
            tokio::spawn(Arc::clone(self).lane());
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nobody panics while holding the queue")
    }

    /// Stores groups until nobody waits.
    async fn lane(self: Arc<Self>) {
        loop {
            let group = {
                let mut queue = self.queue();
                let group = gather(&mut queue.pending);
                if group.is_empty() {
                    queue.lanes -= 1;
                    return;
                }
                group
            };
            self.store(group, Locks::Try).await;
        }
    }

    /// Sees to it that every append of a group is answered, now or by somebody else later.
    async fn store(self: &Arc<Self>, mut group: Vec<Pending>, locks: Locks) {
        let mut id_meetings = 0;
        while !group.is_empty() {
            let appends: Vec<_> = group.iter().map(|pending| &*pending.append).collect();
            let mut unknown_since = group.iter().filter_map(|pending| pending.unknown_since).min();
            let answer =
                self.send_until_known(&appends, &keys(&group), locks, &mut unknown_since).await;
            group.iter_mut().for_each(|pending| pending.unknown_since = unknown_since);
            group = match answer {
                Ok(Answer::Done(outcomes)) => {
                    if outcomes.iter().any(Result::is_ok) {
                        self.bell.appended();
                    }
                    self.ahead.appended(&outcomes);
                    for (pending, outcome) in group.into_iter().zip(outcomes) {
                        pending.answer(outcome);
                    }
                    return;
                }
                Ok(Answer::Busy(busy)) => self.set_aside(group, &busy),
                Ok(Answer::Stored) => self.answer_repeats(group).await,
                Err(Failure::Refused(error)) if is_id_taken(&error) && group.len() == 1 => {
                    id_meetings += 1;
                    if id_meetings > ID_MEETINGS_MAX {
                        fail(group, &Failure::Refused(error));
                        return;
                    }
                    group
                }
                Err(Failure::Refused(error)) if group.len() > 1 && is_of_one(&error) => {
                    // One of them cannot be stored, and only trying tells which.
                    for pending in group {
                        Box::pin(self.store(vec![pending], locks)).await;
                    }
                    return;
                }
                Err(failure) => {
                    tracing::warn!(error = %failure.to_append_error(), "storing appends failed");
                    fail(group, &failure);
                    return;
                }
            };
        }
    }

    /// Sends a group; again with the same event ids as long as its outcome is unknown, which
    /// does no harm: what is stored already is recognised (S7).
    async fn send_until_known(
        &self,
        appends: &[&Append],
        keys: &Keys,
        locks: Locks,
        unknown_since: &mut Option<Instant>,
    ) -> Result<Answer, Failure> {
        let mut pause = SEND_AGAIN[0];
        loop {
            let connection = match unknown_since {
                None => self.connections.take().await,
                Some(_) => self.connections.take_tested().await,
            };
            let sent = match connection {
                Ok(connection) => self.send(connection, appends, keys, locks).await,
                Err(error) => Err(Failure::Refused(error)),
            };
            let error = match sent {
                Ok(answer) => return Ok(answer),
                Err(Failure::Refused(error)) if unknown_since.is_none() => {
                    return Err(Failure::Refused(error));
                }
                Err(Failure::Refused(error) | Failure::Unknown(error)) => error,
            };
            let since = *unknown_since.get_or_insert_with(Instant::now);
            if since.elapsed() > self.patience {
                return Err(Failure::Unknown(error));
            }
            tracing::warn!(error = %chain(&error), "the outcome of an append is unknown; repeating it");
            sleep(pause).await;
            pause = (pause * 2).min(SEND_AGAIN[1]);
        }
    }

    async fn send(
        &self,
        mut connection: PoolConnection<Postgres>,
        appends: &[&Append],
        keys: &Keys,
        locks: Locks,
    ) -> Result<Answer, Failure> {
        let moment = self.clock.as_ref().map(|clock| clock.now());
        let mut answer = send(&mut connection, &self.schema, appends, keys, locks, moment).await;
        let mut extensions = 0;
        while answer.as_ref().is_err_and(is_partition_missing) && extensions < EXTENSIONS_MAX {
            extensions += 1;
            self.ahead.extend().await.map_err(Failure::Refused)?;
            answer = send(&mut connection, &self.schema, appends, keys, locks, moment).await;
        }
        if answer.is_ok() {
            self.connections.give_back(connection);
        }
        answer.map_err(|error| match fault::outcome(&error) {
            fault::Outcome::Refused => Failure::Refused(error),
            fault::Outcome::Unknown => Failure::Unknown(error),
        })
    }

    /// Lets the appends that need busy keys wait for them, and returns the others.
    fn set_aside(self: &Arc<Self>, group: Vec<Pending>, busy: &[i64]) -> Vec<Pending> {
        let mut free = Vec::with_capacity(group.len());
        let mut waiting = self.waiting.lock().expect("nobody panics while holding the waiting");
        for pending in group {
            match busy.iter().find(|key| pending.keys.contains(**key)) {
                None => free.push(pending),
                Some(key) => {
                    waiting.entry(*key).or_insert_with(|| {
                        tokio::spawn(Arc::clone(self).wait_for(*key));
                        Vec::new()
                    });
                    waiting.get_mut(key).expect("it was just put there").push(pending);
                }
            }
        }
        free
    }

    /// Stores what waits for a key, group by group, until nothing does.
    async fn wait_for(self: Arc<Self>, key: i64) {
        let permit = self.waiters.acquire().await;
        loop {
            let group = {
                let mut waiting =
                    self.waiting.lock().expect("nobody panics while holding the waiting");
                let pending = waiting.remove(&key).unwrap_or_default();
                let mut pending = VecDeque::from(pending);
                let group = gather(&mut pending);
                if group.is_empty() {
                    break;
                }
                // Still there: those who come later find that somebody waits already.
                waiting.insert(key, pending.into());
                group
            };
            self.store(group, Locks::Wait).await;
        }
        drop(permit);
    }

    /// Answers the appends of which something is stored, and returns the others.
    async fn answer_repeats(&self, group: Vec<Pending>) -> Vec<Pending> {
        let mut others = Vec::with_capacity(group.len());
        for pending in group {
            match self.repeated(&pending.append).await {
                Ok(Ok(None)) => others.push(pending),
                Ok(Ok(Some(receipt))) => pending.answer(Ok(receipt)),
                Ok(Err(invalid)) => pending.answer(Err(invalid.into())),
                // Something of it is stored, so it cannot be said that nothing is.
                Err(error) => {
                    let fault = Fault::because("looking for a repeat", chain(&error));
                    pending.answer(Err(AppendError::Indeterminate(fault)));
                }
            }
        }
        others
    }

    async fn repeated(
        &self,
        append: &Append,
    ) -> Result<Result<Option<annals_core::Receipt>, annals_core::Invalid>, Error> {
        let mut connection = self.connections.take().await?;
        let repeated = repeated(&mut connection, &self.schema, append).await?;
        self.connections.give_back(connection);
        Ok(repeated)
    }
}

/// What became of a group that has no outcomes.
enum Failure {
    /// Nothing was written.
    Refused(Error),
    /// It may have been written.
    Unknown(Error),
}

impl Failure {
    /// The failure for one of its callers.
    fn to_append_error(&self) -> AppendError {
        let because = |error: &Error| Fault::because("storing the append", chain(error));
        match self {
            Self::Unknown(error) => AppendError::Indeterminate(because(error)),
            Self::Refused(error) if is_damage_of_one(error) => AppendError::Corrupt(because(error)),
            Self::Refused(error) => AppendError::Unavailable(because(error)),
        }
    }
}

fn fail(group: Vec<Pending>, failure: &Failure) {
    for pending in group {
        pending.answer(Err(failure.to_append_error()));
    }
}

/// Whether the failure may be that of a single append: its values, its size, its ids.
fn is_of_one(error: &Error) -> bool {
    sqlstate(error).is_some_and(|code| {
        ["22", "23", "53200", "54", "XX"].iter().any(|class| code.starts_with(class))
    })
}

fn is_damage_of_one(error: &Error) -> bool {
    sqlstate(error).is_some_and(|code| code.starts_with("XX00"))
}

fn keys(group: &[Pending]) -> Keys {
    let mut keys = Keys::default();
    group.iter().for_each(|pending| keys.extend(&pending.keys));
    keys
}

/// Takes the appends that can share a statement from the front of the queue.
///
/// The statement checks all of them before it writes any, so each must be independent of those
/// before it. Only the versions of a stream are counted on within the group.
fn gather(queue: &mut VecDeque<Pending>) -> Vec<Pending> {
    let mut group: Vec<Pending> = Vec::new();
    let mut ids = HashSet::<EventId>::new();
    let (mut events, mut bytes, mut keys) = (0, 0, 0);
    while let Some(next) = queue.front() {
        let count = next.append.events().count();
        let size = next.room.num_permits();
        let fits = events + count <= GROUP_EVENTS_MAX
            && bytes + size <= GROUP_BYTES_MAX
            && keys + next.keys.len() <= GROUP_KEYS_MAX;
        let independent = || {
            next.append.events().all(|event| !ids.contains(&event.id))
                && !group.iter().any(|earlier| may_break(&next.append, &earlier.append))
        };
        let first = group.is_empty();
        if !(first || fits && independent()) {
            break;
        }
        ids.extend(next.append.events().map(|event| event.id));
        events += count;
        bytes += size;
        keys += next.keys.len();
        group.extend(queue.pop_front());
    }
    group
}

/// Whether a condition of one append matches an event of an earlier one.
fn may_break(append: &Append, earlier: &Append) -> bool {
    append.conditions.iter().any(|condition| {
        earlier.streams.iter().any(|part| {
            part.events.iter().any(|event| condition.query.matches(&as_if_recorded(part, event)))
        })
    })
}

/// An event as far as queries look at it.
fn as_if_recorded(part: &annals_core::StreamAppend, event: &NewEvent) -> RecordedEvent {
    RecordedEvent {
        position: annals_core::Position::END,
        stream: part.stream.clone(),
        version: annals_core::Version::END,
        id: event.id,
        event_type: event.event_type.clone(),
        schema_version: event.schema_version,
        data: annals_core::Data::json(""),
        metadata: annals_core::Metadata::empty(),
        tags: annals_core::Tags::new(&event.tags),
        occurred_at: annals_core::Timestamp::EPOCH,
        recorded_at: annals_core::Timestamp::EPOCH,
    }
}
