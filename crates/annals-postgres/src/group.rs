//! Which appends share a statement.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use annals_core::{
    Append, AppendError, Data, EventId, Fault, Metadata, NewEvent, Position, RecordedEvent,
    StreamAppend, Tags, Timestamp, Version,
};
use sqlx_core::error::Error;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::append::{GROUP_EVENTS_MAX, Outcome};
use crate::fault::{chain, refused};
use crate::keys::Keys;

/// The most bytes of a group, unless a single append has more.
const GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most locks of a group, unless a single append has more: the server's table is bounded.
const GROUP_KEYS_MAX: usize = 1_024;
/// The most comparisons of conditions with events of a group, which everybody waits for.
const GROUP_COMPARISONS_MAX: usize = 32 * 1_024;

const DOING: &str = "storing the append";

/// An append whose caller waits.
pub(crate) struct Pending {
    pub(crate) append: Arc<Append>,
    pub(crate) keys: Keys,
    answer: oneshot::Sender<Outcome>,
    /// Its place in the queue, a permit for each of its bytes, free again when it is answered.
    room: OwnedSemaphorePermit,
    /// Since when it may be stored without anybody knowing: from then on no answer may say that
    /// it is not, whatever becomes of further attempts.
    pub(crate) unknown_since: Option<Instant>,
    /// Since when it waits for what others hold.
    pub(crate) held_since: Option<Instant>,
}

impl Pending {
    pub(crate) fn new(
        append: Append,
        keys: Keys,
        room: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<Outcome>) {
        let (answer, answered) = oneshot::channel();
        let (unknown_since, held_since) = (None, None);
        let append = Arc::new(append);
        (Self { append, keys, answer, room, unknown_since, held_since }, answered)
    }

    pub(crate) fn answer(self, outcome: Outcome) {
        // A caller that has gone away needs no answer.
        let _ = self.answer.send(outcome);
    }

    /// Answers with why it was not stored, or why that is not known.
    pub(crate) fn fail(self, error: &Error) {
        let error = match self.unknown_since {
            Some(_) => AppendError::Indeterminate(Fault::because(DOING, chain(error))),
            None => refused(DOING, error),
        };
        self.answer(Err(error));
    }

    /// Answers when nobody is left to send it.
    pub(crate) fn abandon(self) {
        let fault = Fault::new("storing the append: the runtime that did it has ended");
        let error = match self.unknown_since {
            Some(_) => AppendError::Indeterminate(fault),
            None => AppendError::Unavailable(fault),
        };
        self.answer(Err(error));
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an append of {} events", self.append.events().count())
    }
}

pub(crate) fn keys(group: &[Pending]) -> Keys {
    let mut keys = Keys::default();
    group.iter().for_each(|pending| keys.extend(&pending.keys));
    keys
}

/// Takes the appends that can share a statement from the front of the queue.
///
/// The statement checks all of them before it writes any, so each must be independent of those
/// before it. Only the versions of a stream are counted on within the group.
pub(crate) fn gather(queue: &mut VecDeque<Pending>) -> Vec<Pending> {
    let mut group = Group::default();
    while let Some(next) = queue.front() {
        let is_first = group.pending.is_empty();
        let fits = is_first || group.has_room_for(next) && group.is_free_of(next);
        if !fits {
            break;
        }
        group.add(queue.pop_front().expect("it was just looked at"));
    }
    group.pending
}

#[derive(Default)]
struct Group {
    pending: Vec<Pending>,
    ids: HashSet<EventId>,
    bytes: usize,
    keys: usize,
    comparisons: usize,
    /// The events of the first so many appends, as far as queries look at them.
    events: Vec<RecordedEvent>,
    compared: usize,
}

impl Group {
    fn has_room_for(&self, next: &Pending) -> bool {
        self.ids.len() + next.append.events().count() <= GROUP_EVENTS_MAX
            && self.bytes + next.room.num_permits() <= GROUP_BYTES_MAX
            && self.keys + next.keys.len() <= GROUP_KEYS_MAX
    }

