//! An item of the inventory: what it costs, in cents, and how many there are.

use annals::{Aggregate, Apply, Command, Event, FieldErrors};
use serde::{Deserialize, Serialize};
use validator::Validate;

use self::ItemEvent::{ItemPriced, ItemRestocked, ItemTaken};
use crate::naming::{Sku, plain};
use crate::whole::whole;

/// The most that is restocked or ordered at once.
pub const QUANTITY_MAX: u64 = 1_000_000;
/// The most that one piece costs.
pub const PRICE_MAX: u64 = 1_000_000_000;

#[derive(Clone, Debug, PartialEq, Event)]
pub enum ItemEvent {
    ItemPriced { price: u64 },
    ItemRestocked { quantity: u64 },
    ItemTaken { quantity: u64 },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Aggregate)]
#[aggregate(category = "item", event = ItemEvent, id = Sku, snapshot, cache)]
pub struct InventoryItem {
    pub price: Option<u64>,
    pub stock: u64,
}

#[annals::fold]
impl Apply<ItemEvent> for InventoryItem {
    fn apply(&mut self, event: ItemEvent) {
        match event {
            ItemPriced { price } => self.price = Some(price),
            ItemRestocked { quantity } => self.stock = self.stock.saturating_add(quantity),
            ItemTaken { quantity } => self.stock = self.stock.saturating_sub(quantity),
        }
    }
}

/// Sells the item for this price from now on; the first price puts it into the inventory.
#[derive(Clone, Debug, Default, Deserialize, Validate)]
#[serde(default, deny_unknown_fields)]
pub struct SetPrice {
    #[serde(skip)]
    #[validate(custom(function = "plain"))]
    pub sku: Sku,
    #[serde(deserialize_with = "whole")]
    #[validate(range(min = 1, max = PRICE_MAX))]
    pub price: u64,
}

/// Puts more of it into the inventory.
#[derive(Clone, Debug, Default, Deserialize, Validate)]
#[serde(default, deny_unknown_fields)]
pub struct Restock {
    #[serde(deserialize_with = "whole")]
    #[validate(range(min = 1, max = QUANTITY_MAX))]
    pub quantity: u64,
}

/// Takes some of it out, sold for this price.
#[derive(Clone, Debug, Validate)]
pub struct Take {
    #[validate(range(min = 1, max = QUANTITY_MAX))]
    pub quantity: u64,
    pub price: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemRefusal {
    #[error("only {stock} are in stock")]
    NotEnough { stock: u64 },
    #[error("there is no such item; PUT it with a price first")]
    NotFound,
    #[error("it costs {price} now")]
    PriceChanged { price: u64 },
    #[error("that is more than the inventory can count")]
    TooMany,
}
use ItemRefusal::{NotEnough, NotFound, PriceChanged, TooMany};

impl Command<InventoryItem> for SetPrice {
    type Error = ItemRefusal;

    fn field_errors(&self) -> FieldErrors {
        FieldErrors::of(self)
    }

    fn decide(self, item: &InventoryItem) -> Result<Vec<ItemEvent>, ItemRefusal> {
        if item.price == Some(self.price) {
            return Ok(vec![]);
        }
        Ok(vec![ItemPriced { price: self.price }])
    }
}

impl Command<InventoryItem> for Restock {
    type Error = ItemRefusal;

    fn field_errors(&self) -> FieldErrors {
        FieldErrors::of(self)
    }

    fn decide(self, item: &InventoryItem) -> Result<Vec<ItemEvent>, ItemRefusal> {
        item.price.ok_or(NotFound)?;
        item.stock.checked_add(self.quantity).ok_or(TooMany)?;
        Ok(vec![ItemRestocked { quantity: self.quantity }])
    }
}

impl Command<InventoryItem> for Take {
    type Error = ItemRefusal;

    fn field_errors(&self) -> FieldErrors {
        FieldErrors::of(self)
    }

    fn decide(self, item: &InventoryItem) -> Result<Vec<ItemEvent>, ItemRefusal> {
        let price = item.price.ok_or(NotFound)?;
        if self.price != price {
            return Err(PriceChanged { price });
        }
        if self.quantity > item.stock {
            return Err(NotEnough { stock: item.stock });
        }
        Ok(vec![ItemTaken { quantity: self.quantity }])
    }
}
