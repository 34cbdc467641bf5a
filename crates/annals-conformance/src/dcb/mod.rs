//! Decisions over queries instead of streams: the worked examples of <https://dcb.events>, each
//! decided one after the other and then by many at once.
//!
//! Every example is one call of [`decide`]: its query is its consistency boundary.

mod courses;
mod duplicates;
mod invoices;
mod opt_in;
mod prices;
mod usernames;

use annals_core::error::AppendError;
use annals_core::{
    Append, AppendCondition, Data, ExpectedVersion, NewEvent, Position, Query, Read, Receipt,
    RecordedEvent, StreamId,
};
use serde_json::Value;

use crate::probe::Probe;
use crate::words::{event_type, tag};

pub(crate) use courses::*;
pub(crate) use duplicates::*;
pub(crate) use invoices::*;
pub(crate) use opt_in::*;
pub(crate) use prices::*;
pub(crate) use usernames::*;

/// Why a command was refused, in its own words.
type Refusal = &'static str;

/// How often a decision may lose before something must be wrong: somebody wins each time.
const ATTEMPTS_MAX: usize = 200;

/// Decides on the events that `query` selects, and appends the outcome only if no other such
/// event has come meanwhile; otherwise decides again.
async fn decide(
    store: &Probe,
    query: Query,
    decision: impl Fn(&[RecordedEvent]) -> Result<(StreamId, NewEvent), Refusal>,
) -> Result<Receipt, Refusal> {
    let mut last = Position::START;
    for _ in 0..ATTEMPTS_MAX {
        let history = store.read(Read::query(query.clone())).await;
        let seen = history.last().map_or(Position::START, |event| event.position);
        assert!(
            last == Position::START || seen > last,
            "a conflict, but nothing new behind {last}"
        );
        let (stream, event) = decision(&history)?;
        let append = Append::to(stream, ExpectedVersion::Any, [event])
            .only_if(AppendCondition::none_match_after(query.clone(), seen));
        match store.append(&append).await {
            Ok(receipt) => return Ok(receipt),
            Err(AppendError::Conflict(_)) => last = seen,
            Err(error) => panic!("a decision may only conflict, but: {error:?}"),
        }
    }
    panic!("lost {ATTEMPTS_MAX} times in a row, last behind {last}");
}

/// An event of this type with these tags and this data.
fn fact(type_name: &str, tags: &[String], data: &Value) -> NewEvent {
    let event = NewEvent::new(event_type(type_name), Data::json(data.to_string()));
    tags.iter().map(tag).fold(event, NewEvent::tagged)
}

fn is(event: &RecordedEvent, type_name: &str) -> bool {
    event.event_type.as_str() == type_name
}

/// A field of an event's data.
fn field(event: &RecordedEvent, name: &str) -> Value {
    let data: Value = serde_json::from_slice(&event.data.bytes).expect("examples write JSON");
    data[name].clone()
}

fn number(event: &RecordedEvent, name: &str) -> u64 {
    field(event, name).as_u64().expect("the example wrote a number")
}
