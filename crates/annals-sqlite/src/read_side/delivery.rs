//! Deliveries: `queue` has how they come, wait and are taken, `settle` what comes of attempts,
//! `desk` what people see and decide.

mod desk;
mod lane;
mod queue;
mod settle;

use annals_core::{
    Attempt, Delivery, DeliveryId, DeliveryInfo, DeliveryQueue, DeliveryState, Enqueue, InboxInfo,
    NewDelivery, Position, ReadSideError, SelectDeliveries, Settled, SubscriberName, Take,
    Timestamp,
};
use async_trait::async_trait;

use self::desk::Among;
use super::SqliteReadSide;
pub(super) use desk::{delete_deliveries, used_by_takers};
pub(super) use queue::find_inbox;

/// The most bytes that are kept of a text about an attempt.
const TEXT_BYTES_MAX: usize = 8 * 1024;
/// How many deliveries are decided on in one transaction.
const PAGE_DELIVERIES: usize = 1_000;

const WAITING: i64 = 0;
const TAKEN: i64 = 1;
const DEAD: i64 = 2;
const DONE: i64 = 3;
const SKIPPED: i64 = 4;

fn state_number(state: DeliveryState) -> i64 {
    match state {
        DeliveryState::Taken => TAKEN,
        DeliveryState::Dead => DEAD,
        DeliveryState::Done => DONE,
        DeliveryState::Skipped => SKIPPED,
        _ => WAITING,
    }
}

fn state_of(number: i64) -> DeliveryState {
    match number {
        TAKEN => DeliveryState::Taken,
        DEAD => DeliveryState::Dead,
        DONE => DeliveryState::Done,
        SKIPPED => DeliveryState::Skipped,
        _ => DeliveryState::Waiting,
    }
}

#[async_trait]
impl DeliveryQueue for SqliteReadSide {
    async fn enqueue(&self, enqueue: Enqueue, now: Timestamp) -> Result<u64, ReadSideError> {
        enqueue.deliveries.iter().try_for_each(NewDelivery::check)?;
        self.write("enqueuing deliveries", move |connection| {
            queue::enqueue(connection, &enqueue, now)
        })
        .await
    }

    async fn take(&self, take: Take) -> Result<Vec<Delivery>, ReadSideError> {
        // Most who ask for nothing in vain ask a reader, who needs no lock.
        let (inbox, now) = (take.inbox.clone(), take.now);
        let is_any_due = self.read("looking for deliveries", move |connection| {
            queue::is_any_due(connection, &inbox, now)
        });
        if take.limit == 0 || !is_any_due.await? {
            return Ok(Vec::new());
        }
        self.write("taking deliveries", move |connection| queue::take(connection, &take).map(Ok))
            .await
    }

    async fn settle(&self, settled: Vec<Settled>, now: Timestamp) -> Result<(), ReadSideError> {
        self.write("settling deliveries", move |connection| {
            settle::settle(connection, &settled, now).map(Ok)
        })
        .await
    }

    async fn keep(
        &self,
        taken: &[(DeliveryId, u64)],
        until: Timestamp,
    ) -> Result<(), ReadSideError> {
        let taken = taken.to_vec();
        self.write("keeping deliveries", move |connection| {
            queue::keep(connection, &taken, until).map(Ok)
        })
        .await
    }

    async fn next_due(&self, inbox: &SubscriberName) -> Result<Option<Timestamp>, ReadSideError> {
        let inbox = inbox.clone();
        self.read("looking for deliveries", move |connection| queue::next_due(connection, &inbox))
            .await
    }

    async fn deliveries(
        &self,
        which: &SelectDeliveries,
        limit: usize,
    ) -> Result<Vec<DeliveryInfo>, ReadSideError> {
        let which = which.clone();
        self.read("listing deliveries", move |connection| {
            let found = desk::select(connection, &which, Among::to_see(&which), limit)?;
            Ok(found.into_iter().map(|found| found.info).collect())
        })
        .await
    }

    async fn attempts(&self, id: &DeliveryId) -> Result<Vec<Attempt>, ReadSideError> {
        let id = id.clone();
        self.read("listing attempts", move |connection| desk::attempts(connection, &id)).await
    }

    async fn retry(&self, which: &SelectDeliveries, now: Timestamp) -> Result<u64, ReadSideError> {
        self.decide(which, "retrying deliveries", move |connection, found| {
            desk::retry(connection, found, now)
        })
        .await
    }

    async fn skip(
        &self,
        which: &SelectDeliveries,
        reason: &str,
        now: Timestamp,
    ) -> Result<u64, ReadSideError> {
        let reason = cut(reason).to_owned();
        self.decide(which, "skipping deliveries", move |connection, found| {
            desk::skip(connection, found, &reason, now)
        })
        .await
    }

