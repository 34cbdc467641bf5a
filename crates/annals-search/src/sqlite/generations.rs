//! The generations of an index in one file.

use std::path::PathBuf;
use std::sync::Arc;

use annals_core::Generation;
use async_trait::async_trait;
use tokio::task::spawn_blocking;

use super::{connect, ended};
use crate::generations::as_made;
use crate::{Fields, Generations, IndexName, SearchError, SearchIndex, SqliteIndex, SqliteTables};

/// The generations of an index in an SQLite file: `products-1`, `products-2` …
#[derive(Clone, Debug)]
pub struct SqliteGenerations {
    path: PathBuf,
    name: IndexName,
    fields: Fields,
}

impl SqliteGenerations {
    /// In this file, under this name, each where these fields can be searched.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, name: IndexName, fields: Fields) -> Self {
        Self { path: path.into(), name, fields }
    }
}

#[async_trait]
impl Generations for SqliteGenerations {
    async fn open(&self, generation: Generation) -> Result<Arc<dyn SearchIndex>, SearchError> {
        let open = |fields| async {
            let (path, name) = (self.path.clone(), self.name.generation(generation));
            let opening = move || SqliteIndex::open(path, name, fields);
            spawn_blocking(opening).await.map_err(ended)?
        };
        Ok(Arc::new(as_made(self.fields.clone(), open).await?))
    }

    async fn remove(&self, generation: Generation) -> Result<(), SearchError> {
        let path = self.path.clone();
        let tables = SqliteTables::new(self.name.generation(generation), Fields::new());
        let dropping = move || tables.drop_in(&connect(&path)?);
        spawn_blocking(dropping).await.map_err(ended)?
    }
}
