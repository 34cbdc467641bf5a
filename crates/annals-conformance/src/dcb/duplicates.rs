//! A form that is sent twice makes one order: the client gives it a token of its own.

use serde_json::json;

use super::{Refusal, decide, fact};
use crate::Backend;
use crate::probe::Probe;
use crate::storm::together;
use crate::words::{stream, tagged};

const RESUBMITTED: Refusal = "the order was placed already";

async fn place(store: &Probe, order: usize, token: &str) -> Result<(), Refusal> {
    let own = format!("token:{token}");
    let placed = decide(store, tagged([own.as_str()]), |history| {
        if !history.is_empty() {
            return Err(RESUBMITTED);
        }
        let event = fact("OrderPlaced", &[own.clone(), format!("order:{order}")], &json!({}));
        Ok((stream(format!("order-{order}")), event))
    });
    placed.await.map(drop)
}

pub(crate) async fn dcb_record_duplication(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    assert_eq!(place(&store, 1, "11111").await, Ok(()));
    assert_eq!(place(&store, 2, "11111").await, Err(RESUBMITTED));
    assert_eq!(place(&store, 1, "11111").await, Err(RESUBMITTED));
    assert_eq!(place(&store, 2, "22222").await, Ok(()));
    assert_eq!(store.log().await.len(), 2);
}

/// Four forms are sent four times each, all at once.
pub(crate) async fn dcb_record_duplication_racing(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let outcomes = together(16, |n| {
        let store = store.clone();
        async move { place(&store, n, &format!("form{}", n % 4)).await }
    })
    .await;
    let placed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(placed, 4, "four forms make four orders: {outcomes:?}");
    assert_eq!(store.log().await.len(), 4);
}