    async fn inboxes(&self) -> Result<Vec<InboxInfo>, ReadSideError> {
        self.read("counting deliveries", desk::inboxes).await
    }

    async fn forget(
        &self,
        inbox: &SubscriberName,
        before: Timestamp,
        limit: usize,
    ) -> Result<u64, ReadSideError> {
        let inbox = inbox.clone();
        self.write("forgetting deliveries", move |connection| {
            desk::forget(connection, &inbox, before, limit).map(Ok)
        })
        .await
    }
}

impl SqliteReadSide {
    /// Decides on all deliveries that are selected, some at a time, so that nobody else waits
    /// for long; on how many.
    async fn decide(
        &self,
        which: &SelectDeliveries,
        doing: &'static str,
        decide: impl Fn(&rusqlite::Connection, &[desk::Found]) -> rusqlite::Result<u64>
        + Clone
        + Send
        + 'static,
    ) -> Result<u64, ReadSideError> {
        // One inbox after the other, since each page is found along an index of one.
        let inboxes = match (&which.id, &which.inbox) {
            (None, None) => {
                let names = self.read(doing, desk::names).await?;
                names.into_iter().map(Some).collect()
            }
            (_, inbox) => vec![inbox.clone()],
        };
        let mut decided = 0;
        for inbox in inboxes {
            let mut which = which.clone();
            which.inbox = inbox;
            decided += self.decide_by_pages(which, doing, decide.clone()).await?;
        }
        Ok(decided)
    }

    async fn decide_by_pages(
        &self,
        mut which: SelectDeliveries,
        doing: &'static str,
        decide: impl Fn(&rusqlite::Connection, &[desk::Found]) -> rusqlite::Result<u64>
        + Clone
        + Send
        + 'static,
    ) -> Result<u64, ReadSideError> {
        let mut decided = 0;
        loop {
            let (page, decide) = (which.clone(), decide.clone());
            let done = self.write(doing, move |connection| {
                let among = Among::to_decide(&page);
                let found = desk::select(connection, &page, among, PAGE_DELIVERIES)?;
                let last = found.last().filter(|_| found.len() == PAGE_DELIVERIES);
                let last: Option<(Position, DeliveryId)> =
                    last.map(|last| (last.info.event.position, last.info.id.clone()));
                Ok(Ok::<_, ReadSideError>((decide(connection, &found)?, last)))
            });
            let (of_page, last) = done.await?;
            decided += of_page;
            let Some(last) = last else { return Ok(decided) };
            which.after = Some(last);
        }
    }
}

