//! Those who follow the log: everything, a part of it, and one that starts again and again from
//! its checkpoint.

use std::sync::Arc;
use std::time::Duration;

use annals_core::EventStore;
use annals_core::error::Chain;
use annals_core::{Category, EventId, EventType, Notice, Position, Query, QueryItem, Subscribe};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::ledger::Ledger;
use crate::load::Door;

const AFTER_FAILURE: Duration = Duration::from_millis(200);

/// What a subscriber was given, in the order in which it was given.
pub(crate) struct Seen {
    pub(crate) name: &'static str,
    pub(crate) query: Query,
    pub(crate) events: Vec<(Position, EventId)>,
    pub(crate) subscriptions: u64,
    /// Whether it wanted to subscribe more than once.
    pub(crate) starts_again: bool,
}

pub(crate) struct Follower {
    pub(crate) name: &'static str,
    pub(crate) query: Query,
    pub(crate) door: Door,
    /// How long it keeps a store and a subscription; for ever, unless this says otherwise.
    pub(crate) life: Option<Duration>,
    pub(crate) ledger: Arc<Ledger>,
}

/// The events of shared streams that have one of two types.
pub(crate) fn a_part() -> Query {
    Query::of(
        QueryItem::new()
            .event_type(EventType::new("Noted").expect("a valid name"))
            .category(Category::new("shared").expect("a valid name")),
    )
}

impl Follower {
    /// Follows the log up to the position that is told at the end.
    pub(crate) async fn run(self, mut end: watch::Receiver<Option<Position>>) -> Seen {
        let Self { name, query, door, life, ledger } = self;
        let (events, starts_again) = (Vec::new(), life.is_some());
        let mut seen = Seen { name, query, events, subscriptions: 0, starts_again };
        let mut checkpoint = Position::START;
        let mut store = door.open().await;
        while !end.borrow().is_some_and(|end| checkpoint >= end) {
            seen.subscriptions += 1;
            let subscribe = Subscribe::query(seen.query.clone()).after(checkpoint);
            let mut notices = store.subscribe(subscribe);
            let enough = Instant::now() + life.unwrap_or(Duration::from_secs(1_000_000));
            while !end.borrow().is_some_and(|end| checkpoint >= end) {
                let notice = tokio::select! {
                    notice = notices.next() => notice,
                    () = sleep_until(enough) => {
                        drop(notices);
                        // Another process would start like this.
                        store = door.open().await;
                        break;
                    }
                    _ = end.changed() => continue,
                };
                match notice {
                    Some(Ok(Notice::Event(event))) => {
                        if event.position <= checkpoint {
                            ledger.broken(format!(
                                "subscriber {name}: {} after {checkpoint}",
                                event.position
                            ));
                        }
                        checkpoint = event.position;
                        seen.events.push((event.position, event.id));
                    }
                    Some(Ok(Notice::CaughtUp(position))) => checkpoint = checkpoint.max(position),
                    Some(Err(error)) => {
                        // As the contract says: subscribe again after the last position.
                        if error.code() != "unavailable" {
                            ledger.broken(format!("subscriber {name}: {}", Chain(&error)));
                        }
                        sleep(AFTER_FAILURE).await;
                        break;
                    }
                    None => break,
                }
            }
        }
        seen
    }
}
