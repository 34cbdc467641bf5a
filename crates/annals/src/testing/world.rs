//! What a test runs in: a store in memory, ids that can be foretold, a clock that stands still.

use std::fmt::Display;
use std::sync::Arc;

use annals_core::{
    Append, EventStore, EventStoreExt, ExpectedVersion, Limits, ManualClock, MemoryStore, NewEvent,
    Position, Read, RecordedEvent, SequentialIds, StreamId, Timestamp,
};
use futures_util::FutureExt;

use crate::testing::failure::chain;
use crate::{Annals, Context, Event};

/// The moment at which everything in a test happens: the beginning of 2026.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from_micros(1_767_225_600_000_000)
}

/// In which conversation everything in a test happens, unless it says otherwise.
const CONVERSATION: &str = "test";

#[derive(Debug)]
pub(super) struct World {
    store: MemoryStore,
    annals: Annals,
    /// What the test does happens in this context.
    context: Context,
}

impl World {
    pub(super) fn new() -> Self {
        let store = MemoryStore::with(Arc::new(ManualClock::at(now())), Limits::DEFAULT);
        let annals = Annals::new(store.clone())
            .with_clock(ManualClock::at(now()))
            .with_ids(SequentialIds::default());
        Self { store, annals, context: Context::new().correlation(CONVERSATION) }
    }

    pub(super) fn annals(&self) -> &Annals {
        &self.annals
    }

    /// What the test does now, in its context.
    pub(super) fn context(&self) -> Context {
        self.context.clone()
    }

    pub(super) fn by(&mut self, context: Context) {
        self.context = context.within(&self.context);
    }

    #[track_caller]
    pub(super) fn give<E: Event>(&self, stream: &StreamId, events: impl IntoIterator<Item = E>) {
        let encoded = events.into_iter().map(|event| match event.encode() {
            Ok(event) => event,
            Err(error) => panic!("a given event cannot be stored: {}", chain(&error)),
        });
        self.give_encoded(stream, encoded.collect());
    }

    #[track_caller]
    pub(super) fn give_encoded(&self, stream: &StreamId, mut events: Vec<NewEvent>) {
        if events.is_empty() {
            return;
        }
        for event in &mut events {
            event.id = self.annals.ids.next();
        }
        let append = Append::to(stream.clone(), ExpectedVersion::Any, events);
        if let Err(error) = at_once(self.store.append(append)) {
            panic!("the given events cannot be stored: {}", chain(&error));
        }
    }

    /// Everything that was recorded after a position.
    pub(super) fn log(&self, after: Position) -> Vec<RecordedEvent> {
        let log = at_once(self.store.read_to_end(Read::all().after(after)));
        log.expect("a store in memory can be read")
    }

    pub(super) fn head(&self) -> Position {
        at_once(self.store.head()).expect("a store in memory can be read")
    }
}

/// The stream of this name.
#[track_caller]
pub(super) fn stream(category: &str, id: impl Display) -> StreamId {
    match StreamId::of(category, id) {
        Ok(stream) => stream,
        Err(error) => panic!("events cannot be given in category {category:?}: {error}"),
    }
}

/// Runs what never waits.
#[track_caller]
pub(super) fn at_once<F: Future>(work: F) -> F::Output {
    let done = work.now_or_never();
    done.expect("whatever happens on a store in memory, with nobody else there, never waits")
}
