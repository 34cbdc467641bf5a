//! Plays a history to a store and to the model, and compares the answers.

use annals_core::error::{AppendError, ReadError};
use annals_core::{
    Append, AppendCondition, Data, EventId, EventStoreExt, ExpectedVersion, NewEvent, Position,
    Read, RecordedEvent, Subscribe, Timestamp, Version,
};
use proptest::test_runner::{TestCaseError, TestCaseResult};

use super::log::{Answer, Log, Stored};
use super::operation::{
    Change, Condition, Expect, Operation, Part, Place, Reading, STREAMS, TAGS, TYPES, Within, query,
};
use crate::Backend;
use crate::probe::{Probe, line};
use crate::words::{event_type, stream, tag};

pub(super) async fn play(backend: &dyn Backend, history: Vec<Operation>) -> TestCaseResult {
    let mut player = Player { store: Probe::open(backend).await, log: Log::default() };
    for (number, operation) in history.iter().enumerate() {
        let done = match operation {
            Operation::Append { parts, conditions } => {
                let append = player.make(number, parts, conditions);
                player.append(append).await
            }
            Operation::Repeat { of, change } => match player.repeat(number, *of, *change) {
                Some(append) => player.append(append).await,
                None => Ok(()),
            },
            Operation::Read(reading) => player.read(player.reading(reading)).await,
            Operation::Subscribe { terms, after } => {
                let subscribe = Subscribe::query(query(terms)).after(player.place(*after));
                player.subscribe(subscribe).await
            }
        };
        done.map_err(|reason| TestCaseError::fail(format!("operation {number}: {reason}")))?;
    }
    player.read(Read::all()).await.map_err(TestCaseError::fail)
}

struct Player {
    store: Probe,
    log: Log,
}

impl Player {
    fn place(&self, place: Place) -> Position {
        match place {
            Place::Start => Position::START,
            Place::Event(_) if self.log.events.is_empty() => Position::START,
            Place::Event(n) => self.log.events[n % self.log.events.len()].position,
            Place::Head => self.log.head(),
            Place::End => Position::END,
        }
    }

    fn make(&self, number: usize, parts: &[Part], conditions: &[Condition]) -> Append {
        let mut append = Append::default();
        let mut id = EventIds::of(number);
        for part in parts {
            let name = stream(STREAMS[part.stream]);
            let expected = match part.expect {
                Expect::Any => ExpectedVersion::Any,
                Expect::NoStream => ExpectedVersion::NoStream,
                Expect::StreamExists => ExpectedVersion::StreamExists,
                Expect::Current => ExpectedVersion::Exact(Version::new(self.log.version(&name))),
                Expect::Exact(version) => ExpectedVersion::Exact(Version::new(version)),
            };
            let events = part.events.iter().map(|kind| {
                let tags = kind.tags.iter().map(|n| tag(TAGS[*n]));
                tags.fold(id.event(TYPES[kind.of_type]), NewEvent::tagged)
            });
            append = append.and_to(name, expected, events.collect::<Vec<_>>());
        }
        for condition in conditions {
            append = append.only_if(AppendCondition::none_match_after(
                query(&condition.terms),
                self.place(condition.after),
            ));
        }
        append
    }

    /// An append like an earlier one; `None` as long as there is none.
    fn repeat(&self, number: usize, of: usize, change: Change) -> Option<Append> {
        let count = self.log.appends.len();
        let of = of.checked_rem(count)?;
        let mut append = self.log.appends[of].0.clone();
        match change {
            Change::Nothing => {}
            Change::Expecting => {
                for part in &mut append.streams {
                    part.expected = ExpectedVersion::NoStream;
                }
            }
            Change::Fewer => {
                let with_events = append.streams.iter_mut().rfind(|part| !part.events.is_empty());
                with_events.and_then(|part| part.events.pop());
            }
            Change::More => append.streams[0].events.push(EventIds::of(number).event(TYPES[0])),
            Change::Elsewhere => {
                for (n, part) in append.streams.iter_mut().enumerate() {
                    part.stream = stream(format!("elsewhere-{n}"));
                }
            }
            Change::Together(other) => {
                let events = self.log.appends[other % count].0.events();
                let others = events.filter(|event| append.events().all(|e| e.id != event.id));
                let others: Vec<_> = others.cloned().collect();
                append.streams[0].events.extend(others);
            }
        }
        Some(append)
    }

