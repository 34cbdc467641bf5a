//! The store in memory: for tests and examples, and the plainest statement of the contract.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures_util::stream;
use tokio::sync::watch;

use crate::error::{AppendError, Conflict, Invalid, ReadError};
use crate::read_side::Inline;
use crate::subscription::follow;
use crate::{
    Append, Clock, Direction, EventId, EventStore, EventStream, Limits, ListStreams,
    MemoryReadSide, NewEvent, Position, ProjectError, Read, Receipt, RecordedEvent, RowFold, Stats,
    StreamCatalog, StreamId, StreamInfo, StreamInfos, Subscribe, Subscription, SystemClock, Tags,
    Timestamp, Version,
};

/// A log in memory. Clones share it; it is gone with the last of them.
///
/// It keeps every guarantee but durability (S2), which ends with the process. Its positions
/// have gaps on purpose, so that code which counts on their distance fails early.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    log: Mutex<Log>,
    head: watch::Sender<Position>,
    clock: Arc<dyn Clock>,
    limits: Limits,
}

#[derive(Debug, Default)]
struct Log {
    events: Vec<RecordedEvent>,
    streams: BTreeMap<StreamId, Tip>,
    ids: HashMap<EventId, Stored>,
    inline: Option<Inline>,
}

/// The last event of a stream.
#[derive(Debug, Clone, Copy)]
struct Tip {
    version: Version,
    position: Position,
}

/// Where an event is: its place in `events`, and the places its whole append takes there.
#[derive(Debug, Clone)]
struct Stored {
    index: usize,
    append: std::ops::Range<usize>,
}

impl MemoryStore {
    /// An empty log with the machine's clock and the default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Arc::new(SystemClock), Limits::DEFAULT)
    }

    /// An empty log with this clock and these limits.
    #[must_use]
    pub fn with(clock: Arc<dyn Clock>, limits: Limits) -> Self {
        let (head, _) = watch::channel(Position::START);
        Self { shared: Arc::new(Shared { log: Mutex::default(), head, clock, limits }) }
    }

    /// Runs projections inside the appends to this log, so that their rows, in `read_side`, are
    /// never behind it: what a fold refuses is not appended
    /// ([`AppendError::Vetoed`]), and none of the others then applies it either.
    ///
    /// They have caught up with the log when this returns. One whose rows were made by another
    /// version of its code is built anew, and what runs outside of appends under the same name
    /// loses its leases. One that is [paused](crate::SubscriberState::Paused) is left out of
    /// appends, and catches up with the first one after it goes on.
    ///
    /// A later call takes the place of the one before: name all projections at once.
    ///
    /// ```
    /// # use annals_core::*;
    /// # use bytes::Bytes;
    /// # use std::collections::HashMap;
    /// # use std::sync::Arc;
    /// /// Counts the events of each stream.
    /// #[derive(Debug)]
    /// struct Lengths(SubscriberName);
    ///
    /// impl RowFold for Lengths {
    ///     fn name(&self) -> &SubscriberName {
    ///         &self.0
    ///     }
    ///     fn version(&self) -> u32 {
    ///         1
    ///     }
    ///     fn query(&self) -> Query {
    ///         Query::all()
    ///     }
    ///     fn keys(&self, event: &RecordedEvent) -> Result<Vec<RowKey>, PoisonEvent> {
    ///         Ok(vec![event.stream.as_str().into()])
    ///     }
    ///     fn fold(
    ///         &self,
    ///         event: &RecordedEvent,
    ///         rows: &mut HashMap<RowKey, Bytes>,
    ///         owns: &dyn Fn(&RowKey) -> bool,
    ///     ) -> Result<(), PoisonEvent> {
    ///         let key: RowKey = event.stream.as_str().into();
    ///         if owns(&key) {
    ///             rows.insert(key, event.version.to_string().into());
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (store, read_side) = (MemoryStore::new(), MemoryReadSide::new());
    /// let lengths: SubscriberName = "lengths".parse()?;
    /// store.run_inline(&read_side, [Arc::new(Lengths(lengths.clone())) as Arc<dyn RowFold>])?;
    ///
    /// let opened = NewEvent::new(EventType::new("AccountOpened")?, Data::json("{}"));
    /// store.append_to(StreamId::new("account-1")?, ExpectedVersion::NoStream, [opened]).await?;
    /// let row = read_side.row(&lengths, &"account-1".into()).await?.expect("it has caught up");
    /// assert_eq!(row.value, "1");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When a projection cannot apply an event that is in the log already: then appends run
    /// inline what they did before.
    pub fn run_inline(
        &self,
        read_side: &MemoryReadSide,
        folds: impl IntoIterator<Item = Arc<dyn RowFold>>,
    ) -> Result<(), ProjectError> {
        let folds = folds.into_iter().collect();
        let now = self.shared.clock.now();
        let mut log = self.log();
        log.inline = Some(Inline::over(read_side.clone(), folds, &log.events, now)?);
        Ok(())
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.shared.log.lock().expect("no code panics while holding the log")
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl EventStore for MemoryStore {
    fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        append.check(&self.shared.limits)?;
        let now = self.shared.clock.now();
        let mut log = self.log();
        if let Some(receipt) = log.repeated(&append)? {
            return Ok(receipt);
        }
        log.check(&append)?;
        let receipt = log.write(append, now)?;
        self.shared.head.send_replace(receipt.last_position);
        Ok(receipt)
    }

    fn read(&self, read: Read) -> EventStream {
        if let Err(invalid) = read.check(&self.shared.limits) {
            return Box::pin(stream::iter([Err(invalid.into())]));
        }
        let store = self.clone();
        // Lazily, so that the read sees the log as it is when the first event is asked for.
        let selected = stream::once(async move { stream::iter(store.log().select(&read)) });
        Box::pin(futures_util::StreamExt::flatten(selected))
    }

    fn subscribe(&self, subscribe: Subscribe) -> Subscription {
        if let Err(invalid) = self.shared.limits.check_query(&subscribe.query) {
            return Box::pin(stream::iter([Err(invalid.into())]));
        }
        let store = self.clone();
        follow(move |read| store.read(read), self.shared.head.subscribe(), subscribe)
    }

    async fn head(&self) -> Result<Position, ReadError> {
        Ok(self.log().head())
    }
}

