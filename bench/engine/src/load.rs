//! The load: events of 200 bytes of JSON over 100,000 streams.

use annals_core::{Append, Data, EventId, EventType, ExpectedVersion, NewEvent, StreamId, Tag};
use uuid::Uuid;

pub const STREAMS: u64 = 100_000;
const TYPES: [&str; 3] = ["AccountOpened", "MoneyDeposited", "MoneyWithdrawn"];

/// A stretch of the load, the same for every contestant.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub callers: u64,
    pub events_per_append: u64,
    pub appends_per_caller: u64,
    pub tagged: bool,
}

impl Load {
    pub fn events(&self) -> u64 {
        self.callers * self.events_per_append * self.appends_per_caller
    }

    pub fn batch(&self, caller: u64, turn: u64) -> Batch {
        // A fixed scramble: streams are hit in no order, and every contestant hits the same.
        let number = scramble(caller * 1_000_003 + turn) % STREAMS;
        let events = (0..self.events_per_append).map(|index| Event {
            id: EventId::generate().into(),
            event_type: TYPES[(scramble(number + index + turn) % 3) as usize],
            data: data(number, turn, index),
            tag: self.tagged.then(|| format!("branch:{}", scramble(turn) % 10_000)),
        });
        Batch { stream: format!("account-{number:06}"), events: events.collect() }
    }
}

pub struct Batch {
    pub stream: String,
    pub events: Vec<Event>,
}

pub struct Event {
    pub id: Uuid,
    pub event_type: &'static str,
    pub data: Vec<u8>,
    pub tag: Option<String>,
}

impl Batch {
    pub fn into_append(self) -> Append {
        let events: Vec<NewEvent> = self.events.into_iter().map(Event::into_new_event).collect();
        let stream = StreamId::new(self.stream).expect("the load's names are valid");
        Append::to(stream, ExpectedVersion::Any, events)
    }
}

impl Event {
    fn into_new_event(self) -> NewEvent {
        let event_type = EventType::from_static(self.event_type);
        let mut event =
            NewEvent::new(event_type, Data::json(self.data)).with_id(EventId::from(self.id));
        if let Some(tag) = self.tag {
            event = event.tagged(Tag::new(tag).expect("the load's tags are valid"));
        }
        event
    }
}

/// 200 bytes of JSON.
pub fn data(stream: u64, turn: u64, index: u64) -> Vec<u8> {
    let mut json = format!(
        r#"{{"account":"ACC-{stream:06}","amount":{},"currency":"EUR","reference":"{turn:012}-{index:04}","note":""#,
        100 + scramble(turn) % 100_000
    );
    while json.len() < 198 {
        json.push((b'a' + (json.len() % 26) as u8) as char);
    }
    json.push_str("\"}");
    json.into_bytes()
}

pub fn scramble(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
