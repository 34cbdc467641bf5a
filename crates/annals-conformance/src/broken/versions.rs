//! Breaches of S3.

use std::sync::Arc;

use annals_core::error::AppendError;
use annals_core::{
    Append, EventStore, EventStream, Read, Receipt, RecordedEvent, Subscribe, Subscription, Version,
};
use async_trait::async_trait;

use crate::decorate::{Decorator, changed, changed_notices};

/// Leaves one version out of each stream, as after an insert that was rolled back.
#[derive(Debug)]
pub struct SkipsVersions;

fn skipping(mut event: RecordedEvent) -> RecordedEvent {
    if event.version > Version::new(2) {
        event.version = event.version.next();
    }
    event
}

#[async_trait]
impl Decorator for SkipsVersions {
    fn read(&self, store: &Arc<dyn EventStore>, read: Read) -> EventStream {
        changed(store.read(read), skipping)
    }

    fn subscribe(&self, store: &Arc<dyn EventStore>, subscribe: Subscribe) -> Subscription {
        changed_notices(store.subscribe(subscribe), skipping)
    }
}

/// Tells the version of a stream's first new event instead of its last.
#[derive(Debug)]
pub struct MisreportsVersions;

#[async_trait]
impl Decorator for MisreportsVersions {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        let mut receipt = store.append(append.clone()).await?;
        for part in &mut receipt.streams {
            let written = append.streams.iter().find(|given| given.stream == part.stream);
            let more = written.map_or(0, |given| given.events.len().saturating_sub(1));
            part.version = Version::new(part.version.get().saturating_sub(more as u64));
        }
        Ok(receipt)
    }
}
