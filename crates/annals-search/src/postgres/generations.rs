//! The generations of an index in one database.

use std::sync::Arc;

use annals_core::Generation;
use async_trait::async_trait;
use sqlx_postgres::PgPool;

use crate::generations::as_made;
use crate::index::unavailable;
use crate::{
    Fields, Generations, IndexName, PostgresIndex, PostgresTables, SearchError, SearchIndex,
};

/// The generations of an index in a PostgreSQL database: `products-1`, `products-2` …
#[derive(Clone, Debug)]
pub struct PostgresGenerations {
    pool: PgPool,
    name: IndexName,
    fields: Fields,
}

impl PostgresGenerations {
    /// In this database, under this name, each where these fields can be searched.
    #[must_use]
    pub fn new(pool: PgPool, name: IndexName, fields: Fields) -> Self {
        Self { pool, name, fields }
    }
}

#[async_trait]
impl Generations for PostgresGenerations {
    async fn open(&self, generation: Generation) -> Result<Arc<dyn SearchIndex>, SearchError> {
        let name = self.name.generation(generation);
        let open = |fields| PostgresIndex::open(self.pool.clone(), name.clone(), fields);
        Ok(Arc::new(as_made(self.fields.clone(), open).await?))
    }

    async fn remove(&self, generation: Generation) -> Result<(), SearchError> {
        let tables = PostgresTables::new(self.name.generation(generation), Fields::new());
        let connecting = |error| unavailable("connecting to remove a search index", error);
        let mut connection = self.pool.acquire().await.map_err(connecting)?;
        tables.drop_in(&mut connection).await
    }
}
