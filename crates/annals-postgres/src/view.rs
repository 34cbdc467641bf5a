//! Views for people: the events of a category as a table that `psql` shows.

use annals_core::{Category, Fault, ReadError};
use sqlx_core::query::query;

use crate::PostgresStore;
use crate::fault::read_error;

impl PostgresStore {
    /// Makes a read-only view of a category's events in the store's schema, named like
    /// `user_events` for the category `user`, with the columns `id` (the position), `user_id`,
    /// `event_type`, `payload` (the data as JSON), `metadata` and `created_at`. Its name.
    ///
    /// What is made can be made again. Data that is not JSON is shown as a base64 string.
    ///
    /// # Errors
    /// `Unavailable`, when the database refuses: the user must own the schema, and nothing else
    /// may have the view's name.
    pub async fn create_view(&self, category: &Category) -> Result<String, ReadError> {
        let name = format!("{category}_events");
        if name.len() > NAME_BYTES_MAX {
            let doing = format!("making a view named {name}, which is too long for PostgreSQL");
            return Err(ReadError::Unavailable(Fault::new(doing)));
        }
        query(self.schema().statement("SELECT {schema}.create_view($1)"))
            .bind(category.as_str())
            .execute(self.pool())
            .await
            .map_err(|error| read_error("making a view", error))?;
        Ok(name)
    }
}

/// PostgreSQL cuts longer names off.
const NAME_BYTES_MAX: usize = 63;
