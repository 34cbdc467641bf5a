//! Breaches of S10.

use std::sync::Arc;

use annals_core::error::AppendError;
use annals_core::{
    Append, ContentType, EventId, EventStore, EventStream, EventType, Metadata, Query, QueryItem,
    Read, Receipt, Scope, StreamId, Tag,
};
use async_trait::async_trait;
use serde_json::Value;

use crate::decorate::Decorator;

/// Keeps JSON as values, not as text.
#[derive(Debug)]
pub struct ReserialisesJson;

#[async_trait]
impl Decorator for ReserialisesJson {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        mut append: Append,
    ) -> Result<Receipt, AppendError> {
        for event in append.streams.iter_mut().flat_map(|part| &mut part.events) {
            let value = serde_json::from_slice::<Value>(&event.data.bytes);
            if event.data.content_type == ContentType::JSON
                && let Ok(value) = value
            {
                event.data.bytes = value.to_string().into();
            }
            if let Ok(metadata) = Metadata::new(event.metadata.to_map()) {
                event.metadata = metadata;
            }
        }
        store.append(append).await
    }
}

/// Makes every id a UUID of version 7.
#[derive(Debug)]
pub struct StampsIds;

#[async_trait]
impl Decorator for StampsIds {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        mut append: Append,
    ) -> Result<Receipt, AppendError> {
        for event in append.streams.iter_mut().flat_map(|part| &mut part.events) {
            let mut bytes = *event.id.as_bytes();
            bytes[6] = bytes[6] & 0x0f | 0x70;
            bytes[8] = bytes[8] & 0x3f | 0x80;
            event.id = EventId::from_bytes(bytes);
        }
        store.append(append).await
    }
}

/// Compares names without regard to case, as a column does with the wrong collation.
#[derive(Debug)]
pub struct FoldsCase;

fn stream(name: &StreamId) -> StreamId {
    StreamId::from_stored(name.as_str().to_lowercase())
}

fn event_type(name: &EventType) -> EventType {
    EventType::from_stored(name.as_str().to_lowercase())
}

fn tag(name: &Tag) -> Tag {
    Tag::from_stored(name.as_str().to_lowercase())
}

fn query(query: &Query) -> Query {
    let item = |item: &QueryItem| QueryItem {
        types: item.types.iter().map(event_type).collect(),
        tags: item.tags.iter().map(tag).collect(),
        streams: item.streams.iter().map(stream).collect(),
        categories: item.categories.clone(),
    };
    query.items().iter().map(item).collect()
}

#[async_trait]
impl Decorator for FoldsCase {
    async fn append(
        &self,
        store: &Arc<dyn EventStore>,
        mut append: Append,
    ) -> Result<Receipt, AppendError> {
        for part in &mut append.streams {
            part.stream = stream(&part.stream);
            for event in &mut part.events {
                event.event_type = event_type(&event.event_type);
                event.tags = event.tags.iter().map(tag).collect();
            }
        }
        for condition in &mut append.conditions {
            condition.query = query(&condition.query);
        }
        store.append(append).await
    }

    fn read(&self, store: &Arc<dyn EventStore>, mut read: Read) -> EventStream {
        read.scope = match &read.scope {
            Scope::Stream(name) => Scope::Stream(stream(name)),
            Scope::Query(asked) => Scope::Query(query(asked)),
        };
        store.read(read)
    }
}
