//! Grouping: appends that wait while a statement is under way share the next one.
//!
//! A few lanes take groups from one queue; each lane has one statement under way. A group never
//! waits for a lock: what somebody else holds is waited for aside, so that one busy stream holds
//! up no other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use annals_core::{Append, AppendError, Clock, Fault, Invalid, Receipt};
use sqlx_core::error::Error;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::append::{Answer, Locks, Outcome, send};
use crate::bell::Bell;
use crate::check;
use crate::connections::{Connections, Lent, no_answer};
use crate::fault::{
    self, chain, is_deadlock, is_held, is_id_taken, is_of_one, is_partition_missing, is_unsettled,
};
use crate::group::{Pending, gather, keys};
use crate::partitions::Ahead;
use crate::repeat::repeated;
use crate::schema::SchemaName;
use crate::waiting::Waiting;

/// How soon a group whose outcome is unknown is sent again; it grows up to the second.
const SEND_AGAIN: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];
/// The last attempt has at least so long.
const ATTEMPT_MIN: Duration = Duration::from_secs(1);
/// How often a group is sent again that met others: their event ids, a deadlock with them, or
/// another server.
const MEETINGS_MAX: usize = 5;
/// How often a group is sent again because there was no partition for it.
const EXTENSIONS_MAX: usize = 3;

#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) connections: Arc<Connections>,
    pub(crate) schema: SchemaName,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) ahead: Arc<Ahead>,
    /// How long a group is sent again whose outcome is unknown, and how long an append waits for
    /// what others hold.
    pub(crate) patience: Duration,
    pub(crate) lanes_max: usize,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) waiting: Waiting,
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

impl Writer {
    /// Queues an append; its answer comes when it is stored or refused.
    pub(crate) fn submit(self: &Arc<Self>, pending: Pending) {
        let is_lane_due = {
            let mut queue = self.queue();
            queue.pending.push_back(pending);
            let is_due = queue.lanes < self.lanes_max;
            queue.lanes += usize::from(is_due);
            is_due
        };
        if is_lane_due {
            self.start_lane();
        }
    }

    /// Not while the queue is locked: in a runtime that ends the lane does so at once.
    fn start_lane(self: &Arc<Self>) {
        let lane = Lane { writer: Arc::clone(self), is_open: true, has_begun: false };
        tokio::spawn(lane.run());
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nobody panics while holding the queue")
    }

    /// Sees to it that every append of a group is answered, now or by somebody else later.
    pub(crate) async fn store(self: &Arc<Self>, mut group: Vec<Pending>, mut locks: Locks) {
        let mut meetings = 0;
        while !group.is_empty() {
            let error = match self.send_until_known(&mut group, locks).await {
                Ok(Answer::Done(outcomes)) => return self.answer(group, outcomes),
                Ok(Answer::Busy(busy)) => {
                    group = self.set_aside(group, &busy);
                    continue;
                }
                Ok(Answer::Stored) => {
                    group = self.answer_repeats(group).await;
                    continue;
                }
                Err(error) => error,
            };
            if is_held(&error) && locks == Locks::Briefly {
                // Who holds what is told to who only tries.
                locks = Locks::Try;
                group = self.fail_impatient(group, &error);
            } else if is_meeting(&error, group.len()) && meetings < MEETINGS_MAX {
                meetings += 1;
                if is_unsettled(&error) {
                    self.settle().await;
                }
            } else if is_of_one(&error) && group.len() > 1 {
                // One of them cannot be stored, and only trying tells which.
                for pending in group {
                    Box::pin(self.store(vec![pending], locks)).await;
                }
                return;
            } else {
                tracing::warn!(error = %chain(&error), "storing appends failed");
                group.into_iter().for_each(|pending| pending.fail(&error));
                return;
            }
        }
    }

    fn answer(&self, group: Vec<Pending>, outcomes: Vec<Outcome>) {
        let appended = outcomes.iter().any(Result::is_ok);
        self.ahead.appended(&outcomes);
        for (pending, outcome) in group.into_iter().zip(outcomes) {
            pending.answer(outcome);
        }
        if appended {
            self.bell.appended();
        }
    }

