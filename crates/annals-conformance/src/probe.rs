//! A store under test, with words for what a case expects of it.

use std::fmt::Write as _;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use annals_core::error::{AppendError, Conflict, Invalid, ReadError};
use annals_core::{
    Append, EventStore, EventStoreExt, Position, Read, Receipt, RecordedEvent, Subscribe, Version,
};
use std::collections::HashMap;

use crate::Backend;
use crate::follower::Follower;

/// How long a case waits for what must come, unless it is told otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often an append with an unknown outcome is repeated.
const REPEATS_MAX: usize = 64;

tokio::task_local! {
    /// How long the case at hand waits for what must come.
    pub(crate) static PATIENCE_OF_CASE: Duration;
}

/// A handle on the store under test; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    store: Arc<dyn EventStore>,
}

impl Probe {
    pub(crate) async fn open<B: Backend + ?Sized>(backend: &B) -> Self {
        Self::over(backend.open().await)
    }

    pub(crate) fn over(store: Arc<dyn EventStore>) -> Self {
        Self { store }
    }

    pub(crate) fn store(&self) -> &dyn EventStore {
        &*self.store
    }

    /// Appends as every careful caller does: as long as the outcome is unknown or the store is
    /// not available, the same append is repeated.
    pub(crate) async fn append(&self, append: &Append) -> Result<Receipt, AppendError> {
        let mut outcome = within("an append", self.store.append(append.clone())).await;
        for _ in 0..REPEATS_MAX {
            match outcome {
                Err(AppendError::Indeterminate(_) | AppendError::Unavailable(_)) => {
                    tokio::task::yield_now().await;
                    outcome = within("an append", self.store.append(append.clone())).await;
                }
                known => return known,
            }
        }
        outcome
    }

    /// An append that must succeed.
    #[track_caller]
    pub(crate) fn accepts(&self, append: Append) -> impl Future<Output = Receipt> + Send {
        let at = Location::caller();
        async move {
            match self.append(&append).await {
                Ok(receipt) => receipt,
                Err(error) => panic!(
                    "{at}: an append must succeed, but: {error} ({error:?})\nthe append: {}",
                    brief(&append)
                ),
            }
        }
    }

    /// An append that must conflict, and must leave the log as it is.
    #[track_caller]
    pub(crate) fn conflicts(&self, append: Append) -> impl Future<Output = Conflict> + Send {
        let at = Location::caller();
        async move {
            let before = self.log().await;
            let outcome = self.append(&append).await;
            let conflict = match outcome {
                Err(AppendError::Conflict(conflict)) => *conflict,
                other => panic!(
                    "{at}: an append must conflict, but: {other:?}\nthe append: {}",
                    brief(&append)
                ),
            };
            same_events("the log after a conflict", &before, &self.log().await);
            conflict
        }
    }

    /// An append that must be refused as invalid, and must leave the log as it is.
    #[track_caller]
    pub(crate) fn refuses(&self, append: Append) -> impl Future<Output = Invalid> + Send {
        let at = Location::caller();
        async move {
            let before = self.log().await;
            let outcome = self.append(&append).await;
            let invalid = match outcome {
                Err(AppendError::Invalid(invalid)) => invalid,
                other => panic!(
                    "{at}: an append must be refused as invalid, but: {other:?}\nthe append: {}",
                    brief(&append)
                ),
            };
            same_events("the log after an invalid append", &before, &self.log().await);
            invalid
        }
    }

    /// A read that must succeed.
    #[track_caller]
    pub(crate) fn read(&self, read: Read) -> impl Future<Output = Vec<RecordedEvent>> + Send {
        let at = Location::caller();
        async move {
            let found = within("a read", self.store.read_to_end(read.clone())).await;
            found.unwrap_or_else(|error| {
                panic!("{at}: a read must succeed, but: {error} ({error:?})\nthe read: {read:?}")
            })
        }
    }

