//! What is appended: the events of `bench/engine`, 200 bytes of JSON over 100,000 streams.

use annals_core::{
    Append, Data, EventId, EventType, ExpectedVersion, NewEvent, StreamId, Tag, Version,
};
use uuid::Uuid;

#[allow(dead_code, reason = "the engines' benchmarks use all of it")]
#[path = "../../engine/src/load.rs"]
mod load;

pub use load::{STREAMS, data, scramble};

const TYPES: [&str; 3] = ["AccountOpened", "MoneyDeposited", "MoneyWithdrawn"];

/// An event to be appended.
pub struct Fact {
    pub stream: String,
    pub id: Uuid,
    pub event_type: &'static str,
    pub data: Vec<u8>,
    pub tags: Vec<String>,
}

impl Fact {
    /// For one of all streams, in no order, the same for every contestant.
    pub fn scattered(caller: u64, turn: u64) -> Self {
        let number = scramble(caller * 1_000_003 + turn) % STREAMS;
        Self::new(format!("account-{number:06}"), number, turn)
    }

    /// For a stream that nobody else appends to.
    pub fn own(caller: u64, turn: u64) -> Self {
        Self::new(format!("own-{caller}"), caller, turn)
    }

    pub fn new(stream: String, number: u64, turn: u64) -> Self {
        Self {
            stream,
            id: EventId::generate().into(),
            event_type: TYPES[(scramble(number + turn) % 3) as usize],
            data: data(number, turn, 0),
            tags: Vec::new(),
        }
    }

    /// With two tags, of which one is common and one is rare.
    pub fn tagged(mut self, turn: u64) -> Self {
        self.tags = vec![
            format!("branch:{}", scramble(turn) % 100),
            format!("customer:{}", scramble(turn) % 10_000),
        ];
        self
    }

    pub fn into_append(self, expected: ExpectedVersion) -> Append {
        let stream = StreamId::new(self.stream.as_str()).expect("the load's names are valid");
        Append::to(stream, expected, [self.into_event()])
    }

    /// For a stream that has as many events already.
    pub fn into_exact(self, events: u64) -> Append {
        self.into_append(ExpectedVersion::Exact(Version::new(events)))
    }

    pub fn into_event(self) -> NewEvent {
        let event_type = EventType::from_static(self.event_type);
        let event = NewEvent::new(event_type, Data::json(self.data)).with_id(self.id.into());
        let tag = |tag| Tag::new(tag).expect("the load's tags are valid");
        self.tags.into_iter().map(tag).fold(event, NewEvent::tagged)
    }
}