    /// Whether an append neither repeats an event of the group nor has a condition that one of
    /// them may break.
    fn is_free_of(&mut self, next: &Pending) -> bool {
        if next.append.events().any(|event| self.ids.contains(&event.id)) {
            return false;
        }
        let conditions = &next.append.conditions;
        let items: usize = conditions.iter().map(|condition| condition.query.items().len()).sum();
        self.comparisons += items * self.ids.len();
        if self.comparisons > GROUP_COMPARISONS_MAX {
            return false;
        }
        if conditions.is_empty() {
            return true;
        }
        for earlier in &self.pending[self.compared..] {
            for part in &earlier.append.streams {
                self.events.extend(part.events.iter().map(|event| as_if_recorded(part, event)));
            }
        }
        self.compared = self.pending.len();
        let breaks = |event| conditions.iter().any(|condition| condition.query.matches(event));
        !self.events.iter().any(breaks)
    }

    fn add(&mut self, next: Pending) {
        self.ids.extend(next.append.events().map(|event| event.id));
        self.bytes += next.room.num_permits();
        self.keys += next.keys.len();
        self.pending.push(next);
    }
}

/// An event as far as queries look at it.
fn as_if_recorded(part: &StreamAppend, event: &NewEvent) -> RecordedEvent {
    RecordedEvent {
        position: Position::END,
        stream: part.stream.clone(),
        version: Version::END,
        id: event.id,
        event_type: event.event_type.clone(),
        schema_version: event.schema_version,
        data: Data::json(""),
        metadata: Metadata::empty(),
        tags: Tags::new(&event.tags),
        occurred_at: Timestamp::EPOCH,
        recorded_at: Timestamp::EPOCH,
    }
}

#[cfg(test)]
mod tests {
    use annals_core::{
        AppendCondition, EventType, ExpectedVersion, Query, QueryItem, StreamId, Tag,
    };
    use tokio::sync::Semaphore;

    use super::*;
    use crate::schema::SchemaName;

    /// An append of an event with a tag.
    fn append(stream: usize, tag: &Tag) -> Append {
        let event = NewEvent::new(EventType::from_static("Made"), Data::json("{}"));
        let stream = StreamId::of("a", stream).unwrap();
        Append::to(stream, ExpectedVersion::Any, [event.tagged(tag.clone())])
    }

    fn guarded(stream: usize, tag: &Tag, items: impl IntoIterator<Item = Tag>) -> Append {
        let items = items.into_iter().map(|tag| QueryItem::new().tag(tag));
        let query = items.fold(Query::of(QueryItem::new().tag(tag.clone())), Query::or);
        append(stream, tag).only_if(AppendCondition::none_match(query))
    }

    /// How many of the appends are in each group.
    fn groups(appends: impl IntoIterator<Item = Append>) -> Vec<usize> {
        let room = Arc::new(Semaphore::new(1_000_000));
        let mut queue: VecDeque<_> = appends
            .into_iter()
            .map(|append| {
                let keys = Keys::of(&SchemaName::default(), &append);
                let room = Arc::clone(&room).try_acquire_owned().unwrap();
                Pending::new(append, keys, room).0
            })
            .collect();
        let mut groups = Vec::new();
        while !queue.is_empty() {
            groups.push(gather(&mut queue).len());
        }
        groups
    }

    #[test]
    fn an_append_is_not_in_a_group_with_what_may_break_its_condition() {
        let (one, other) = (Tag::of("seat", 1).unwrap(), Tag::of("seat", 2).unwrap());
        assert_eq!(groups([append(1, &one), guarded(2, &other, [])]), [2]);
        assert_eq!(groups([append(1, &one), guarded(2, &one, []), append(3, &one)]), [1, 2]);
        let append = append(1, &one);
        assert_eq!(groups([append.clone(), append]), [1, 1], "the same event ids");
    }

    #[test]
    fn many_conditions_end_a_group_before_they_take_long() {
        // Few keys, which would end it too.
        let tag = |n: usize| Tag::of("seat", n).unwrap();
        let many = |n: usize| guarded(n, &tag(n), vec![tag(1_000); 1_000]);
        // 1,001 items, compared with 1, 2, … events before.
        assert_eq!(groups((0..10).map(many))[0], 8);
    }
}
