//! Breaches of S4.

use std::sync::Arc;

use annals_core::error::AppendError;
use annals_core::{Append, Direction, EventStore, EventStream, Read, Receipt, Scope};
use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::decorate::Decorator;

/// Returns every two events of a query in the wrong order.
#[derive(Debug)]
pub struct SwapsNeighbours;

#[async_trait]
impl Decorator for SwapsNeighbours {
    fn read(&self, store: &Arc<dyn EventStore>, read: Read) -> EventStream {
        let sound = matches!(read.scope, Scope::Stream(_)) || read.direction == Direction::Backward;
        let events = store.read(read);
        if sound {
            return events;
        }
        let swapped = events.try_chunks(2).map(|pair| match pair {
            Ok(mut pair) => {
                pair.reverse();
                stream::iter(pair.into_iter().map(Ok).collect::<Vec<_>>())
            }
            Err(error) => stream::iter(vec![Err(error.1)]),
        });
        Box::pin(swapped.flatten())
    }
}

/// Tells the first position of an append as its last.
#[derive(Debug)]
pub struct MisreportsPositions;

#[async_trait]
impl Decorator for MisreportsPositions {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        let mut receipt = store.append(append).await?;
        receipt.last_position = receipt.first_position;
        Ok(receipt)
    }
}
