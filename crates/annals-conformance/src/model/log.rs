//! The contract as plainly as it can be written: a list of events, and loops over it.
//!
//! On purpose it shares no code with the stores, not even [`Query::matches`].

use annals_core::error::{Conflict, Invalid};
use annals_core::{
    Append, AppendCondition, Direction, EventId, ExpectedVersion, NewEvent, Position, Query,
    QueryItem, Read, Receipt, Scope, StreamId, Timestamp,
};

#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) events: Vec<Stored>,
    /// Accepted appends with their receipts.
    pub(super) appends: Vec<(Append, Receipt)>,
}

#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) stream: StreamId,
    pub(super) version: u64,
    pub(super) event: NewEvent,
    /// As the store numbered it.
    pub(super) position: Position,
    pub(super) recorded_at: Timestamp,
    append: usize,
}

/// What the store must answer to an append.
#[derive(Debug)]
pub(super) enum Answer {
    /// Written: its events and their versions, in order.
    Written(Vec<(StreamId, u64, NewEvent)>),
    Repeated(Receipt),
    /// Refused, for at least one of the reasons that [`Log::is_true_conflict`] and
    /// [`Log::is_true_fault`] accept.
    Refused,
}

impl Log {
    pub(super) fn head(&self) -> Position {
        self.events.last().map_or(Position::START, |stored| stored.position)
    }

    pub(super) fn version(&self, stream: &StreamId) -> u64 {
        let mut version = 0;
        for stored in &self.events {
            if stored.stream == *stream {
                version += 1;
            }
        }
        version
    }

    pub(super) fn answer(&self, append: &Append) -> Answer {
        if self.faults(append).next().is_some() {
            return Answer::Refused;
        }
        if let Some(receipt) = self.repeated(append) {
            return Answer::Repeated(receipt);
        }
        let versions_hold =
            append.streams.iter().all(|part| accepts(part.expected, self.version(&part.stream)));
        let conditions_hold =
            append.conditions.iter().all(|condition| self.breaking(condition).is_empty());
        let ids_are_new = ids(append).iter().all(|id| self.stored(*id).is_none());
        if !(versions_hold && conditions_hold && ids_are_new) {
            return Answer::Refused;
        }
        let mut written = Vec::new();
        for part in &append.streams {
            let mut version = self.version(&part.stream);
            for event in &part.events {
                version += 1;
                written.push((part.stream.clone(), version, event.clone()));
            }
        }
        Answer::Written(written)
    }

    /// Takes over what the store has written, with the positions it gave.
    pub(super) fn write(&mut self, append: Append, receipt: Receipt, positions: &[Position]) {
        let number = self.appends.len();
        let mut positions = positions.iter();
        for part in &append.streams {
            for event in &part.events {
                let stored = Stored {
                    stream: part.stream.clone(),
                    version: self.version(&part.stream) + 1,
                    event: event.clone(),
                    position: *positions.next().expect("the player has counted them"),
                    recorded_at: receipt.recorded_at,
                    append: number,
                };
                self.events.push(stored);
            }
        }
        self.appends.push((append, receipt));
    }

    /// The first receipt, when all ids belong to one append to the same streams.
    fn repeated(&self, append: &Append) -> Option<Receipt> {
        let first = self.stored(*ids(append).first()?)?;
        let (before, receipt) = &self.appends[first.append];
        let given = |append: &Append| -> Vec<(StreamId, Vec<EventId>)> {
            let parts = append.streams.iter().filter(|part| !part.events.is_empty());
            parts
                .map(|part| (part.stream.clone(), part.events.iter().map(|e| e.id).collect()))
                .collect()
        };
        (given(before) == given(append)).then(|| receipt.clone())
    }

    pub(super) fn stored(&self, id: EventId) -> Option<&Stored> {
        self.events.iter().find(|stored| stored.event.id == id)
    }

