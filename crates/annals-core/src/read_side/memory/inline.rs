//! Projections that a log in memory runs itself, inside its appends.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::{Built, Kept, MemoryReadSide, Part, Place, Rows};
use crate::error::{AppendError, ReadSideError};
use crate::read_side::{
    Enrol, Generation, OnNewVersion, Partition, PoisonEvent, ProjectError, RowChange, RowFold,
    RowKey, SubscriberState,
};
use crate::{Panicked, Position, Query, RecordedEvent, Timestamp};

/// Who works the parts of a projection that runs inline: for ever, and nobody beside it.
const OWNER: &str = "the append";
/// What cannot be asked for, and what to do instead.
pub(super) const REBUILDING_INLINE: &str = "rebuilding a projection that runs inline; count its \
    version up and run it inline again, which builds it anew";

/// Projections that run inline, and where their rows are.
#[derive(Clone, Debug)]
pub(crate) struct Inline {
    read_side: MemoryReadSide,
    folds: Vec<Arc<dyn RowFold>>,
}

/// What a part's rows become because of events, before it is done.
struct Staged {
    place: Place,
    index: usize,
    changes: HashMap<RowKey, Option<Bytes>>,
    events: u64,
    to: Position,
}

impl Inline {
    /// Enrols projections. One that was made by another version of its code gets a new
    /// generation in the place of the old one.
    pub(crate) fn over(
        read_side: MemoryReadSide,
        folds: Vec<Arc<dyn RowFold>>,
        log: &[RecordedEvent],
        now: Timestamp,
    ) -> Result<Self, ProjectError> {
        let inline = Self { read_side, folds };
        let mut kept = inline.read_side.kept();
        for fold in &inline.folds {
            let generation = kept.enrol_inline(&**fold, now)?;
            let staged = inline.stage(&kept, &**fold, generation, log)?;
            kept.apply(staged, now);
            // It is at the end of the log, and nobody appends: it cannot be behind.
            kept.known(fold.name())?.put_in_place(generation);
        }
        drop(kept);
        Ok(inline)
    }

    /// Applies what the log holds behind each projection's checkpoint, for all of them or none.
    pub(crate) fn run(&self, log: &[RecordedEvent], now: Timestamp) -> Result<(), AppendError> {
        let mut kept = self.read_side.kept();
        let mut staged = Vec::new();
        for fold in &self.folds {
            let Some(generation) = kept.to_run(&**fold) else { continue };
            let vetoed = |error| AppendError::Vetoed {
                by: fold.name().clone(),
                source: Box::<ProjectError>::new(error),
            };
            staged.extend(self.stage(&kept, &**fold, generation, log).map_err(vetoed)?);
        }
        kept.apply(staged, now);
        Ok(())
    }

    fn stage(
        &self,
        kept: &Kept,
        fold: &dyn RowFold,
        generation: Generation,
        log: &[RecordedEvent],
    ) -> Result<Vec<Staged>, ProjectError> {
        let place = (fold.name().clone(), generation);
        let none = Rows::new();
        let rows = kept.rows.get(&place).unwrap_or(&none);
        let query = fold.query();
        let parts = kept.built(&place).map_or(&[][..], |built| &built.parts);
        let staged =
            parts.iter().map(|part| self.stage_part(fold, &query, &place, rows, part, log));
        staged.collect()
    }

    fn stage_part(
        &self,
        fold: &dyn RowFold,
        query: &Query,
        place: &Place,
        rows: &Rows,
        part: &Part,
        log: &[RecordedEvent],
    ) -> Result<Staged, ProjectError> {
        let behind = log.partition_point(|event| event.position <= part.position);
        let to = log.last().map_or(part.position, |event| event.position.max(part.position));
        let mut staged = Staged {
            place: place.clone(),
            index: part.partition.index as usize,
            changes: HashMap::new(),
            events: 0,
            to,
        };
        for event in log[behind..].iter().filter(|event| query.matches(event)) {
            // It is foreign code, and must not leave the locks behind that it runs under.
            Panicked::catch(|| staged.fold(fold, rows, part.partition, event))
                .unwrap_or_else(|panicked| Err(PoisonEvent::new(event, panicked)))?;
        }
        for (key, value) in &staged.changes {
            let change = RowChange { key: key.clone(), value: value.clone() };
            self.read_side.limits.check_row(&change).map_err(ReadSideError::from)?;
        }
        Ok(staged)
    }
}

