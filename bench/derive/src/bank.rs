//! The domain that is measured: deposits, and the balance of each account.

use std::time::{Duration, Instant};

use annals::{
    Append, Event, EventStore, ExpectedVersion, Position, Projection, RecordedEvent, RowKey,
    StreamAppend, StreamId,
};
use serde::{Deserialize, Serialize};

#[derive(Event)]
pub enum AccountEvent {
    MoneyDeposited { amount: u64, reference: String },
}

/// What the raw loops parse: the same JSON.
#[derive(Deserialize)]
pub struct Deposited {
    pub amount: u64,
    #[expect(dead_code, reason = "what is parsed is parsed whole, as Annals does")]
    pub reference: String,
}

#[derive(Default, Serialize, Deserialize)]
pub struct Balance {
    pub held: i64,
    pub events: i64,
}

/// The balance of each account.
pub struct Balances {
    /// How long an application's own work for an event takes, which cannot be left out.
    pub work: Duration,
}

impl Projection for Balances {
    type Event = AccountEvent;
    type Row = Balance;
    const NAME: &'static str = "balances";

    fn apply(
        &self,
        _: &RowKey,
        row: Option<Balance>,
        event: &AccountEvent,
        _: &RecordedEvent,
    ) -> Option<Balance> {
        let begun = Instant::now();
        while begun.elapsed() < self.work {
            std::hint::spin_loop();
        }
        let Balance { held, events } = row.unwrap_or_default();
        let AccountEvent::MoneyDeposited { amount, .. } = event;
        Some(Balance { held: held + *amount as i64, events: events + 1 })
    }
}

/// Fills a log with so many deposits, spread over so many accounts.
pub async fn fill(store: &dyn EventStore, events: u64, accounts: u64) -> Position {
    const AT_ONCE: u64 = 500;
    let mut last = Position::START;
    for first in (0..events).step_by(AT_ONCE as usize) {
        let streams = (first..(first + AT_ONCE).min(events)).map(|number| {
            // Neighbours are other accounts, and each stands once in an append.
            let account = number % accounts.max(AT_ONCE);
            let reference = format!("{number:012}-0000");
            let event = AccountEvent::MoneyDeposited { amount: number % 1_000, reference };
            StreamAppend {
                stream: StreamId::of("account", account).expect("a stream id"),
                expected: ExpectedVersion::Any,
                events: vec![event.encode().expect("an event")],
            }
        });
        let mut append = Append::default();
        append.streams.extend(streams);
        last = store.append(append).await.expect("it is stored").last_position;
    }
    last
}
