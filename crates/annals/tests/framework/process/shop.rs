//! A small shop: stock that can be reserved, and orders.

use annals::{Aggregate, Apply, Command, Event};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Event)]
pub(crate) enum StockEvent {
    Stocked { quantity: u32 },
    Reserved { order: String, quantity: u32 },
    Released { order: String, quantity: u32 },
}

#[derive(Debug, Default, Aggregate)]
#[aggregate(category = "stock", event = StockEvent)]
pub(crate) struct Stock {
    pub(crate) left: u32,
}

impl Apply<StockEvent> for Stock {
    fn apply(&mut self, event: StockEvent) {
        match event {
            StockEvent::Stocked { quantity } | StockEvent::Released { quantity, .. } => {
                self.left += quantity;
            }
            StockEvent::Reserved { quantity, .. } => self.left -= quantity,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("only {left} are left")]
pub(crate) struct SoldOut {
    left: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AddStock {
    pub(crate) quantity: u32,
}

impl Command<Stock> for AddStock {
    type Error = SoldOut;
    fn decide(self, _: &Stock) -> Result<Vec<StockEvent>, SoldOut> {
        Ok(vec![StockEvent::Stocked { quantity: self.quantity }])
    }
}

/// Executed twice it reserves twice: the shop itself recognises no order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reserve {
    pub(crate) order: String,
    pub(crate) quantity: u32,
}

impl Command<Stock> for Reserve {
    type Error = SoldOut;
    fn decide(self, stock: &Stock) -> Result<Vec<StockEvent>, SoldOut> {
        let Self { order, quantity } = self;
        match quantity > stock.left {
            true => Err(SoldOut { left: stock.left }),
            false => Ok(vec![StockEvent::Reserved { order, quantity }]),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Release {
    pub(crate) order: String,
    pub(crate) quantity: u32,
}

impl Command<Stock> for Release {
    type Error = SoldOut;
    fn decide(self, _: &Stock) -> Result<Vec<StockEvent>, SoldOut> {
        let Self { order, quantity } = self;
        Ok(vec![StockEvent::Released { order, quantity }])
    }
}

#[derive(Clone, Debug, PartialEq, Event)]
pub(crate) enum OrderEvent {
    Placed { order: String, item: String, quantity: u32 },
    Shipped { weight: f64 },
    Cancelled { why: String },
}

#[derive(Clone, Debug, PartialEq, Event)]
pub(crate) enum PaymentEvent {
    PaymentReceived { order: String },
}

#[derive(Debug, Default, Aggregate)]
#[aggregate(category = "order", event = OrderEvent)]
pub(crate) struct Order {
    pub(crate) shipped: u32,
    pub(crate) cancelled: Vec<String>,
}

impl Apply<OrderEvent> for Order {
    fn apply(&mut self, event: OrderEvent) {
        match event {
            OrderEvent::Placed { .. } => {}
            OrderEvent::Shipped { .. } => self.shipped += 1,
            OrderEvent::Cancelled { why } => self.cancelled.push(why),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum OrderCommand {
    Ship { weight: Option<f64> },
    Cancel { why: String },
}

impl Command<Order> for OrderCommand {
    type Error = std::convert::Infallible;
    fn decide(self, _: &Order) -> Result<Vec<OrderEvent>, Self::Error> {
        Ok(vec![match self {
            // What has no weight cannot be stored.
            Self::Ship { weight } => OrderEvent::Shipped { weight: weight.unwrap_or(f64::NAN) },
            Self::Cancel { why } => OrderEvent::Cancelled { why },
        }])
    }
}
