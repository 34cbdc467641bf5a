//! An order: who ordered what, and for how much, in cents.

use annals::{Aggregate, Apply, Command, Context, Denied, Event, FieldErrors};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use self::OrderEvent::OrderCreated;
use crate::item::{PRICE_MAX, QUANTITY_MAX, Take};
use crate::naming::{Sku, plain};
use crate::whole::whole;

#[derive(Clone, Debug, PartialEq, Event)]
pub enum OrderEvent {
    OrderCreated { user_id: String, items: Vec<OrderItem>, total: u64 },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Aggregate)]
#[aggregate(category = "order", event = OrderEvent)]
pub struct Order {
    pub user_id: String,
    pub items: Vec<OrderItem>,
    pub total: u64,
}

impl Apply<OrderEvent> for Order {
    fn apply(&mut self, event: OrderEvent) {
        let OrderCreated { user_id, items, total } = event;
        *self = Self { user_id, items, total };
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OrderItem {
    pub sku: Sku,
    pub quantity: u64,
    pub price: u64,
}

/// What a user asks for. What is left out is empty, which its rules then say.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Validate)]
#[serde(default, deny_unknown_fields)]
pub struct CreateOrder {
    #[validate(custom(function = "plain"))]
    pub user_id: String,
    #[validate(nested, length(min = 1, max = 100, message = "order 1 to 100 items"))]
    pub items: Vec<WantedItem>,
    #[serde(deserialize_with = "whole")]
    pub total: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Validate)]
#[serde(default, deny_unknown_fields)]
pub struct WantedItem {
    #[validate(custom(function = "plain"))]
    pub sku: Sku,
    #[serde(deserialize_with = "whole")]
    #[validate(range(min = 1, max = QUANTITY_MAX))]
    pub quantity: u64,
    #[serde(deserialize_with = "whole")]
    #[validate(range(min = 1, max = PRICE_MAX))]
    pub price: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefusal {
    #[error("there is an order with this id already")]
    AlreadyCreated,
}

impl Command<Order> for CreateOrder {
    type Error = OrderRefusal;

    fn field_errors(&self) -> FieldErrors {
        let matches = self.sum() == Some(self.total);
        let what = "must be the sum of quantity times price of all items";
        FieldErrors::of(self).check(matches, "total", "mismatch", what)
    }

    fn authorise(&self, _: &Order, context: &Context) -> Result<(), Denied> {
        let own = context.who() == Some(&self.user_id);
        Denied::unless(own, "users order for themselves only; say who you are in X-Actor")
    }

    fn decide(self, order: &Order) -> Result<Vec<OrderEvent>, OrderRefusal> {
        if !order.items.is_empty() {
            return Err(OrderRefusal::AlreadyCreated);
        }
        let Self { user_id, items, total } = self;
        let items = items.into_iter().map(OrderItem::from).collect();
        Ok(vec![OrderCreated { user_id, items, total }])
    }
}

impl CreateOrder {
    /// What its items cost together; `None` when that is more than can be counted.
    fn sum(&self) -> Option<u64> {
        let costs = self.items.iter().map(|item| item.quantity.checked_mul(item.price));
        costs.into_iter().try_fold(0_u64, |sum, cost| sum.checked_add(cost?))
    }

    /// What it takes out of the inventory, item by item.
    pub fn takes(&self) -> impl Iterator<Item = (Sku, Take)> {
        let take = |item: &WantedItem| Take { quantity: item.quantity, price: item.price };
        self.items.iter().map(move |item| (item.sku.clone(), take(item)))
    }

    /// Whether this order is the one that was asked for.
    #[must_use]
    pub fn is(&self, order: &Order) -> bool {
        let items = self.items.iter().cloned().map(OrderItem::from);
        (&self.user_id, self.total) == (&order.user_id, order.total)
            && items.eq(order.items.iter().cloned())
    }
}

impl From<WantedItem> for OrderItem {
    fn from(WantedItem { sku, quantity, price }: WantedItem) -> Self {
        Self { sku, quantity, price }
    }
}
