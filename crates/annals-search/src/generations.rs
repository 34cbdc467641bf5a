//! The generations of an index: each rebuild of a read model makes one beside the one that is
//! searched.

use std::fmt;
use std::sync::Arc;

use annals_core::Generation;
use async_trait::async_trait;

use crate::{SearchError, SearchIndex};

/// Where the generations of one read model are: an index for each.
#[async_trait]
pub trait Generations: Send + Sync + fmt::Debug {
    /// The index of a generation; makes it when it is not there. One that is there keeps the
    /// fields that it was made for, so that it can be searched while the next one is built for
    /// others.
    ///
    /// # Errors
    /// When the engine is not available.
    async fn open(&self, generation: Generation) -> Result<Arc<dyn SearchIndex>, SearchError>;

    /// Tells everybody who searches by other means than a
    /// [`SearchModel`](crate::SearchModel) that this is the generation to be searched. Engines
    /// where nobody does have nothing to do.
    ///
    /// # Errors
    /// When the engine is not available.
    async fn point(&self, _: Generation) -> Result<(), SearchError> {
        Ok(())
    }

    /// Removes the index of a generation, if there is one.
    ///
    /// # Errors
    /// When the engine is not available.
    async fn remove(&self, generation: Generation) -> Result<(), SearchError>;
}

/// Opens an index, with the fields it was made for if those are others.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "elasticsearch"))]
pub(crate) async fn as_made<I, Opening>(
    fields: crate::Fields,
    open: impl Fn(crate::Fields) -> Opening,
) -> Result<I, SearchError>
where
    Opening: Future<Output = Result<I, SearchError>>,
{
    match open(fields).await {
        Err(SearchError::OtherFields { found, index }) => {
            tracing::info!(%index, "the index keeps the fields that it was made for");
            open(found).await
        }
        outcome => outcome,
    }
}