    /// Sends a group; again with the same event ids as long as its outcome is unknown, which
    /// does no harm: what is stored already is recognised (S7).
    async fn send_until_known(&self, group: &mut [Pending], locks: Locks) -> Result<Answer, Error> {
        let keys = keys(group);
        let mut pause = SEND_AGAIN[0];
        loop {
            let unknown_since = group.iter().filter_map(|pending| pending.unknown_since).min();
            let error = match self.send(group, &keys, locks, unknown_since).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Refused(error)) => {
                    let is_alone = group.len() == 1;
                    let is_for_caller = is_held(&error) && locks == Locks::Briefly
                        || is_meeting(&error, group.len())
                        || is_of_one(&error) && !is_alone;
                    if unknown_since.is_none() || is_for_caller {
                        return Err(error);
                    }
                    error
                }
                Err(Failure::Unknown(error)) => {
                    let now = Instant::now();
                    for pending in group.iter_mut() {
                        pending.unknown_since.get_or_insert(now);
                    }
                    error
                }
            };
            let is_over = unknown_since.is_some_and(|since| since.elapsed() > self.patience);
            if is_over || self.connections.pool().is_closed() {
                return Err(error);
            }
            tracing::warn!(error = %chain(&error), "the outcome of an append is unknown; repeating it");
            sleep(pause).await;
            pause = (pause * 2).min(SEND_AGAIN[1]);
        }
    }

    async fn send(
        &self,
        group: &[Pending],
        keys: &crate::keys::Keys,
        locks: Locks,
        unknown_since: Option<Instant>,
    ) -> Result<Answer, Failure> {
        let now = Instant::now();
        let limit = self.connections.limit();
        let (deadline, connection) = match unknown_since {
            None => (now + limit, self.connections.take_by(now + limit).await),
            Some(since) => {
                let deadline = (since + self.patience).max(now + ATTEMPT_MIN);
                (deadline, self.connections.take_tested_by(deadline).await)
            }
        };
        let mut connection = connection.map_err(Failure::Refused)?;
        let appends: Vec<_> = group.iter().map(|pending| &*pending.append).collect();
        let moment = self.clock.as_ref().map(|clock| clock.now());
        let mut extensions = 0;
        let answer = loop {
            let sent = send(&mut connection, &self.schema, &appends, keys, locks, moment);
            let answer = timeout_at(deadline, sent).await;
            let answer = answer.map_err(|_| Failure::Unknown(no_answer(deadline - now)))?;
            if !answer.as_ref().is_err_and(is_partition_missing) || extensions == EXTENSIONS_MAX {
                break answer;
            }
            extensions += 1;
            let extended = timeout_at(deadline, self.ahead.extend()).await;
            extended
                .unwrap_or_else(|_| Err(no_answer(deadline - now)))
                .map_err(Failure::Refused)?;
        };
        match &answer {
            Ok(_) => self.connections.give_back(connection),
            Err(error) => self.connections.put_away(connection, error),
        }
        answer.map_err(|error| match fault::outcome(&error) {
            fault::Outcome::Refused => Failure::Refused(error),
            fault::Outcome::Unknown => Failure::Unknown(error),
        })
    }

    /// Lets the log settle on its server. When that fails, the next append will tell.
    pub(crate) async fn settle(&self) {
        let limit = self.connections.limit();
        let settled = async {
            let mut connection = self.connections.take().await?;
            check::settle(&mut connection, &self.schema).await?;
            self.connections.give_back(connection);
            Ok(())
        };
        let settled = timeout(limit, settled).await.unwrap_or_else(|_| Err(no_answer(limit)));
        if let Err(error) = settled {
            tracing::warn!(error = %chain(&error), "the log could not settle on its new server");
        }
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

    /// Asks until there is an answer or patience has run out: whatever became of a connection, it
    /// is only a question.
    async fn repeated(&self, append: &Append) -> Result<Result<Option<Receipt>, Invalid>, Error> {
        let deadline = Instant::now() + self.patience;
        let mut connection = self.connections.take().await?;
        loop {
            match self.repeated_by(connection, append).await {
                Err(error) if fault::is_connection_lost(&error) && Instant::now() < deadline => {
                    tracing::warn!(error = %chain(&error), "looking for a repeat once more");
                    sleep(SEND_AGAIN[0]).await;
                    connection = self.connections.take_tested_by(deadline).await?;
                }
                answer => return answer,
            }
        }
    }

    async fn repeated_by(
        &self,
        mut connection: Lent,
        append: &Append,
    ) -> Result<Result<Option<Receipt>, Invalid>, Error> {
        let limit = self.connections.limit();
        let repeated = timeout(limit, repeated(&mut connection, &self.schema, append)).await;
        // Unless there is an answer the connection is closed: it may be to a standby by now.
        let repeated = repeated.unwrap_or_else(|_| Err(no_answer(limit)))?;
        self.connections.give_back(connection);
        Ok(repeated)
    }
}

/// Why a group has no answer.
enum Failure {
    /// Nothing was written.
    Refused(Error),
    /// It may have been written.
    Unknown(Error),
}

/// Whether a group was refused because of somebody else, and may be stored at once: the ids of an
/// append met those of another one, and some of them are stored now.
fn is_meeting(error: &Error, appends: usize) -> bool {
    is_deadlock(error) || is_unsettled(error) || is_id_taken(error) && appends == 1
}

/// A task that stores groups until nobody waits.
struct Lane {
    writer: Arc<Writer>,
    /// Whether it is counted.
    is_open: bool,
    has_begun: bool,
}

impl Lane {
    async fn run(mut self) {
        self.has_begun = true;
        while let Some(group) = self.next() {
            self.writer.store(group, Locks::Try).await;
        }
    }

    fn next(&mut self) -> Option<Vec<Pending>> {
        let mut queue = self.writer.queue();
        let group = gather(&mut queue.pending);
        if group.is_empty() {
            queue.lanes -= 1;
            self.is_open = false;
            return None;
        }
        Some(group)
    }
}

impl Drop for Lane {
    /// It has panicked, or its runtime has ended, and perhaps others go on.
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        if self.has_begun && std::thread::panicking() {
            // Another one in its place. Its group is lost, and the callers learn that.
            return self.writer.start_lane();
        }
        let mut queue = self.writer.queue();
        queue.lanes -= 1;
        if queue.lanes == 0 {
            queue.pending.drain(..).for_each(Pending::abandon);
        }
    }
}
