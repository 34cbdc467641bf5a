//! The generations of an index in one cluster.

use std::sync::Arc;

use annals_core::Generation;
use async_trait::async_trait;

use crate::generations::as_made;
use crate::{Elasticsearch, Fields, Generations, IndexName, SearchError, SearchIndex};

/// The generations of an index in a cluster, `products-1`, `products-2` …, with the alias
/// `products` for the active one: for everybody who searches it by other means. The first
/// generation gets the alias when it is made.
#[derive(Clone, Debug)]
pub struct ElasticsearchGenerations {
    cluster: Elasticsearch,
    name: IndexName,
    fields: Fields,
}

impl ElasticsearchGenerations {
    /// In this cluster, under this name, each where these fields can be searched.
    #[must_use]
    pub fn new(cluster: Elasticsearch, name: IndexName, fields: Fields) -> Self {
        Self { cluster, name, fields }
    }
}

#[async_trait]
impl Generations for ElasticsearchGenerations {
    async fn open(&self, generation: Generation) -> Result<Arc<dyn SearchIndex>, SearchError> {
        let name = self.name.generation(generation);
        let open = |fields| async {
            let index = self.cluster.index(name.clone(), fields);
            index.create().await.map(|()| index)
        };
        let index = as_made(self.fields.clone(), open).await?;
        if generation == Generation::FIRST && self.cluster.bearers(&self.name).await?.is_empty() {
            self.point(generation).await?;
        }
        Ok(Arc::new(index))
    }

    async fn point(&self, generation: Generation) -> Result<(), SearchError> {
        self.cluster.point(&self.name, &self.name.generation(generation)).await
    }

    async fn remove(&self, generation: Generation) -> Result<(), SearchError> {
        self.cluster.remove(&self.name.generation(generation)).await
    }
}
