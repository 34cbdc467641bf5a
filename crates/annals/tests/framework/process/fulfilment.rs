//! The process of an order: stock is reserved, payment awaited, and what was done is undone when
//! it does not come.

use std::time::Duration;

use annals::process::{Commands, Steps, Trigger};
use annals::{Aggregate, AnyId, Apply, Event, ProcessManager, RecordedEvent};

use crate::process::shop::{
    Order, OrderCommand, OrderEvent, PaymentEvent, Release, Reserve, Stock,
};

/// How long a payment is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3600);

annals::inputs! {
    #[derive(Debug)]
    pub(crate) enum FulfilmentInput {
        Order(OrderEvent),
        Payment(PaymentEvent),
    }
}

#[derive(Clone, Debug, PartialEq, Event)]
pub(crate) enum FulfilmentEvent {
    Begun { item: String, quantity: u32 },
    StockReserved,
    Paid,
    NotPaidInTime,
}

#[derive(Debug, Default, Aggregate)]
#[aggregate(category = "fulfilment", event = FulfilmentEvent)]
pub(crate) struct Fulfilment {
    item: String,
    quantity: u32,
    is_reserved: bool,
    is_paid: bool,
}

impl Apply<FulfilmentEvent> for Fulfilment {
    fn apply(&mut self, event: FulfilmentEvent) {
        match event {
            FulfilmentEvent::Begun { item, quantity } => {
                (self.item, self.quantity) = (item, quantity);
            }
            FulfilmentEvent::StockReserved => self.is_reserved = true,
            FulfilmentEvent::Paid => self.is_paid = true,
            FulfilmentEvent::NotPaidInTime => {}
        }
    }
}

impl ProcessManager for Fulfilment {
    type Input = FulfilmentInput;
    const NAME: &'static str = "fulfilment";

    fn commands() -> Commands {
        Commands::new()
            .with::<Stock, Reserve>("Reserve")
            .with::<Stock, Release>("Release")
            .with::<Order, OrderCommand>("Order")
    }

    fn process_id(event: &FulfilmentInput, _: &RecordedEvent) -> Option<AnyId> {
        match event {
            FulfilmentInput::Order(OrderEvent::Placed { order, .. })
            | FulfilmentInput::Payment(PaymentEvent::PaymentReceived { order }) => {
                Some(order.into())
            }
            FulfilmentInput::Order(_) => None,
        }
    }

    fn react(&self, trigger: Trigger<'_, FulfilmentInput>, todo: &mut Steps<Self>) {
        match trigger {
            Trigger::Event { event: FulfilmentInput::Order(event), .. } => {
                let OrderEvent::Placed { order, item, quantity } = event else { return };
                let (item, quantity) = (item.clone(), *quantity);
                todo.record(FulfilmentEvent::Begun { item: item.clone(), quantity });
                todo.execute::<Stock>(item, Reserve { order: order.clone(), quantity });
                todo.deadline_in("payment", PATIENCE);
            }
            Trigger::Event { event: FulfilmentInput::Payment(_), .. } => {
                todo.record(FulfilmentEvent::Paid);
                todo.cancel("payment");
                if self.is_reserved {
                    self.ship(todo);
                }
            }
            Trigger::Deadline { name: "payment" } => {
                todo.record(FulfilmentEvent::NotPaidInTime);
                if self.is_reserved {
                    let (order, quantity) = (todo.id(), self.quantity);
                    todo.execute::<Stock>(&self.item, Release { order, quantity });
                }
                cancel(todo, "it was not paid in time");
            }
            Trigger::Accepted { command, .. } if command.of::<Stock, Reserve>().is_some() => {
                todo.record(FulfilmentEvent::StockReserved);
                if self.is_paid {
                    self.ship(todo);
                }
            }
            Trigger::Accepted { command, .. } if command.of::<Order, OrderCommand>().is_some() => {
                todo.finish();
            }
            Trigger::Refused { command, message, .. } if command.name() == "Reserve" => {
                todo.cancel("payment");
                cancel(todo, message);
            }
            _ => {}
        }
    }
}

impl Fulfilment {
    fn ship(&self, todo: &mut Steps<Self>) {
        let weight = (self.item != "nothing").then_some(1.5);
        todo.execute::<Order>(todo.id(), OrderCommand::Ship { weight });
    }
}

fn cancel(todo: &mut Steps<Fulfilment>, why: &str) {
    todo.execute::<Order>(todo.id(), OrderCommand::Cancel { why: why.to_owned() });
}
