//! Breaches of S9.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use annals_core::error::AppendError;
use annals_core::{
    Append, Clock, Direction, EventId, EventStore, EventStream, Read, Receipt, RecordedEvent,
    Timestamp,
};
use async_trait::async_trait;
use futures_util::TryStreamExt;

use crate::decorate::{Decorator, changed};

/// Records what the clock shows, also when it has jumped back.
#[derive(Debug)]
pub struct TrustsTheClock {
    clock: Arc<dyn Clock>,
    recorded: Arc<Mutex<HashMap<EventId, Timestamp>>>,
}

impl TrustsTheClock {
    /// With the clock of the store beneath.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, recorded: Arc::default() }
    }
}

#[async_trait]
impl Decorator for TrustsTheClock {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        let now = self.clock.now();
        let ids: Vec<_> = append.events().map(|event| event.id).collect();
        let mut receipt = store.append(append).await?;
        let mut recorded = self.recorded.lock().expect("no code panics while recording");
        for id in ids {
            receipt.recorded_at = *recorded.entry(id).or_insert(now);
        }
        Ok(receipt)
    }

    fn read(&self, store: &Arc<dyn EventStore>, read: Read) -> EventStream {
        let recorded = self.recorded.clone();
        changed(store.read(read), move |mut event| {
            let recorded = recorded.lock().expect("no code panics while recording");
            event.recorded_at = recorded.get(&event.id).copied().unwrap_or(event.recorded_at);
            event
        })
    }
}

/// Stamps each event by itself, the later the earlier.
#[derive(Debug)]
pub struct StampsEachEvent;

#[async_trait]
impl Decorator for StampsEachEvent {
    fn read(&self, store: &Arc<dyn EventStore>, read: Read) -> EventStream {
        changed(store.read(read), |mut event| {
            let back = event.position.get().cast_signed() * 1_000_000;
            event.recorded_at = Timestamp::from_micros(event.recorded_at.as_micros() - back);
            event
        })
    }
}

/// Keeps moments in milliseconds.
#[derive(Debug)]
pub struct KeepsMilliseconds;

#[async_trait]
impl Decorator for KeepsMilliseconds {
    fn read(&self, store: &Arc<dyn EventStore>, read: Read) -> EventStream {
        let cut = |moment: Timestamp| {
            let micros = moment.as_micros();
            Timestamp::from_micros(micros - micros.rem_euclid(1_000))
        };
        changed(store.read(read), move |mut event: RecordedEvent| {
            event.recorded_at = cut(event.recorded_at);
            event.occurred_at = cut(event.occurred_at);
            event
        })
    }
}

/// Answers "as at" for a moment a little earlier than the one that was asked about.
#[derive(Debug)]
pub struct AnswersForEarlier;

#[async_trait]
impl Decorator for AnswersForEarlier {
    fn read(&self, store: &Arc<dyn EventStore>, mut read: Read) -> EventStream {
        read.as_at = read.as_at.map(|at| Timestamp::from_micros(at.as_micros() - 1));
        store.read(read)
    }
}

/// Looks at the last few events that match, and only then at when they were recorded.
#[derive(Debug)]
pub struct LooksAtOnePage;

#[async_trait]
impl Decorator for LooksAtOnePage {
    fn read(&self, store: &Arc<dyn EventStore>, read: Read) -> EventStream {
        let Some(moment) = read.as_at.filter(|_| read.direction == Direction::Backward) else {
            return store.read(read);
        };
        let mut page = read.limit(64);
        page.as_at = None;
        let then = move |event: &RecordedEvent| std::future::ready(event.recorded_at <= moment);
        Box::pin(store.read(page).try_filter(then))
    }
}