/// As much of a text as is kept.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use annals_core::{EventId, EventRef, EventType, StreamId, Then, Version};
    use rusqlite::{Connection, StatementStatus};

    use super::super::schema::READ_SIDE;
    use super::*;

    const STATEMENTS: &[(&str, &str)] = &[
        ("is any due", queue::IS_ANY_DUE),
        ("wake those whose moment has come", queue::WAKE),
        ("take those that are ready", queue::READY),
        ("find when the next is due", queue::NEXT_DUE),
        ("find the first of a lane", lane::FIRST),
        ("list one", desk::BY_ID),
        ("list all", desk::ALL),
        ("list the open ones", desk::OPEN_ONES),
        ("list the dead", desk::DEAD_ONES),
        ("list all of an inbox", desk::ALL_OF_INBOX),
        ("list the open ones of an inbox", desk::OPEN_OF_INBOX),
        ("list the dead of an inbox", desk::DEAD_OF_INBOX),
        ("count by inbox", desk::INBOXES),
        ("find those to forget", desk::OLD),
        ("find those that are being made", desk::TAKEN_NOW),
        ("find the last of an inbox", desk::LAST_OF_INBOX),
    ];

    fn open() -> Connection {
        let mut connection = Connection::open_in_memory().expect("memory is at hand");
        READ_SIDE.migrate(&mut connection).expect("the tables are made");
        connection
    }

    /// No statement goes through all deliveries, but for counting the open ones.
    #[test]
    fn statements_are_planned_as_ever() {
        let connection = open();
        let mut plans = String::new();
        for (what, statement) in STATEMENTS {
            writeln!(plans, "{what}").unwrap();
            let mut explain =
                connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
            let mut rows = explain.raw_query();
            while let Some(row) = rows.next().unwrap() {
                writeln!(plans, "  {}", row.get::<_, String>(3).unwrap()).unwrap();
            }
        }
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/read_side_plans.txt");
        if std::env::var_os("ANNALS_BLESS").is_some() && !golden.exists() {
            std::fs::write(&golden, &plans).unwrap();
        }
        assert_eq!(plans, std::fs::read_to_string(golden).unwrap());
    }

    const NOW: Timestamp = Timestamp::EPOCH;

    fn delivery(number: u64, lane: Option<String>) -> NewDelivery {
        let inbox = SubscriberName::from_static("email");
        let id = EventId::from_bytes(u128::from(number).to_be_bytes());
        NewDelivery {
            id: DeliveryId::new(&inbox, id, None),
            inbox,
            event: EventRef {
                id,
                position: Position::new(number),
                stream: StreamId::from_static("a-1"),
                version: Version::new(number),
                event_type: EventType::from_static("Happened"),
            },
            recipient: None,
            lane,
            due_at: NOW,
        }
    }

    /// How many steps SQLite takes to find ten deliveries, when so many wait.
    fn steps(count: u64, lane: fn(u64) -> Option<String>) -> i32 {
        let connection = open();
        connection.set_prepared_statement_cache_capacity(64);
        let deliveries = (1..=count).map(|number| delivery(number, lane(number))).collect();
        let enqueue = Enqueue { deliveries, advances: Vec::new() };
        connection.execute_batch("BEGIN").unwrap();
        assert_eq!(queue::enqueue(&connection, &enqueue, NOW).unwrap().unwrap(), count);
        let counted = [queue::WAKE, queue::READY, lane::FIRST];
        for statement in counted {
            connection.prepare_cached(statement).unwrap().reset_status(StatementStatus::VmStep);
        }
        for number in 1..=10 {
            let inbox = SubscriberName::from_static("email");
            let take = Take { inbox, limit: 1, now: NOW, until: Timestamp::MAX };
            let taken = queue::take(&connection, &take).unwrap();
            assert_eq!(taken[0].event.position.get(), number);
            let (id, token) = (taken[0].id.clone(), taken[0].token);
            let done = Settled { id, token, attempt: None, then: Then::Done };
            settle::settle(&connection, &[done], NOW).unwrap();
        }
        let of = |statement| {
            let statement = connection.prepare_cached(statement).unwrap();
            statement.get_status(StatementStatus::VmStep)
        };
        counted.into_iter().map(of).sum()
    }

    /// How many steps SQLite takes to find the only deliveries of an inbox that are not made yet,
    /// a waiting one and a dead one, where so many are.
    fn steps_to_the_open(count: u64, which: &SelectDeliveries, among: Among) -> i32 {
        let connection = open();
        connection.set_prepared_statement_cache_capacity(64);
        let deliveries = (1..=count).map(|number| delivery(number, None)).collect();
        let enqueue = Enqueue { deliveries, advances: Vec::new() };
        queue::enqueue(&connection, &enqueue, NOW).unwrap().unwrap();
        let mut settle = connection
            .prepare("UPDATE annals_deliveries SET state = ?2, open = ?3 WHERE position < ?1")
            .unwrap();
        settle.execute((stored(count), DEAD, 1)).unwrap();
        settle.execute((stored(count - 1), DONE, None::<i64>)).unwrap();
        let lists = STATEMENTS.iter().filter(|(what, _)| what.starts_with("list "));
        let lists = lists.map(|(_, statement)| connection.prepare_cached(statement).unwrap());
        drop(lists.collect::<Vec<_>>());
        assert!(!desk::select(&connection, which, among, 10).unwrap().is_empty());
        let of = |(_, statement): &(_, &str)| {
            let statement = connection.prepare_cached(statement).unwrap();
            statement.get_status(StatementStatus::VmStep)
        };
        STATEMENTS.iter().map(of).sum()
    }

    fn stored(number: u64) -> i64 {
        number.try_into().unwrap()
    }

    #[test]
    fn what_is_open_is_found_at_the_same_cost_however_many_are_made() {
        let inbox = || SelectDeliveries::inbox(SubscriberName::from_static("email"));
        let dead = || inbox().state(DeliveryState::Dead);
        let waiting = || inbox().state(DeliveryState::Waiting);
        for (which, among) in [
            (inbox(), Among::to_decide(&inbox())),
            (dead(), Among::to_decide(&dead())),
            (dead(), Among::to_see(&dead())),
            (waiting(), Among::to_see(&waiting())),
            (SelectDeliveries::all().state(DeliveryState::Dead), Among::to_see(&dead())),
            (SelectDeliveries::all().state(DeliveryState::Waiting), Among::to_see(&waiting())),
        ] {
            let of = |count| steps_to_the_open(count, &which, among);
            let (few, many) = (of(10), of(10_000));
            assert!(many <= few * 2, "{which:?}: {few} steps for 10, {many} for 10000");
        }
    }

    #[test]
    fn taking_costs_the_same_however_many_wait() {
        let one_lane = |_| Some("the only one".to_owned());
        let own_lanes = |number: u64| Some(number.to_string());
        for lane in [one_lane, own_lanes, |_| None] {
            let (few, many) = (steps(100, lane), steps(20_000, lane));
            assert!(many <= few * 2, "{few} steps for 100, {many} for 20000");
        }
    }
}