impl Staged {
    fn fold(
        &mut self,
        fold: &dyn RowFold,
        rows: &Rows,
        partition: Partition,
        event: &RecordedEvent,
    ) -> Result<(), PoisonEvent> {
        let keys: BTreeSet<RowKey> = fold.keys(event)?.into_iter().collect();
        let now = |key: &RowKey| match self.changes.get(key) {
            Some(changed) => changed.clone(),
            None => rows.get(key).cloned(),
        };
        let present = keys.iter().filter_map(|key| Some((key.clone(), now(key)?)));
        let mut values: HashMap<RowKey, Bytes> = present.collect();
        fold.fold(event, &mut values, &|key| partition.owns(key.as_str()))?;
        let owned = keys.into_iter().filter(|key| partition.owns(key.as_str()));
        for key in owned {
            let value = values.remove(&key);
            self.changes.insert(key, value);
        }
        self.events += 1;
        Ok(())
    }
}

impl Kept {
    /// The generation that is to be caught up and made active.
    fn enrol_inline(
        &mut self,
        fold: &dyn RowFold,
        now: Timestamp,
    ) -> Result<Generation, ReadSideError> {
        self.enrol(&Enrol {
            subscriber: fold.name().clone(),
            version: fold.version(),
            partitions: 1,
            after: Position::START,
            on_new_version: OnNewVersion::Rebuild,
            now,
        })?;
        let mut generations = self.known(fold.name())?.generations.iter();
        let made = generations.find(|built| built.version == fold.version());
        Ok(made.expect("whoever has enrolled has a generation of its version").generation)
    }

    /// The active generation, if it is the fold's and does not wait.
    fn to_run(&self, fold: &dyn RowFold) -> Option<Generation> {
        let subscriber = self.subscribers.get(fold.name())?;
        let active = subscriber.active();
        let runs = subscriber.state != SubscriberState::Paused;
        (runs && active.version == fold.version()).then_some(active.generation)
    }

    fn built(&self, (subscriber, generation): &Place) -> Option<&Built> {
        let generations = &self.subscribers.get(subscriber)?.generations;
        generations.iter().find(|built| built.generation == *generation)
    }

    fn apply(&mut self, staged: Vec<Staged>, now: Timestamp) {
        for staged in staged {
            let (name, generation) = &staged.place;
            let subscriber = self.subscribers.get_mut(name);
            let built = subscriber.and_then(|subscriber| subscriber.generation(*generation));
            let part = built.and_then(|built| built.parts.get_mut(staged.index));
            let part = part.expect("what was staged is applied under the same lock");
            part.taken_by_the_append(&mut self.fence);
            part.position = staged.to;
            part.events += staged.events;
            part.moved_at = now;
            part.failure = None;
            let rows = self.rows.entry(staged.place).or_default();
            for (key, value) in staged.changes {
                super::rows::write(rows, RowChange { key, value });
            }
        }
    }
}

impl Built {
    /// Whether appends work it.
    pub(super) fn runs_inline(&self) -> bool {
        let owners = self.parts.iter().filter_map(|part| part.owner.as_ref());
        owners.into_iter().any(|(owner, _)| **owner == *OWNER)
    }
}

impl Part {
    fn taken_by_the_append(&mut self, fence: &mut u64) {
        if self.owner.as_ref().is_none_or(|(owner, _)| **owner != *OWNER) {
            *fence += 1;
            self.fence = *fence;
            self.owner = Some((OWNER.into(), Timestamp::MAX));
        }
    }
}
