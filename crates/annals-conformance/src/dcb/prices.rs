//! A customer pays the price that was shown, if it is valid still: the last price, or one that
//! was replaced only a moment ago.

use std::time::Duration;

use annals_core::{Query, QueryItem, RecordedEvent, Timestamp};
use serde_json::json;

use super::{Refusal, decide, fact, number};
use crate::Backend;
use crate::probe::Probe;
use crate::storm::together;
use crate::words::{event_type, stream, tag};

const GRACE: Duration = Duration::from_secs(600);
const OUTDATED: Refusal = "the price is not valid any more";

fn minute(number: i64) -> Timestamp {
    Timestamp::from_micros(number * 60_000_000)
}

async fn price(store: &Probe, product: &str, price: u64, now: Timestamp) {
    let priced = decide(store, prices([product]), |_| {
        let tags = [format!("product:{product}")];
        let event = fact("ProductPriced", &tags, &json!({ "price": price }));
        Ok((stream(format!("product-{product}")), event.occurred_at(now)))
    });
    priced.await.map(drop).expect("prices may change at any time");
}

/// Orders several products at the prices shown; all must be valid.
async fn order<const N: usize>(
    store: &Probe,
    shown: [(&str, u64); N],
    now: Timestamp,
) -> Result<(), Refusal> {
    let ordered = decide(store, prices(shown.map(|(product, _)| product)), |history| {
        for (product, price) in shown {
            let own = tag(format!("product:{product}"));
            let of_product = history.iter().filter(|event| event.tags.contains(&own));
            if !is_valid(&of_product.collect::<Vec<_>>(), price, now) {
                return Err(OUTDATED);
            }
        }
        let tags = shown.map(|(product, _)| format!("product:{product}"));
        let (_, price) = shown[0];
        let event = fact("ProductsOrdered", &tags, &json!({ "price": price }));
        Ok((stream("order-1"), event.occurred_at(now)))
    });
    ordered.await.map(drop)
}

/// The decision looks at prices only: orders of the same product do not stand in each other's
/// way.
fn prices<const N: usize>(products: [&str; N]) -> Query {
    let item = |product| {
        let priced = QueryItem::new().event_type(event_type("ProductPriced"));
        priced.tag(tag(format!("product:{product}")))
    };
    products.into_iter().map(item).collect()
}

fn is_valid(history: &[&RecordedEvent], price: u64, now: Timestamp) -> bool {
    history.iter().enumerate().any(|(n, event)| {
        let replaced = history.get(n + 1).map(|next| next.occurred_at.saturating_add(GRACE));
        number(event, "price") == price && replaced.is_none_or(|end| now <= end)
    })
}

pub(crate) async fn dcb_dynamic_prices(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    assert_eq!(order(&store, [("tea", 5)], minute(0)).await, Err(OUTDATED));
    price(&store, "tea", 5, minute(0)).await;
    price(&store, "cup", 9, minute(0)).await;
    assert_eq!(order(&store, [("tea", 4)], minute(1)).await, Err(OUTDATED));
    assert_eq!(order(&store, [("tea", 5)], minute(1)).await, Ok(()));
    price(&store, "tea", 6, minute(20)).await;
    assert_eq!(order(&store, [("tea", 6), ("cup", 9)], minute(21)).await, Ok(()));
    assert_eq!(order(&store, [("tea", 5), ("cup", 9)], minute(30)).await, Ok(()), "within grace");
    assert_eq!(order(&store, [("cup", 9), ("tea", 5)], minute(31)).await, Err(OUTDATED));
    assert_eq!(order(&store, [("tea", 6), ("cup", 8)], minute(31)).await, Err(OUTDATED));
}

/// Prices change while customers order at what they have read. With changes an hour apart there
/// is no grace: wherever an order stands in the log, its price is the last one before it.
pub(crate) async fn dcb_dynamic_prices_racing(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    price(&store, "tea", 1, minute(60)).await;
    let mut accepted = 0;
    for round in 2..10 {
        let outcomes = together(4, |n| {
            let store = store.clone();
            async move {
                if n == 0 {
                    price(&store, "tea", round, minute(60 * round.cast_signed())).await;
                    return false;
                }
                // In the year 1971 every replaced price has run out of its grace.
                order(&store, [("tea", round - 1)], minute(600_000)).await.is_ok()
            }
        })
        .await;
        accepted += outcomes.into_iter().filter(|accepted| *accepted).count();
    }
    let mut current = None;
    let mut ordered = 0;
    for event in store.log().await {
        let price = number(&event, "price");
        if super::is(&event, "ProductPriced") {
            current = Some(price);
        } else {
            ordered += 1;
            assert_eq!(Some(price), current, "an order at an outdated price");
        }
    }
    assert_eq!(ordered, accepted, "orders in the log and orders confirmed");
}
