//! Breaches of S7.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use annals_core::error::{AppendError, Fault};
use annals_core::{Append, EventId, EventStore, Receipt};
use async_trait::async_trait;

use super::{look, salted, stored};
use crate::decorate::Decorator;

/// Takes a repeat for a new append.
#[derive(Debug, Default)]
pub struct WritesRepeats {
    repeats: AtomicU8,
}

#[async_trait]
impl Decorator for WritesRepeats {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        mut append: Append,
    ) -> Result<Receipt, AppendError> {
        if !stored(store, &append).await?.is_empty() {
            let salt = self.repeats.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
            for part in &mut append.streams {
                part.events.iter_mut().for_each(|event| event.id = salted(event.id, salt));
            }
        }
        store.append(append).await
    }
}

/// Checks a repeat as if it were new: its own first writing stands in its way.
#[derive(Debug)]
pub struct RefusesRepeats;

#[async_trait]
impl Decorator for RefusesRepeats {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        append.check(store.limits())?;
        look(store, &append).await?;
        store.append(append).await
    }
}

/// Takes a repeat well, but answers as if it had been written anew.
#[derive(Debug)]
pub struct AnswersRepeatsAnew;

#[async_trait]
impl Decorator for AnswersRepeatsAnew {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        let repeat = !stored(store, &append).await?.is_empty();
        let mut receipt = store.append(append).await?;
        if repeat {
            receipt.last_position = store.head().await?;
            receipt.first_position = receipt.last_position;
        }
        Ok(receipt)
    }
}

/// Writes of each append what is not stored yet.
#[derive(Debug)]
pub struct SkipsStoredEvents;

#[async_trait]
impl Decorator for SkipsStoredEvents {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        let known = stored(store, &append).await?;
        let mut rest = append.clone();
        for part in &mut rest.streams {
            part.events.retain(|event| known.iter().all(|stored| stored.id != event.id));
        }
        let nothing_left = rest.events().next().is_none();
        match (store.append(if nothing_left { append } else { rest }).await, known.first()) {
            (Err(AppendError::Invalid(_)), Some(first)) => Ok(Receipt {
                first_position: first.position,
                last_position: first.position,
                recorded_at: first.recorded_at,
                streams: Vec::new(),
            }),
            (outcome, _) => outcome,
        }
    }
}

/// Remembers the ids of refused appends, and never takes them again.
#[derive(Debug, Default)]
pub struct BurnsIds {
    burnt: Mutex<HashSet<EventId>>,
}

#[async_trait]
impl Decorator for BurnsIds {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        let ids: Vec<_> = append.events().map(|event| event.id).collect();
        let burnt = || self.burnt.lock().expect("no code panics while remembering");
        if ids.iter().any(|id| burnt().contains(id)) {
            return Err(AppendError::Corrupt(Fault::new(
                "appending an id that was refused before",
            )));
        }
        let outcome = store.append(append).await;
        if matches!(outcome, Err(AppendError::Conflict(_))) {
            burnt().extend(ids);
        }
        outcome
    }
}
