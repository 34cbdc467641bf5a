#![doc = include_str!("docs/shop.md")]

#[doc = include_str!("docs/inventory.md")]
pub mod inventory {}

#[doc = include_str!("docs/orders.md")]
pub mod orders {}

#[doc = include_str!("docs/addresses.md")]
pub mod addresses {}

#[doc = include_str!("docs/fulfilment.md")]
pub mod fulfilment {}
