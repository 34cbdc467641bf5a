//! The domain of these tests: accounts, and projections of them.

use annals::{
    Append, Event, EventStore, ExpectedVersion, Keys, Position, Projection, RecordedEvent, RowKey,
    StreamId,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Event)]
pub(crate) enum AccountEvent {
    MoneyDeposited { amount: u64 },
    MoneyWithdrawn { amount: u64 },
    MoneyTransferred { to: String, amount: u64 },
    AccountClosed,
}
pub(crate) use AccountEvent::*;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Balance {
    pub(crate) held: i64,
    /// How many events made it: each counts once, or the number is wrong.
    pub(crate) events: u64,
}

/// The balance of each account, by the id of its stream.
pub(crate) struct Balances;

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
        let Balance { held, events } = row.unwrap_or_default();
        let held = match event {
            MoneyDeposited { amount } => held + signed(*amount),
            MoneyWithdrawn { amount } | MoneyTransferred { amount, .. } => held - signed(*amount),
            AccountClosed => return None,
        };
        Some(Balance { held, events: events + 1 })
    }
}

/// What each account has got from others, by the account: rows that many streams write to.
pub(crate) struct Received;

impl Projection for Received {
    type Event = AccountEvent;
    type Row = u64;
    const NAME: &'static str = "received";
    const VERSION: u32 = 2;

    fn keys(&self) -> Keys<AccountEvent> {
        Keys::by(|event, _| match event {
            MoneyTransferred { to, .. } => vec![to.into(), "all".into()],
            _ => vec![],
        })
    }

    fn apply(
        &self,
        _: &RowKey,
        row: Option<u64>,
        event: &AccountEvent,
        _: &RecordedEvent,
    ) -> Option<u64> {
        match event {
            MoneyTransferred { amount, .. } => Some(row.unwrap_or(0) + amount),
            _ => row,
        }
    }
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).expect("an amount of a test")
}

/// Appends events to an account, and says where the last one is.
pub(crate) async fn append(
    store: &dyn EventStore,
    account: impl std::fmt::Display,
    events: impl IntoIterator<Item = AccountEvent>,
) -> Position {
    let stream = StreamId::of("account", account).expect("a stream id");
    let events: Vec<_> =
        events.into_iter().map(|event| event.encode().expect("an event")).collect();
    let append = Append::to(stream, ExpectedVersion::Any, events);
    store.append(append).await.expect("the append is stored").last_position
}

/// Fills a log: so many deposits over so many accounts, every tenth event a transfer.
pub(crate) async fn fill(store: &dyn EventStore, accounts: u64, events: u64) -> Position {
    let mut last = Position::START;
    for number in 0..events {
        let account = number * 7 % accounts;
        let event = match number % 10 {
            9 => MoneyTransferred { to: (account * 3 % accounts).to_string(), amount: 1 },
            _ => MoneyDeposited { amount: number % 100 },
        };
        last = append(store, account, [event]).await;
    }
    last
}
