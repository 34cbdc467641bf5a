//! Given events of a process, when something is delivered: what passes, and what each `then` says
//! else.

use annals::testing::{Reacted, given_nothing, given_process, now};

use crate::process::fulfilment::FulfilmentEvent::{Begun, NotPaidInTime, Paid, StockReserved};
use crate::process::fulfilment::{Fulfilment, FulfilmentEvent, PATIENCE};
use crate::process::shop::{
    AddStock, Order, OrderCommand, OrderEvent, PaymentEvent, Release, Reserve, Stock,
};
use crate::testing::failure;

fn begun() -> FulfilmentEvent {
    Begun { item: "apple".into(), quantity: 3 }
}

fn reserve() -> Reserve {
    Reserve { order: "7".into(), quantity: 3 }
}

fn cancel(why: &str) -> OrderCommand {
    OrderCommand::Cancel { why: why.into() }
}

/// An order was placed.
fn placed() -> Reacted<Fulfilment> {
    let event = OrderEvent::Placed { order: "7".into(), item: "apple".into(), quantity: 3 };
    given_process::<Fulfilment>([]).when(event)
}

#[test]
fn what_is_so_passes() {
    let stocked = given_nothing::<Stock>().when(AddStock { quantity: 3 });
    stocked.then_state(|stock| assert_eq!(stock.left, 3));
    placed()
        .then_records([begun()])
        .then_executes::<Stock>("apple", reserve())
        .then_deadline("payment", now().saturating_add(PATIENCE))
        .then_nothing_else();
    given_process::<Fulfilment>([begun(), StockReserved])
        .when(PaymentEvent::PaymentReceived { order: "7".into() })
        .then_records([Paid])
        .then_cancels("payment")
        .then_executes::<Order>("7", OrderCommand::Ship { weight: Some(1.5) })
        .then_nothing_else();
    given_process::<Fulfilment>([begun(), StockReserved])
        .when_deadline("payment")
        .then_records([NotPaidInTime])
        .then_executes::<Stock>("apple", Release { order: "1".into(), quantity: 3 })
        .then_executes::<Order>("1", cancel("it was not paid in time"))
        .then_nothing_else();
    given_process::<Fulfilment>([begun()])
        .when_accepted::<Stock>("apple", reserve())
        .then_records([StockReserved])
        .then_nothing_else();
    given_process::<Fulfilment>([begun()])
        .when_refused::<Stock>("apple", reserve(), "only 2 are left")
        .then_records([])
        .then_cancels("payment")
        .then_executes::<Order>("1", cancel("only 2 are left"))
        .then_nothing_else();
    given_process::<Fulfilment>([begun()])
        .when_accepted::<Order>("1", cancel("why not"))
        .then_finishes()
        .then_nothing_else();
    given_process::<Fulfilment>([]).when_unconcerned(OrderEvent::Cancelled { why: String::new() });
}

#[test]
fn what_is_not_so_says_so() {
    for (says, contains) in [
        (failure(|| placed().then_records([])), "other events were expected"),
        (failure(|| placed().then_records([Paid])), "- Paid"),
        (
            failure(|| placed().then_executes::<Stock>("pear", reserve())),
            "expected was Reserve on stock-pear: {\"order\":\"7\",\"quantity\":3}, but:\n    \
             records Begun {\"item\":\"apple\",\"quantity\":3}\n    executes Reserve on stock-apple",
        ),
        (failure(|| placed().then_deadline("payment", now())), "the deadline payment at 2026"),
        (failure(|| placed().then_cancels("payment")), "cancelling the deadline payment"),
        (failure(|| placed().then_finishes()), "expected was finishing"),
        (failure(|| placed().then_records([begun()]).then_nothing_else()), "sets the deadline"),
        (
            failure(|| given_process::<Fulfilment>([]).when(OrderEvent::Shipped { weight: 1.0 })),
            "was expected to concern a process",
        ),
        (
            failure(|| {
                let paid = PaymentEvent::PaymentReceived { order: "7".into() };
                given_process::<Fulfilment>([]).when_unconcerned(paid);
            }),
            "was expected to concern no process",
        ),
        (
            failure(|| given_process::<Fulfilment>([]).when(begun())),
            "Begun is none of the events it reacts to",
        ),
    ] {
        assert!(says.contains(contains), "{says}");
    }
}

#[test]
fn commands_are_executed_in_the_order_that_is_demanded() {
    let says = failure(|| {
        given_process::<Fulfilment>([begun(), StockReserved])
            .when_deadline("payment")
            .then_executes::<Order>("1", cancel("it was not paid in time"))
    });
    assert!(says.starts_with("when the deadline payment: expected was Order on order-1"), "{says}");
}
