//! What the shop begins with: a small stock and its catalogue, and customers from before the addresses had their
//! present shape.

use annals::{
    AppendError, BatchError, Data, EventId, EventStoreExt, EventType, ExpectedVersion, NewEvent,
    StreamId, Timestamp,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::item::{InventoryItem, Restock, SetPrice};
use crate::naming::Sku;
use crate::product::{Offer, Product};
use crate::shop::Shop;

/// What is ordered by what, is called how, costs how many cents, and is there how often.
const STOCK: [(&str, &str, u64, u64); 3] = [
    ("TEA", "Green tea, 100 g", 450, 40),
    ("CUP", "Tea cup, blue", 1_200, 6),
    ("POT", "Tea pot, blue", 3_500, 2),
];

/// A line is an event, as `annals append --from` reads them.
const OLD_ADDRESSES: &str = include_str!("../fixtures/addresses-v1.jsonl");

/// Why the demo was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotLoaded {
    /// The stock or the catalogue was not recorded.
    #[error("cannot record the demo's stock and catalogue")]
    Stock(#[from] BatchError),
    /// A line of the old events is not one.
    #[error("cannot read the demo's old events")]
    Line(#[from] serde_json::Error),
    /// The old events were not recorded.
    #[error("cannot record the demo's old events")]
    Events(#[from] AppendError),
}

/// Loads it, once: whatever is there already is recognised by its ids.
///
/// # Errors
/// [`NotLoaded`].
pub async fn load(shop: &Shop) -> Result<(), NotLoaded> {
    // No request has this id: theirs have no spaces.
    let mut stock = shop.annals().batch().id("demo stock");
    for (sku, _, price, quantity) in STOCK {
        let sku = Sku::from(sku);
        stock = stock
            .execute::<InventoryItem, _>(sku.clone(), SetPrice { sku: sku.clone(), price })
            .execute::<InventoryItem, _>(sku, Restock { quantity });
    }
    stock.await?;
    let mut catalogue = shop.annals().batch().id("demo catalogue");
    for (sku, name, price, _) in STOCK {
        let (sku, name) = (Sku::from(sku), name.to_owned());
        catalogue = catalogue.execute::<Product, _>(sku.clone(), Offer { sku, name, price });
    }
    catalogue.await?;
    for line in OLD_ADDRESSES.lines() {
        let (stream, event) = old_event(line)?;
        shop.annals().store().append_to(stream, ExpectedVersion::Any, [event]).await?;
    }
    Ok(())
}

/// An event as it was written then, in its first shape.
fn old_event(line: &str) -> Result<(StreamId, NewEvent), serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line<'a> {
        stream: StreamId,
        id: EventId,
        #[serde(rename = "type")]
        event_type: EventType,
        #[serde(borrow)]
        data: &'a RawValue,
        occurred_at: Timestamp,
    }
    let Line { stream, id, event_type, data, occurred_at } = serde_json::from_str(line)?;
    let event = NewEvent::new(event_type, Data::json(data.get().to_owned()));
    Ok((stream, event.with_id(id).occurred_at(occurred_at)))
}
