//! Gathers the notices of a subscription into stretches of the log.

use std::time::Duration;

use annals_core::{Notice, Position, ReadError, RecordedEvent};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::LoadError;
use crate::reading::CurrentNotices;

/// A part that owns few of the events moves its checkpoint at least after so many stretches'
/// worth of others.
const PASSED_OVER_MAX: usize = 16;

/// A stretch has about so many bytes of data at most, so that large events do not fill the memory.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// So many stretches are read while one is applied.
const AHEAD: usize = 1;

/// Reads stretches, in a task of its own, so that one is read while the one before it is applied.
pub(super) struct Gatherer {
    stretches: mpsc::Receiver<Result<Gathered, LoadError>>,
    reading: JoinHandle<()>,
}

/// How large stretches get.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// At most so many events, but that those at one position stay together.
    pub(super) events_max: usize,
    /// So long after the first event further ones are waited for.
    pub(super) gather: Duration,
}

impl Gatherer {
    /// Begins to read.
    pub(super) fn start(
        notices: CurrentNotices,
        bounds: Bounds,
        concerns: impl Fn(&RecordedEvent) -> bool + Send + Sync + 'static,
    ) -> Self {
        let (sender, stretches) = mpsc::channel(AHEAD);
        let mut reader = Reader { notices, ahead: None };
        let reading = tokio::spawn(async move {
            loop {
                let gathered = reader.next(bounds, &concerns).await;
                let is_over = gathered.is_err();
                if sender.send(gathered).await.is_err() || is_over {
                    return;
                }
            }
        });
        Self { stretches, reading }
    }

    /// The next stretch. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Gathered, LoadError> {
        self.stretches.recv().await.unwrap_or_else(|| Err(ReadError::Closed.into()))
    }
}

impl Drop for Gatherer {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

struct Reader {
    notices: CurrentNotices,
    /// The first event of the next stretch.
    ahead: Option<RecordedEvent>,
}

/// A stretch of the log, as far as it concerns a part.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) events: Vec<RecordedEvent>,
    /// Everything up to here is in it, or concerns others.
    pub(super) to: Position,
    /// Whether the log's end was reached.
    pub(super) is_at_head: bool,
}

impl Reader {
    /// The next stretch: up to the log's end, or to one of the bounds. It ends between two
    /// positions, never between the events that one is split into.
    async fn next(
        &mut self,
        bounds: Bounds,
        concerns: &impl Fn(&RecordedEvent) -> bool,
    ) -> Result<Gathered, LoadError> {
        let mut gathered = Gathered { events: Vec::new(), to: Position::START, is_at_head: false };
        let (mut seen, mut bytes) = (0_usize, 0_usize);
        let mut deadline = None;
        loop {
            let notice = match self.ahead.take() {
                Some(event) => Notice::Event(event),
                None => match within(deadline, self.notices.next()).await {
                    Some(notice) => notice.unwrap_or(Err(ReadError::Closed.into()))?,
                    None => return Ok(gathered),
                },
            };
            match notice {
                Notice::Event(event) => {
                    let is_full = gathered.events.len() >= bounds.events_max
                        || bytes >= BYTES_MAX
                        || seen >= bounds.events_max.saturating_mul(PASSED_OVER_MAX);
                    if is_full && event.position > gathered.to {
                        self.ahead = Some(event);
                        return Ok(gathered);
                    }
                    seen += 1;
                    gathered.is_at_head = false;
                    gathered.to = event.position;
                    if concerns(&event) {
                        bytes += event.data.bytes.len();
                        gathered.events.push(event);
                    }
                    if !bounds.gather.is_zero() && deadline.is_none() {
                        deadline = Some(Instant::now() + bounds.gather);
                    }
                }
                Notice::CaughtUp(position) => {
                    gathered.to = gathered.to.max(position);
                    gathered.is_at_head = true;
                    if deadline.is_none() {
                        return Ok(gathered);
                    }
                }
            }
        }
    }
}

/// What a future comes to, or `None` when the deadline comes first.
async fn within<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}
