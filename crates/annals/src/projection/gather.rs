//! Gathers the notices of a subscription into stretches of the log.

use annals_core::{Notice, Position, RecordedEvent};
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::error::LoadError;
use crate::reading::CurrentNotices;

/// A part that owns few of the events moves its checkpoint at least after so many stretches'
/// worth of others.
const PASSED_OVER_MAX: usize = 16;

/// A stretch has about so many bytes of data at most, so that large events do not fill the memory.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Reads stretches.
pub(super) struct Gatherer {
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

impl Gatherer {
    pub(super) fn new(notices: CurrentNotices) -> Self {
        Self { notices, ahead: None }
    }

    /// The next stretch: up to the log's end, or `events_max` events; with a `bound`, so long
    /// after its first event as that says, also beyond the log's end.
    ///
    /// It ends between two positions, never between the events that one is split into. It must
    /// not be dropped while it waits behind its first event.
    pub(super) async fn next(
        &mut self,
        events_max: usize,
        bound: std::time::Duration,
        concerns: impl Fn(&RecordedEvent) -> bool,
    ) -> Result<Gathered, LoadError> {
        let mut gathered = Gathered { events: Vec::new(), to: Position::START, is_at_head: false };
        let (mut seen, mut bytes) = (0_usize, 0_usize);
        let mut deadline = None;
        loop {
            let notice = match self.ahead.take() {
                Some(event) => Notice::Event(event),
                None => match within(deadline, self.notices.next()).await {
                    Some(notice) => notice.unwrap_or(Err(annals_core::ReadError::Closed.into()))?,
                    None => return Ok(gathered),
                },
            };
            match notice {
                Notice::Event(event) => {
                    let is_full = gathered.events.len() >= events_max
                        || bytes >= BYTES_MAX
                        || seen >= events_max.saturating_mul(PASSED_OVER_MAX);
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
                    if !bound.is_zero() && deadline.is_none() {
                        deadline = Some(Instant::now() + bound);
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
