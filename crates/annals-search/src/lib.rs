//! Read models that can be searched.
//!
//! A [`SearchProjection`] says what becomes of documents because of events; a [`SearchModel`] is
//! the same with an index, and is what `Annals::project` runs and where one searches. Its example
//! is a product catalogue. The index is one of
//!
//! - [`SqliteIndex`] (feature `sqlite`, on by default): FTS5 in a file, nothing to run beside the
//!   application;
//! - [`PostgresIndex`] (feature `postgres`): the full-text search of PostgreSQL;
//! - [`ElasticsearchIndex`] (feature `elasticsearch`): Elasticsearch or OpenSearch. **No live
//!   cluster ran in its tests**: what is sent is compared with golden files, and the answers are
//!   those that the manuals document, played by a server of the tests;
//! - [`MemoryIndex`], for tests.
//!
//! All of them come to the same documents in whatever order, and however often, edits arrive:
//! every field of a document carries the position of the event that set it. And to all of them a
//! search is words and values, with no syntax. The embedded ones find the same: whole words,
//! letters and digits in lower case, without stems, synonyms or typing errors, and languages that
//! do not put spaces between words are not cut into words. Elasticsearch analyses text as its
//! mapping says.
//!
//! What is deleted leaves its id and a position behind, so that no late edit brings it back.

mod edit;
#[cfg(feature = "elasticsearch")]
mod elasticsearch;
mod error;
mod fields;
mod generations;
mod index;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
mod projection;
mod search;
#[cfg(feature = "sqlite")]
mod sqlite;
mod state;

pub use edit::{Edit, EventEdits, ID_BYTES_MAX};
pub use error::{Refusals, Refused, SearchError};
pub use fields::Fields;
pub use generations::Generations;
pub use index::{IndexName, InvalidIndexName, SearchIndex};
pub use memory::{MemoryGenerations, MemoryIndex};
pub use projection::{SearchModel, SearchProjection};
pub use search::{
    HITS_MAX, Hit, Hits, SEARCH_BYTES_MAX, SEARCH_FILTERS_MAX, SEARCH_WORDS_MAX, Search, WINDOW_MAX,
};
pub use state::DOCUMENT_BYTES_MAX;

#[cfg(feature = "elasticsearch")]
pub use elasticsearch::{
    Credentials, Elasticsearch, ElasticsearchGenerations, ElasticsearchIndex, ElasticsearchOptions,
    InvalidCluster,
};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresGenerations, PostgresIndex, PostgresTables};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteGenerations, SqliteIndex, SqliteTables};
