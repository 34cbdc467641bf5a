//! Breaches of S8.

use std::sync::Arc;

use annals_core::error::AppendError;
use annals_core::{Append, EventStore, Limits, Receipt, Timestamp};
use async_trait::async_trait;

use crate::decorate::Decorator;

/// Tells the default limits, whatever the store beneath takes.
#[derive(Debug)]
pub struct TellsOtherLimits;

#[async_trait]
impl Decorator for TellsOtherLimits {
    fn limits<'a>(&'a self, _: &'a dyn EventStore) -> &'a Limits {
        &Limits::DEFAULT
    }
}

/// Says yes to appends that make no sense.
#[derive(Debug)]
pub struct AcceptsNonsense;

#[async_trait]
impl Decorator for AcceptsNonsense {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        if append.events().next().is_some() {
            return store.append(append).await;
        }
        let head = store.head().await?;
        Ok(Receipt {
            first_position: head,
            last_position: head,
            recorded_at: Timestamp::EPOCH,
            streams: Vec::new(),
        })
    }
}

/// Cuts off what is longer than its column.
#[derive(Debug)]
pub struct CutsOffData;

#[async_trait]
impl Decorator for CutsOffData {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        mut append: Append,
    ) -> Result<Receipt, AppendError> {
        for event in append.streams.iter_mut().flat_map(|part| &mut part.events) {
            event.data.bytes.truncate(65_535);
        }
        store.append(append).await
    }
}