#[async_trait]
impl StreamCatalog for MemoryStore {
    fn streams(&self, list: ListStreams) -> StreamInfos {
        let infos: Vec<_> = self
            .log()
            .streams
            .iter()
            .filter(|(stream, _)| list.selects(stream))
            .map(|(stream, tip)| {
                Ok(StreamInfo {
                    stream: stream.clone(),
                    version: tip.version,
                    last_position: tip.position,
                })
            })
            .collect();
        Box::pin(stream::iter(infos))
    }

    async fn stats(&self) -> Result<Stats, ReadError> {
        let log = self.log();
        Ok(Stats {
            events: log.events.len() as u64,
            streams: log.streams.len() as u64,
            head: log.head(),
        })
    }
}

impl Log {
    fn head(&self) -> Position {
        self.events.last().map_or(Position::START, |event| event.position)
    }

    fn version(&self, stream: &StreamId) -> Version {
        self.streams.get(stream).map_or(Version::EMPTY, |tip| tip.version)
    }

    /// The first receipt, when exactly this append is stored already (S7).
    fn repeated(&self, append: &Append) -> Result<Option<Receipt>, Invalid> {
        let Some(stored) = append.events().find_map(|event| self.ids.get(&event.id)) else {
            return Ok(None);
        };
        let given = append
            .streams
            .iter()
            .flat_map(|part| part.events.iter().map(move |event| (&part.stream, event.id)));
        let before = &self.events[stored.append.clone()];
        if given.eq(before.iter().map(|event| (&event.stream, event.id))) {
            return Ok(Some(receipt(before)));
        }
        let event = &self.events[stored.index];
        Err(Invalid::IdsPartlyStored { id: event.id, position: event.position })
    }

    fn check(&self, append: &Append) -> Result<(), Conflict> {
        for part in &append.streams {
            let found = self.version(&part.stream);
            if !part.expected.accepts(found) {
                let (stream, expected) = (part.stream.clone(), part.expected);
                return Err(Conflict::Version { stream, expected, found });
            }
        }
        for condition in &append.conditions {
            let newer =
                self.events.iter().rev().take_while(|event| event.position > condition.after);
            if let Some(event) = newer.into_iter().find(|event| condition.query.matches(event)) {
                let (condition, found) = (condition.clone(), event.position);
                return Err(Conflict::Condition { condition, found });
            }
        }
        Ok(())
    }

    fn write(&mut self, append: Append, now: Timestamp) -> Result<Receipt, AppendError> {
        let start = self.events.len();
        self.events.extend(self.record(append, now));
        if let Some(inline) = &self.inline
            && let Err(vetoed) = inline.run(&self.events, now)
        {
            self.events.truncate(start);
            return Err(vetoed);
        }
        let append = start..self.events.len();
        for index in append.clone() {
            let event = &self.events[index];
            let tip = Tip { version: event.version, position: event.position };
            self.streams.insert(event.stream.clone(), tip);
            self.ids.insert(event.id, Stored { index, append: append.clone() });
        }
        Ok(receipt(&self.events[append]))
    }

    fn record(&self, append: Append, now: Timestamp) -> Vec<RecordedEvent> {
        let recorded_at = self.events.last().map_or(now, |event| event.recorded_at.max(now));
        // One position is left out between appends: gaps are part of the contract.
        let mut position = self.head().get() + 1;
        let mut recorded = Vec::new();
        for part in append.streams {
            let mut version = self.version(&part.stream);
            for event in part.events {
                position += 1;
                version = version.next();
                let tip = Tip { version, position: Position::new(position) };
                recorded.push(record(event, part.stream.clone(), tip, recorded_at));
            }
        }
        recorded
    }

    fn select(&self, read: &Read) -> Vec<Result<RecordedEvent, ReadError>> {
        let limit = read.limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let selected = self.events.iter().filter(|event| read.selects(event));
        match read.direction {
            Direction::Forward => selected.take(limit).cloned().map(Ok).collect(),
            Direction::Backward => selected.rev().take(limit).cloned().map(Ok).collect(),
        }
    }
}

fn record(event: NewEvent, stream: StreamId, tip: Tip, recorded_at: Timestamp) -> RecordedEvent {
    RecordedEvent {
        position: tip.position,
        stream,
        version: tip.version,
        id: event.id,
        event_type: event.event_type,
        schema_version: event.schema_version,
        data: event.data,
        metadata: event.metadata,
        tags: Tags::new(&event.tags),
        occurred_at: event.occurred_at.unwrap_or(recorded_at),
        recorded_at,
    }
}

fn receipt(events: &[RecordedEvent]) -> Receipt {
    let standing = events.iter().map(|event| (event.position, &event.stream, event.version));
    Receipt::of(events[0].recorded_at, standing).expect("an append has at least one event")
}
