//! Queries on the wire.

use annals_core::{Category, EventType, StreamId, Tag};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// A [`Query`](annals_core::Query): an event matches when it matches any item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// The items; none match nothing.
    #[serde(deserialize_with = "items")]
    pub items: Vec<QueryItem>,
}

/// One item of a query: what is left out restricts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryItem {
    /// The event has any of these types.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<EventType>,
    /// The event has all of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// The event's stream is in any of these categories, or …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<Category>,
    /// … is any of these streams.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<StreamId>,
}

/// Items are counted before they are made: three bytes of text make a hundred of memory. Every
/// store takes fewer.
fn items<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<QueryItem>, D::Error> {
    const ITEMS_MAX: usize = 4_096;

    let items = Vec::<&RawValue>::deserialize(deserializer)?;
    if items.len() > ITEMS_MAX {
        return Err(D::Error::custom(format!("a query has more than {ITEMS_MAX} items")));
    }
    let items = items.into_iter().map(|json| serde_json::from_str(json.get()));
    items.collect::<Result<_, _>>().map_err(D::Error::custom)
}

impl From<Query> for annals_core::Query {
    fn from(query: Query) -> Self {
        query.items.into_iter().map(Into::into).collect()
    }
}

impl From<QueryItem> for annals_core::QueryItem {
    fn from(item: QueryItem) -> Self {
        Self {
            types: item.types,
            tags: item.tags,
            categories: item.categories,
            streams: item.streams,
        }
    }
}

impl From<&annals_core::Query> for Query {
    fn from(query: &annals_core::Query) -> Self {
        let items = query.items().iter().cloned();
        Self {
            items: items
                .map(|item| QueryItem {
                    types: item.types,
                    tags: item.tags,
                    categories: item.categories,
                    streams: item.streams,
                })
                .collect(),
        }
    }
}