    /// What is wrong with the append in itself.
    fn faults<'a>(&self, append: &'a Append) -> impl Iterator<Item = Invalid> + use<'a> {
        let none = ids(append).is_empty().then_some(Invalid::NoEvents);
        let streams = &append.streams;
        let twice = streams.iter().enumerate().filter_map(|(n, part)| {
            let before = streams[..n].iter().any(|other| other.stream == part.stream);
            before.then(|| Invalid::StreamTwice { stream: part.stream.clone() })
        });
        none.into_iter().chain(twice)
    }

    /// Whether the append may be refused so.
    pub(super) fn is_true_fault(&self, append: &Append, invalid: &Invalid) -> bool {
        if let Invalid::IdsPartlyStored { id, position } = invalid {
            let stored = self.stored(*id).is_some_and(|stored| stored.position == *position);
            return stored && ids(append).contains(id);
        }
        self.faults(append).any(|fault| fault == *invalid)
    }

    /// Whether the append conflicts so.
    pub(super) fn is_true_conflict(&self, append: &Append, conflict: &Conflict) -> bool {
        match conflict {
            Conflict::Version { stream, expected, found } => {
                let told = append
                    .streams
                    .iter()
                    .any(|part| part.stream == *stream && part.expected == *expected);
                let version = self.version(stream);
                told && found.get() == version && !accepts(*expected, version)
            }
            Conflict::Condition { condition, found } => {
                append.conditions.contains(condition) && self.breaking(condition).contains(found)
            }
            _ => false,
        }
    }

    /// Where the events stand that break a condition.
    fn breaking(&self, condition: &AppendCondition) -> Vec<Position> {
        let mut positions = Vec::new();
        for stored in &self.events {
            if stored.position > condition.after && matches(&condition.query, stored) {
                positions.push(stored.position);
            }
        }
        positions
    }

    /// The events a read returns; `None` when it must be refused.
    pub(super) fn read(&self, read: &Read) -> Option<Vec<Stored>> {
        let (from, to) = (read.from_version.get(), read.to_version.get());
        let mut found = Vec::new();
        for stored in &self.events {
            let in_scope = match &read.scope {
                Scope::Stream(stream) => {
                    stored.stream == *stream && from <= stored.version && stored.version <= to
                }
                Scope::Query(query) => matches(query, stored),
            };
            let in_time = read.as_at.is_none_or(|moment| stored.recorded_at <= moment);
            if in_scope && in_time && stored.position > read.after && stored.position <= read.up_to
            {
                found.push(stored.clone());
            }
        }
        if read.direction == Direction::Backward {
            found.reverse();
        }
        if let Some(limit) = read.limit {
            found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        let versions_of_a_query = matches!(read.scope, Scope::Query(_))
            && (from > 0 || to < annals_core::Version::END.get());
        (!versions_of_a_query).then_some(found)
    }
}

pub(super) fn ids(append: &Append) -> Vec<EventId> {
    let parts = append.streams.iter();
    parts.flat_map(|part| part.events.iter().map(|event| event.id)).collect()
}

fn accepts(expected: ExpectedVersion, version: u64) -> bool {
    match expected {
        ExpectedVersion::Any => true,
        ExpectedVersion::NoStream => version == 0,
        ExpectedVersion::StreamExists => version != 0,
        ExpectedVersion::Exact(wanted) => wanted.get() == version,
    }
}

fn matches(query: &Query, stored: &Stored) -> bool {
    for item in query.items() {
        if matches_item(item, stored) {
            return true;
        }
    }
    false
}

fn matches_item(item: &QueryItem, stored: &Stored) -> bool {
    for tag in &item.tags {
        if !stored.event.tags.contains(tag) {
            return false;
        }
    }
    if !item.types.is_empty() && !item.types.contains(&stored.event.event_type) {
        return false;
    }
    if item.categories.is_empty() && item.streams.is_empty() {
        return true;
    }
    let name = stored.stream.as_str();
    let category = name.find('-').map_or(name, |dash| &name[..dash]);
    item.streams.contains(&stored.stream)
        || item.categories.iter().any(|wanted| wanted.as_str() == category)
}
