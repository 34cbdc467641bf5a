//! What tests of projections and inboxes say, when they hold and when they fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use annals::inbox::Retries;
use annals::testing::{deliver, project};
use annals::{
    Event, EventType, Inbox, Keys, Projection, ReactError, Reacting, RecordedEvent, RowKey, types,
};

use crate::testing::failure as message_of;

#[derive(Debug, Event)]
enum TransferEvent {
    MoneyTransferred { to: String, amount: u64 },
    AccountClosed,
}
use TransferEvent::*;

/// What each account has received; closing the sender changes nothing of it.
struct Received;

impl Projection for Received {
    type Event = TransferEvent;
    type Row = u64;
    const NAME: &'static str = "received";

    fn keys(&self) -> Keys<TransferEvent> {
        Keys::by(|event, _| match event {
            MoneyTransferred { to, .. } => vec![to.into()],
            AccountClosed => vec![],
        })
    }

    fn apply(
        &self,
        _: &RowKey,
        row: Option<u64>,
        event: &TransferEvent,
        _: &RecordedEvent,
    ) -> Option<u64> {
        match event {
            MoneyTransferred { amount, .. } => Some(row.unwrap_or(0) + amount),
            AccountClosed => row,
        }
    }
}

fn transferred(to: &str, amount: u64) -> TransferEvent {
    MoneyTransferred { to: to.into(), amount }
}

#[test]
fn rows_are_what_was_demanded() {
    project(Received)
        .given("account-1", [transferred("2", 5), transferred("3", 1)])
        .given("account-2", [transferred("3", 2), AccountClosed])
        .then_row("3", 3)
        .then_no_row("1")
        .then_rows([("2", 5), ("3", 3)]);
}

#[test]
fn another_row_is_shown_beside_the_one_that_was_demanded() {
    let given = || project(Received).given("account-1", [transferred("2", 5)]);
    let message = message_of(|| drop(given().then_row("2", 6)));
    assert!(message.contains("-6") && message.contains("+5"), "{message}");
    assert!(message.contains("account-1: MoneyTransferred"), "{message}");
    let message = message_of(|| drop(given().then_no_row("2")));
    assert!(message.contains("there is a row 2"), "{message}");
    let message = message_of(|| drop(given().then_rows([("7", 5)])));
    assert!(message.contains("the rows are others"), "{message}");
    let message = message_of(|| given().then_poisoned());
    assert!(message.contains("every event can be applied"), "{message}");
}

/// Counts what it has seen in all, which is not in its rows.
struct Impure(AtomicU32);

impl Projection for Impure {
    type Event = TransferEvent;
    type Row = u32;
    const NAME: &'static str = "impure";

    fn apply(
        &self,
        _: &RowKey,
        _: Option<u32>,
        _: &TransferEvent,
        _: &RecordedEvent,
    ) -> Option<u32> {
        Some(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

#[test]
fn a_projection_that_is_not_pure_is_found_out() {
    let message = message_of(|| {
        let impure = project(Impure(AtomicU32::new(0)));
        drop(impure.given("account-1", [AccountClosed]).then_row("1", 0));
    });
    assert!(message.contains("three parts"), "{message}");
}

fn flaky(failures: u32) -> Inbox {
    let left = Arc::new(AtomicU32::new(failures));
    Inbox::on(
        "flaky",
        types!(TransferEvent::{MoneyTransferred}),
        move |_: TransferEvent, _: Reacting| {
            let left = Arc::clone(&left);
            async move {
                let fails = left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                match fails {
                    Ok(_) => Err(ReactError::transient(std::io::Error::other("not yet"))),
                    Err(_) => Ok(()),
                }
            }
        },
    )
}

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn a_delivery_is_tried_again_when_the_test_lets_time_pass_and_not_before() {
    deliver(flaky(2))
        .given("account-1", [transferred("2", 5), AccountClosed])
        .then_waiting(1)
        .then_attempts("account-1", 1)
        .after(HOUR)
        .then_waiting(1)
        .after(HOUR)
        .then_delivered(1)
        .then_attempts("account-1", 3);
}

#[test]
fn what_is_dead_can_be_retried() {
    let test = deliver(flaky(2).retry(Retries::default().attempts_max(2)))
        .given("account-1", [transferred("2", 5)])
        .after(HOUR)
        .then_dead(1)
        .retry_dead()
        .then_dead(0)
        .then_delivered(1);
    assert_eq!(test.deliveries()[0].event.event_type, EventType::from_static("MoneyTransferred"));
}

#[test]
fn a_test_of_an_inbox_says_what_was_delivered_instead() {
    let message = message_of(|| {
        drop(deliver(flaky(1)).given("account-1", [transferred("2", 5)]).then_delivered(1));
    });
    assert!(message.contains("0 and not 1") && message.contains("not yet"), "{message}");
    let message = message_of(|| drop(deliver(flaky(1)).then_attempts("account-1", 1)));
    assert!(message.contains("nothing of account-1"), "{message}");
}
