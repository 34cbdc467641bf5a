//! Breaches of S6.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_core::error::{AppendError, Conflict};
use annals_core::{
    Append, AppendCondition, EventStore, ExpectedVersion, Position, QueryItem, Receipt, Version,
};
use async_trait::async_trait;

use super::{Crossing, look, stored, unconditional};
use crate::decorate::Decorator;

/// Judges appends without looking at something.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_enums, reason = "the list of oversights is for tests only")]
pub enum Overlooks {
    /// Takes every expected version for `Any`.
    ExpectedVersions,
    /// Checks only the streams that it writes to.
    StreamsWithoutEvents,
    /// Writes whatever the conditions say.
    Conditions,
    /// Checks one condition and forgets the others.
    LaterConditions,
    /// Conflicts with events that the caller has seen.
    WhatWasSeen,
    /// Conflicts with events that have other tags, as a store does that locks by type.
    Tags,
}

#[async_trait]
impl Decorator for Overlooks {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        mut append: Append,
    ) -> Result<Receipt, AppendError> {
        let (streams, conditions) = (&mut append.streams, &mut append.conditions);
        match self {
            Self::ExpectedVersions => {
                streams.iter_mut().for_each(|part| part.expected = ExpectedVersion::Any);
            }
            Self::StreamsWithoutEvents if streams.iter().any(|part| !part.events.is_empty()) => {
                streams.retain(|part| !part.events.is_empty());
            }
            Self::StreamsWithoutEvents => {}
            Self::Conditions => conditions.clear(),
            Self::LaterConditions => conditions.truncate(1),
            Self::WhatWasSeen => {
                conditions.iter_mut().for_each(|condition| condition.after = Position::START);
            }
            Self::Tags => {
                conditions.iter_mut().for_each(|condition| {
                    let items = condition.query.items().iter();
                    condition.query =
                        items.map(|item| QueryItem { tags: Vec::new(), ..item.clone() }).collect();
                });
            }
        }
        store.append(append).await
    }
}

/// Looks first and writes afterwards, without a lock in between.
#[derive(Debug, Default)]
pub struct LooksBeforeItWrites {
    crossing: Crossing,
}

#[async_trait]
impl Decorator for LooksBeforeItWrites {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        append.check(store.limits())?;
        if stored(store, &append).await?.is_empty() {
            look(store, &append).await?;
            self.crossing.meet().await;
        }
        store.append(unconditional(append)).await
    }
}

/// Writes appends in groups, and a conflict of one fails the whole group.
#[derive(Debug, Default)]
pub struct FailsNeighbours {
    conflicts: AtomicUsize,
    crossing: Crossing,
}

#[async_trait]
impl Decorator for FailsNeighbours {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        let before = self.conflicts.load(Ordering::SeqCst);
        self.crossing.meet().await;
        if self.conflicts.load(Ordering::SeqCst) != before
            && let Some(part) = append.streams.first()
        {
            let (stream, expected) = (part.stream.clone(), part.expected);
            return Err(Conflict::Version { stream, expected, found: Version::EMPTY }.into());
        }
        let outcome = store.append(append).await;
        if matches!(outcome, Err(AppendError::Conflict(_))) {
            self.conflicts.fetch_add(1, Ordering::SeqCst);
        }
        outcome
    }
}

/// Counts an append's own events when it checks its conditions.
#[derive(Debug)]
pub struct ConflictsWithItself;

#[async_trait]
impl Decorator for ConflictsWithItself {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        let own = |condition: &&AppendCondition| {
            let types = condition.query.items().iter().flat_map(|item| &item.types);
            types.into_iter().any(|name| append.events().any(|event| event.event_type == *name))
        };
        let clash = append.conditions.iter().find(own).cloned();
        let receipt = store.append(append).await?;
        match clash {
            Some(condition) => {
                let found = receipt.first_position;
                Err(Conflict::Condition { condition, found }.into())
            }
            None => Ok(receipt),
        }
    }
}

/// Conflicts rightly, but tells neither what was expected nor what was found.
#[derive(Debug)]
pub struct ConflictsWithoutReason;

#[async_trait]
impl Decorator for ConflictsWithoutReason {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        let first = append.streams.first().map(|part| part.stream.clone());
        match (store.append(append).await, first) {
            (Err(AppendError::Conflict(_)), Some(stream)) => {
                let (expected, found) = (ExpectedVersion::Any, Version::EMPTY);
                Err(Conflict::Version { stream, expected, found }.into())
            }
            (outcome, _) => outcome,
        }
    }
}
