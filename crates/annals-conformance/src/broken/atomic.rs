//! Breaches of S1.

use std::sync::Arc;
use std::time::Duration;

use annals_core::error::AppendError;
use annals_core::{Append, EventStore, EventStream, Read, Receipt};
use async_trait::async_trait;
use tokio::sync::Notify;

use crate::decorate::Decorator;

/// Writes one stream after the other instead of all together, and looks at the conditions last.
#[derive(Debug, Default)]
pub struct TearsAppends {
    read: Notify,
}

#[async_trait]
impl Decorator for TearsAppends {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        append: Append,
    ) -> Result<Receipt, AppendError> {
        let Append { streams, mut conditions } = append;
        let with_events: Vec<_> =
            streams.iter().enumerate().filter(|(_, part)| !part.events.is_empty()).collect();
        let Some((last, _)) = with_events.last().copied() else {
            return store.append(Append { streams, conditions }).await;
        };
        let mut torn: Option<Receipt> = None;
        let mut pending = Vec::new();
        for (n, part) in streams.iter().enumerate() {
            pending.push(part.clone());
            // What has no events cannot be appended alone and goes with what follows.
            if part.events.is_empty() && n < last {
                continue;
            }
            let mut piece =
                Append { streams: std::mem::take(&mut pending), conditions: Vec::new() };
            if n >= last {
                piece.streams.extend(streams[n + 1..].iter().cloned());
                piece.conditions = std::mem::take(&mut conditions);
            }
            let receipt = store.append(piece).await?;
            // Until somebody has looked, so that half an append can be seen.
            let _ = tokio::time::timeout(Duration::from_millis(2), self.read.notified()).await;
            torn = Some(match torn.take() {
                None => receipt,
                Some(mut first) => {
                    first.last_position = receipt.last_position;
                    first.streams.extend(receipt.streams);
                    first
                }
            });
            if n >= last {
                break;
            }
        }
        Ok(torn.expect("the last stream with events was appended"))
    }

    fn read(&self, store: &Arc<dyn EventStore>, read: Read) -> EventStream {
        self.read.notify_waiters();
        store.read(read)
    }
}

/// Writes the first stream of an append and forgets the others.
#[derive(Debug)]
pub struct WritesOneStream;

#[async_trait]
impl Decorator for WritesOneStream {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        mut append: Append,
    ) -> Result<Receipt, AppendError> {
        if append.streams.first().is_some_and(|part| !part.events.is_empty()) {
            append.streams.truncate(1);
        }
        store.append(append).await
    }
}