    async fn append(&mut self, append: Append) -> Result<(), String> {
        let answer = self.log.answer(&append);
        let outcome = self.store.append(&append).await;
        match (&answer, outcome) {
            (Answer::Written(events), Ok(receipt)) => {
                let read = Read::all().after(self.log.head());
                let found = self.found(read).await?;
                let given =
                    events.iter().map(|(stream, version, event)| (stream, *version, event.id));
                let stored = found.iter().map(|e| (&e.stream, e.version.get(), e.id));
                if !given.eq(stored) {
                    return Err(format!("must write {events:?}, but wrote:\n{}", lines(&found)));
                }
                let positions: Vec<_> = found.iter().map(|event| event.position).collect();
                let ends = (positions.first().copied(), positions.last().copied());
                let told = (Some(receipt.first_position), Some(receipt.last_position));
                let rest = receipt.streams.iter().all(|part| {
                    let last = events.iter().rfind(|(stream, ..)| *stream == part.stream);
                    last.is_some_and(|(_, version, _)| *version == part.version.get())
                });
                let written_to = append.streams.iter().filter(|part| !part.events.is_empty());
                let named = written_to.map(|part| &part.stream);
                let named = named.eq(receipt.streams.iter().map(|part| &part.stream));
                if ends != told || !rest || !named {
                    return Err(format!("{receipt:?} does not agree with:\n{}", lines(&found)));
                }
                self.log.write(append, receipt, &positions);
                Ok(())
            }
            (Answer::Repeated(first), Ok(receipt)) if *first == receipt => self.unchanged().await,
            (Answer::Refused, Err(AppendError::Conflict(conflict)))
                if self.log.is_true_conflict(&append, &conflict) =>
            {
                self.unchanged().await
            }
            (Answer::Refused, Err(AppendError::Invalid(invalid)))
                if self.log.is_true_fault(&append, &invalid) =>
            {
                self.unchanged().await
            }
            (answer, outcome) => {
                Err(format!("an append must be {answer:?}, but: {outcome:?}\n{append:?}"))
            }
        }
    }

    /// Makes sure that nothing was written.
    async fn unchanged(&self) -> Result<(), String> {
        let head = self.store.head().await;
        let more = self.found(Read::all().after(self.log.head())).await?;
        if more.is_empty() && head == self.log.head() {
            return Ok(());
        }
        Err(format!("nothing must be written, but the head is {head} and:\n{}", lines(&more)))
    }

    fn reading(&self, reading: &Reading) -> Read {
        let mut read = match &reading.scope {
            Within::Stream(n) => Read::stream(stream(STREAMS[*n])),
            Within::Query(terms) => Read::query(query(terms)),
        };
        read = read.after(self.place(reading.after)).up_to(self.place(reading.up_to));
        if let Some((from, to)) = reading.versions {
            read = read.from_version(Version::new(from)).to_version(Version::new(to));
        }
        if let Some(n) = reading.as_at {
            let event = n.checked_rem(self.log.events.len()).map(|n| &self.log.events[n]);
            read = read.as_at(event.map_or(Timestamp::EPOCH, |event| event.recorded_at));
        }
        if reading.backward {
            read = read.backward();
        }
        match reading.limit {
            Some(limit) => read.limit(limit),
            None => read,
        }
    }

    async fn read(&self, read: Read) -> Result<(), String> {
        match (self.log.read(&read), self.store.store().read_to_end(read.clone()).await) {
            (Some(expected), Ok(found)) => same(&expected, &found, &format!("{read:?}")),
            (None, Err(ReadError::Invalid(_))) => Ok(()),
            (Some(_), Err(error)) => Err(format!("{read:?} must succeed, but: {error:?}")),
            (None, other) => Err(format!("{read:?} must be refused, but: {other:?}")),
        }
    }

    async fn found(&self, read: Read) -> Result<Vec<RecordedEvent>, String> {
        let found = self.store.store().read_to_end(read.clone()).await;
        found.map_err(|error| format!("{read:?} must succeed, but: {error:?}"))
    }

    async fn subscribe(&self, subscribe: Subscribe) -> Result<(), String> {
        let annals_core::SubscribeFrom::After(after) = subscribe.from else {
            return Ok(());
        };
        let expected = self.log.read(&Read::query(subscribe.query.clone()).after(after));
        let (found, _) = self.store.subscribe(subscribe.clone()).until_caught_up().await;
        same(&expected.unwrap_or_default(), &found, &format!("{subscribe:?}"))
    }
}

fn same(expected: &[Stored], found: &[RecordedEvent], what: &str) -> Result<(), String> {
    let pairs = expected.iter().zip(found);
    let all_same = pairs.clone().all(|(expected, found)| {
        (&expected.stream, expected.version, expected.position, expected.event.id)
            == (&found.stream, found.version.get(), found.position, found.id)
            && expected.event.event_type == found.event_type
            && expected.event.data == found.data
            && expected.recorded_at == found.recorded_at
    });
    if all_same && expected.len() == found.len() {
        return Ok(());
    }
    let expected: Vec<_> = expected
        .iter()
        .map(|s| format!("  {:?} {} v{} {}", s.position, s.stream, s.version, s.event.id))
        .collect();
    Err(format!("{what}\nexpected:\n{}\nfound:\n{}", expected.join("\n"), lines(found)))
}

fn lines(events: &[RecordedEvent]) -> String {
    let lines: Vec<_> = events.iter().map(|event| format!("  {}", line(event))).collect();
    lines.join("\n")
}

/// The ids of the events of one operation: the same in every run.
struct EventIds {
    operation: u64,
    next: u64,
}

impl EventIds {
    fn of(operation: usize) -> Self {
        Self { operation: operation as u64 + 1, next: 0 }
    }

    fn event(&mut self, type_name: &str) -> NewEvent {
        self.next += 1;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.operation.to_be_bytes());
        bytes[8..].copy_from_slice(&self.next.to_be_bytes());
        let id = EventId::from_bytes(bytes);
        NewEvent::new(event_type(type_name), Data::json(format!("\"{id}\""))).with_id(id)
    }
}
