//! The read models whose rows rules look at.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use annals::{Projection, ReadModel, ReadSideError, RowKey};
use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;

/// Rows by key, of whatever kind: a [`ReadModel`], or something of the application's own.
#[async_trait]
pub trait Model: Send + Sync + 'static {
    /// The row under a key as JSON, if there is one.
    ///
    /// # Errors
    /// When it cannot be said now; the delivery is tried again.
    async fn row(&self, key: &str) -> Result<Option<Value>, ReadSideError>;
}

#[async_trait]
impl<P: Projection> Model for ReadModel<P>
where
    P::Row: Serialize,
{
    async fn row(&self, key: &str) -> Result<Option<Value>, ReadSideError> {
        let row = self.get(RowKey::new(key)).await?;
        row.map(serde_json::to_value).transpose().map_err(|error| {
            ReadSideError::Corrupt(annals::Fault::because("writing a row as JSON", error))
        })
    }
}

/// Read models, by the names that rules call them.
#[derive(Clone, Default)]
pub struct Models(BTreeMap<String, Arc<dyn Model>>);

impl Models {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more, or another under the same name.
    #[must_use]
    pub fn with(mut self, name: &str, model: impl Model) -> Self {
        self.0.insert(name.to_owned(), Arc::new(model));
        self
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&dyn Model> {
        self.0.get(name).map(|model| &**model)
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