    /// A read that must be refused as invalid.
    #[track_caller]
    pub(crate) fn refuses_read(&self, read: Read) -> impl Future<Output = Invalid> + Send {
        let at = Location::caller();
        async move {
            match within("a read", self.store.read_to_end(read.clone())).await {
                Err(ReadError::Invalid(invalid)) => invalid,
                other => panic!(
                    "{at}: a read must be refused as invalid, but: {other:?}\nthe read: {read:?}"
                ),
            }
        }
    }

    /// The whole log, after making sure that it is one: positions rise (S4), versions are dense
    /// (S3), `recorded_at` never decreases within a stream (S9).
    pub(crate) async fn log(&self) -> Vec<RecordedEvent> {
        let log = self.read(Read::all()).await;
        audit(&log);
        log
    }

    pub(crate) async fn head(&self) -> Position {
        within("the head", self.store.head())
            .await
            .unwrap_or_else(|error| panic!("the head must be known, but: {error} ({error:?})"))
    }

    pub(crate) fn subscribe(&self, subscribe: Subscribe) -> Follower {
        Follower::new(self.store.subscribe(subscribe.clone()), subscribe)
    }
}

/// Waits for what must come, but not for ever; and lets others run, for a store in memory never
/// waits by itself.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::task::yield_now().await;
    let patience = patience();
    match tokio::time::timeout(patience, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {patience:?} for {what} in vain"),
    }
}

pub(crate) fn patience() -> Duration {
    PATIENCE_OF_CASE.try_with(|patience| *patience).unwrap_or(PATIENCE)
}

/// Panics with the first breach of S3, S4 or S9 in a whole log.
pub(crate) fn audit(log: &[RecordedEvent]) {
    let mut tips = HashMap::new();
    let mut last = Position::START;
    for event in log {
        assert!(
            event.position > last,
            "positions must rise, but behind {last:?} stands {}",
            line(event)
        );
        last = event.position;
        let tip = tips.entry(&event.stream).or_insert((Version::EMPTY, event.recorded_at));
        assert!(
            event.version == tip.0.next(),
            "versions must be dense, but behind version {} of its stream stands {}",
            tip.0,
            line(event)
        );
        assert!(
            event.recorded_at >= tip.1,
            "recorded_at must not decrease within a stream, but behind {} stands {} of {}",
            tip.1,
            event.recorded_at,
            line(event)
        );
        *tip = (event.version, event.recorded_at);
    }
}

/// Panics unless both are the same events, with the first difference and what surrounds it.
#[track_caller]
pub(crate) fn same_events(what: &str, expected: &[RecordedEvent], found: &[RecordedEvent]) {
    let pairs = expected.iter().zip(found);
    let same = pairs.take_while(|(left, right)| left == right).count();
    if same == expected.len() && same == found.len() {
        return;
    }
    let mut text = format!(
        "{what}: expected {} events, found {}; they differ from number {} on\n",
        expected.len(),
        found.len(),
        same + 1
    );
    for (side, events) in [("expected", expected), ("found", found)] {
        let _ = writeln!(text, "{side}:");
        for event in events.iter().skip(same.saturating_sub(2)).take(6) {
            let _ = writeln!(text, "  {}", line(event));
        }
    }
    if let (Some(left), Some(right)) = (expected.get(same), found.get(same))
        && line(left) == line(right)
    {
        let _ = writeln!(text, "in full:\n  {left:?}\n  {right:?}");
    }
    panic!("{text}");
}

/// An event on one line.
pub(crate) fn line(event: &RecordedEvent) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?} {}",
        event.position, event.stream, event.version, event.event_type, event.tags, event.id
    )
}

/// An append without the bytes of its events.
pub(crate) fn brief(append: &Append) -> String {
    let mut text = String::new();
    for part in &append.streams {
        let types: Vec<_> = part.events.iter().take(8).map(|event| &event.event_type).collect();
        let _ = write!(
            text,
            "{} events {types:?} to {:?} expecting {}; ",
            part.events.len(),
            part.stream,
            part.expected
        );
    }
    for condition in append.conditions.iter().take(8) {
        let _ = write!(text, "only if {condition:?}; ");
    }
    text
}
