//! Breaches of S2.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use annals_core::error::{AppendError, ReadError};
use annals_core::{
    Append, EventStore, EventStream, ExpectedVersion, Notice, Position, Read, Receipt, StreamId,
    Subscribe, Subscription, Version,
};
use async_trait::async_trait;
use futures_util::StreamExt;

use super::{salted, stored};
use crate::decorate::{Decorator, without};

/// Has lost the last event that its log held before it was opened.
#[derive(Debug)]
pub struct LosesTheTail {
    lost: Position,
}

impl LosesTheTail {
    /// Over a store that is opened now, with its log up to `head`.
    #[must_use]
    pub fn with_head(head: Position) -> Self {
        Self { lost: head }
    }
}

#[async_trait]
impl Decorator for LosesTheTail {
    fn read(&self, store: &Arc<dyn EventStore>, read: Read) -> EventStream {
        let lost = self.lost;
        Box::pin(store.read(read).filter(move |event| {
            let kept = !matches!(event, Ok(event) if event.position == lost);
            std::future::ready(kept)
        }))
    }

    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        let lost = self.lost;
        without(
            store.subscribe(subscribe),
            move |notice| matches!(notice, Notice::Event(event) if event.position == lost),
        )
    }

    async fn head(&self, store: &Arc<dyn EventStore>) -> Result<Position, ReadError> {
        let before = self.read(store, Read::all().backward().limit(2)).next().await.transpose()?;
        Ok(before.map_or(Position::START, |event| event.position))
    }
}

/// Checks appends against what it remembers, and remembers nothing from before it was opened.
#[derive(Debug, Default)]
pub struct RemembersSinceOpening {
    streams: Mutex<HashSet<StreamId>>,
}

#[async_trait]
impl Decorator for RemembersSinceOpening {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        mut append: Append,
    ) -> Result<Receipt, AppendError> {
        let fresh = {
            let mut known = self.streams.lock().expect("no code panics while remembering");
            let fresh = append.streams.iter().all(|part| !known.contains(&part.stream));
            known.extend(append.streams.iter().map(|part| part.stream.clone()));
            fresh
        };
        if fresh {
            append.conditions.clear();
            for part in &mut append.streams {
                if part.expected.accepts(Version::EMPTY) {
                    part.expected = ExpectedVersion::Any;
                }
            }
            if !stored(store, &append).await?.is_empty() {
                for part in &mut append.streams {
                    part.events.iter_mut().for_each(|event| event.id = salted(event.id, 1));
                }
            }
        }
        store.append(append).await
    }
}
