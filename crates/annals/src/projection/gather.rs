//! Gathers the notices of a subscription into stretches of the log.

use std::time::Duration;

use annals_core::{
    Fault, Notice, Panicked, PoisonEvent, Position, ReadError, RecordedEvent, Subscription,
};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::reading::Lens;
use crate::upcast::Upcasted;

/// A part that owns few of the events moves its checkpoint at least after so many stretches'
/// worth of others.
const PASSED_OVER_MAX: usize = 16;

/// A stretch has about so many bytes of data at most, so that large events do not fill the memory.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// So many stretches are read while one is applied.
const AHEAD: usize = 1;

/// Reads stretches, in a task of its own, so that one is read while the one before it is applied.
pub(super) struct Gatherer {
    stretches: mpsc::Receiver<Result<Gathered, ReadError>>,
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
    /// Begins to read what is stored, seen through a lens.
    pub(super) fn start(
        notices: Subscription,
        lens: Lens,
        bounds: Bounds,
        concerns: impl Fn(&RecordedEvent) -> bool + Send + Sync + 'static,
    ) -> Self {
        let (sender, stretches) = mpsc::channel(AHEAD);
        let mut reader = Reader { notices, lens, ahead: None };
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
    pub(super) async fn next(&mut self) -> Result<Gathered, ReadError> {
        let ended = || ReadError::Unavailable(Fault::new("reading the log: its task has panicked"));
        self.stretches.recv().await.unwrap_or_else(|| Err(ended()))
    }
}

impl Drop for Gatherer {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

struct Reader {
    notices: Subscription,
    lens: Lens,
    /// The first event of the next stretch, as it is stored.
    ahead: Option<RecordedEvent>,
}

/// A stretch of the log, as far as it concerns a part.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) events: Vec<RecordedEvent>,
    /// Everything up to here is in it, or concerns others.
    pub(super) to: Position,
    /// Behind all that, an event that may concern the part, but what it is now cannot be said.
    pub(super) unreadable: Option<PoisonEvent>,
    /// Whether the log's end was reached.
    pub(super) is_at_head: bool,
}

impl Reader {
    /// The next stretch: up to the log's end, to one of the bounds, or to an event that cannot be
    /// read. It ends between two positions, never between the events that one is split into.
    async fn next(
        &mut self,
        bounds: Bounds,
        concerns: &impl Fn(&RecordedEvent) -> bool,
    ) -> Result<Gathered, ReadError> {
        let mut gathered = Gathered {
            events: Vec::new(),
            to: Position::START,
            unreadable: None,
            is_at_head: false,
        };
        let (mut seen, mut bytes) = (0_usize, 0_usize);
        let mut deadline = None;
        loop {
            let notice = match self.ahead.take() {
                Some(event) => Notice::Event(event),
                None => match within(deadline, self.notices.next()).await {
                    Some(notice) => notice.unwrap_or(Err(ReadError::Closed))?,
                    None => return Ok(gathered),
                },
            };
            match notice {
                Notice::Event(stored) => {
                    let is_full = gathered.events.len() >= bounds.events_max
                        || bytes >= BYTES_MAX
                        || seen >= bounds.events_max.saturating_mul(PASSED_OVER_MAX);
                    if is_full {
                        self.ahead = Some(stored);
                        return Ok(gathered);
                    }
                    seen += 1;
                    gathered.is_at_head = false;
                    let (position, before) = (stored.position, gathered.events.len());
                    if let Err(poison) = self.look(stored, concerns, &mut gathered.events) {
                        gathered.unreadable = Some(poison);
                        return Ok(gathered);
                    }
                    gathered.to = position;
                    let added = gathered.events[before..].iter();
                    bytes += added.map(|event| event.data.bytes.len()).sum::<usize>();
                    if !bounds.gather.is_zero() && deadline.is_none() {
                        deadline = Instant::now().checked_add(bounds.gather);
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

    /// Adds what a stored event is now, as far as that concerns the part, or nothing at all.
    fn look(
        &self,
        stored: RecordedEvent,
        concerns: &impl Fn(&RecordedEvent) -> bool,
        events: &mut Vec<RecordedEvent>,
    ) -> Result<(), PoisonEvent> {
        // It is foreign code, and must not end the reading.
        let concerns = |event: &RecordedEvent| {
            Panicked::catch(|| concerns(event))
                .map_err(|panicked| PoisonEvent::new(event, panicked))
        };
        match self.lens.current(&stored) {
            Ok(Upcasted::AsStored) => {
                if concerns(&stored)? {
                    events.push(stored);
                }
            }
            Ok(Upcasted::Became(current)) => {
                let before = events.len();
                for event in current {
                    match concerns(&event) {
                        Ok(true) => events.push(event),
                        Ok(false) => {}
                        Err(poison) => {
                            events.truncate(before);
                            return Err(poison);
                        }
                    }
                }
            }
            Err(error) => {
                if concerns(&stored)? {
                    return Err(PoisonEvent::new(&stored, error));
                }
            }
        }
        Ok(())
    }
}

/// What a future comes to, or `None` when the deadline comes first.
async fn within<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}
