//! An index in Elasticsearch or OpenSearch.
//!
//! # How documents converge
//!
//! Every document carries its [state](crate::state): the positions of the events that made it. A
//! bulk of edits is applied by reading the documents (`_mget`, which sees what no search sees yet),
//! adding the edits to their states, and writing back those that have changed (`_bulk`), each on
//! the condition that nobody has written it meanwhile (`if_seq_no`, `if_primary_term`, or `create`
//! for a new one). Where somebody has (409), the document is read again.
//!
//! The engine's own external versioning (`version_type=external`) would spare the reading, but
//! cannot do it: it is not allowed with updates of some fields, and with whole documents it
//! knows one position for all of them, so an update that overtakes the older document it
//! belongs to would make that one be rejected as outdated and be lost. Comparing positions in a
//! script would need scripts to be allowed in the cluster, and the same reading, there. Nor is
//! anything ever removed with a `delete`, whose version the engine forgets after
//! `index.gc_deletes`, a minute: a deleted document stays as a few numbers that no search finds.

mod answer;
mod apply;
mod connection;
mod credentials;
mod generations;
mod search;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use annals_core::Fault;
use async_trait::async_trait;
use hyper::Method;
use serde_json::{Value, json};

use self::answer::Answer;
use self::connection::Connection;
use crate::fields::EXACT_BYTES_MAX;
use crate::{EventEdits, Fields, Hits, IndexName, Search, SearchError, SearchIndex};

pub use connection::InvalidCluster;
pub use credentials::Credentials;
pub use generations::ElasticsearchGenerations;

/// How a cluster is reached, and how much it is asked at once.
#[derive(Clone, Debug)]
pub struct ElasticsearchOptions {
    url: String,
    credentials: Option<Credentials>,
    trusted: Option<Vec<u8>>,
    timeout: Duration,
    bulk_bytes_max: usize,
    documents_at_once: usize,
    attempts: u32,
    first_wait: Duration,
}

impl ElasticsearchOptions {
    /// The cluster at this URL, `https://search.example.org:9200`; without credentials.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            credentials: None,
            trusted: None,
            timeout: Duration::from_secs(60),
            bulk_bytes_max: 5 * 1024 * 1024,
            documents_at_once: 256,
            attempts: 8,
            first_wait: Duration::from_millis(200),
        }
    }

    /// Who asks. They are sent with every request: over `http` everybody on the way can read them.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Trusts these certificates, PEM, and no others; without this, those that the machine trusts.
    #[must_use]
    pub fn trusting(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.trusted = Some(pem.into());
        self
    }

    /// How long one request may take; a minute unless said otherwise.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The most bytes of one bulk, unless a single document is larger; 5 MiB unless said
    /// otherwise. A cluster that finds a bulk too large gets it in halves.
    #[must_use]
    pub fn bulk_bytes_max(mut self, bytes: usize) -> Self {
        self.bulk_bytes_max = bytes;
        self
    }

    /// The most documents that are read at once, and written in one bulk: 256 unless said
    /// otherwise, and at most 1,000. One bulk is under way at a time.
    #[must_use]
    pub fn documents_at_once(mut self, documents: usize) -> Self {
        self.documents_at_once = documents.clamp(1, 1_000);
        self
    }

    /// How often something is tried for which the cluster has no room or no answer, and how long
    /// is waited before the second time; before each further time twice as long, 30 seconds at
    /// most. Unless said otherwise, 8 times and 200 milliseconds.
    #[must_use]
    pub fn attempts(mut self, attempts: u32, first_wait: Duration) -> Self {
        (self.attempts, self.first_wait) = (attempts.max(1), first_wait);
        self
    }
}

/// A cluster of Elasticsearch 7.10 or newer, or OpenSearch.
///
/// What is sent is tested against the answers that the manuals document, partial failures
/// included, by way of a server that plays them. No live cluster ran in the tests.
///
/// # Rebuilding beside the running index
///
/// Each generation of a read model is an index of its own, `products-1`, `products-2` …, and
/// searches go to an alias, `products`. A new generation is built while the old one is searched;
/// then [`point`](Self::point) moves the alias in one step.
///
/// ```no_run
/// use annals_search::{
///     Credentials, Elasticsearch, ElasticsearchOptions, Fields, IndexName, Search, SearchIndex,
/// };
///
/// # async fn example(secret: String, events: Vec<annals_search::EventEdits>)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// let options = ElasticsearchOptions::new("https://search.example.org:9200")
///     .credentials(Credentials::api_key(secret)?);
/// let cluster = Elasticsearch::new(options)?;
/// let fields = Fields::new().text("name").exact("category");
/// let (products, first) = (IndexName::new("products")?, IndexName::new("products-1")?);
///
/// let first_generation = cluster.index(first.clone(), fields.clone());
/// first_generation.create().await?;
/// first_generation.apply(&events).await?;
/// cluster.point(&products, &first).await?;
///
/// let hits = cluster.index(products, fields).search(&Search::new("shoe")).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Elasticsearch {
    connection: Arc<Connection>,
}

impl Elasticsearch {
    /// A cluster. Nothing is sent to it yet.
    ///
    /// # Errors
    /// When the options make no sense.
    pub fn new(options: ElasticsearchOptions) -> Result<Self, InvalidCluster> {
        Ok(Self { connection: Arc::new(Connection::new(options)?) })
    }

    /// An index in it, or an alias of one, with documents where these fields can be searched.
    #[must_use]
    pub fn index(&self, name: IndexName, fields: Fields) -> ElasticsearchIndex {
        ElasticsearchIndex { connection: Arc::clone(&self.connection), name, fields }
    }

    /// Makes `alias` the name of this index, and of no other any more, in one step: no search
    /// finds neither or both.
    ///
    /// # Errors
    /// When the cluster is not available, there is no such index, or an index has the alias' name.
    pub async fn point(&self, alias: &IndexName, index: &IndexName) -> Result<(), SearchError> {
        let mut actions = Vec::new();
        for bearer in self.bearers(alias).await? {
            if bearer != index.as_str() {
                actions.push(json!({"remove": {"index": bearer, "alias": alias.as_str()}}));
            }
        }
        actions.push(json!({"add": {"index": index.as_str(), "alias": alias.as_str()}}));
        let body = json!({ "actions": actions });
        self.connection.ask(Method::POST, "/_aliases", &body).await?.done("pointing an alias")
    }

    /// Removes an index with all its documents; one that is not there is no error.
    ///
    /// # Errors
    /// When the cluster is not available, or the name is that of an alias.
    pub async fn remove(&self, index: &IndexName) -> Result<(), SearchError> {
        let answer = self.connection.send(Method::DELETE, &format!("/{index}")).await?;
        if answer.status == 404 { Ok(()) } else { answer.done("removing an index") }
    }

    /// The indices that have an alias.
    async fn bearers(&self, alias: &IndexName) -> Result<Vec<String>, SearchError> {
        let answer = self.connection.send(Method::GET, &format!("/_alias/{alias}")).await?;
        if answer.status == 404 {
            return Ok(Vec::new());
        }
        let bearers: serde_json::Map<String, Value> = answer.read("reading an alias")?;
        Ok(bearers.into_iter().map(|(index, _)| index).collect())
    }
}

/// An index in a cluster, or an alias of one.
///
/// Its documents are as the application made them, with a field `annals` besides, which is not
/// to be touched. Of deleted documents only that field is left: whoever searches by other means
/// asks for `annals.searchable: true`. An exact value is compared as text here: 42 and "42" are
/// the same.
#[derive(Clone)]
pub struct ElasticsearchIndex {
    connection: Arc<Connection>,
    name: IndexName,
    fields: Fields,
}

impl ElasticsearchIndex {
    /// Makes the index unless it is there.
    ///
    /// Only the fields that can be searched are indexed, so that no document makes the mapping
    /// grow or contradicts another. Whoever wants analysers of a language makes the index
    /// beforehand, with what [`mapping`](Self::mapping) says and more.
    ///
    /// # Errors
    /// [`SearchError::OtherFields`], or when the cluster is not available.
    pub async fn create(&self) -> Result<(), SearchError> {
        let path = format!("/{}", self.name);
        let body = json!({ "mappings": self.mapping() });
        let answer = self.connection.ask(Method::PUT, &path, &body).await?;
        if answer.is_error("resource_already_exists_exception") {
            return self.check_fields().await;
        }
        answer.done("creating an index")
    }

    /// The mapping that [`create`](Self::create) gives the index.
    #[must_use]
    pub fn mapping(&self) -> Value {
        let mut properties = serde_json::Map::new();
        for field in &self.fields.text {
            properties.insert(field.clone(), json!({"type": "text"}));
        }
        for field in &self.fields.exact {
            let keyword = json!({"type": "keyword", "ignore_above": EXACT_BYTES_MAX});
            properties.insert(field.clone(), keyword);
        }
        let own = json!({"dynamic": false, "properties": {
            "id": {"type": "keyword"},
            "searchable": {"type": "boolean"},
        }});
        properties.insert(crate::state::BOOKKEEPING.to_owned(), own);
        let fields = json!({ "annals": self.fields });
        json!({"dynamic": false, "_meta": fields, "properties": properties})
    }

    async fn check_fields(&self) -> Result<(), SearchError> {
        let path = format!("/{}/_mapping", self.name);
        let answer = self.connection.send(Method::GET, &path).await?;
        let indices: serde_json::Map<String, Value> = answer.read("reading a mapping")?;
        let found = indices.values().next().map(|index| &index["mappings"]["_meta"]["annals"]);
        let found = found.and_then(|found| serde_json::from_value::<Fields>(found.clone()).ok());
        match found {
            Some(found) if found == self.fields => Ok(()),
            Some(found) => Err(SearchError::OtherFields { index: self.name.clone(), found }),
            None => Err(SearchError::Unavailable(Fault::new(format!(
                "opening index {}: its mapping does not say which fields it is for; give it the \
                 `_meta` of what `mapping` returns",
                self.name
            )))),
        }
    }

    async fn answer(&self, method: Method, what: &str) -> Result<Answer, SearchError> {
        self.connection.send(method, &format!("/{}/{what}", self.name)).await
    }
}

impl fmt::Debug for ElasticsearchIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ElasticsearchIndex").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl SearchIndex for ElasticsearchIndex {
    async fn apply(&self, events: &[EventEdits]) -> Result<(), SearchError> {
        self.apply_all(events).await
    }

    async fn search(&self, search: &Search) -> Result<Hits, SearchError> {
        let words = search.words()?;
        let Some(body) = search::request(&self.fields, search, &words) else {
            return Ok(Hits::default());
        };
        let path = format!("/{}/_search?allow_partial_search_results=false", self.name);
        let answer = self.connection.ask(Method::POST, &path, &body).await?;
        search::hits(&answer, search.take)
    }

    async fn document(&self, id: &str) -> Result<Option<Value>, SearchError> {
        let stored = self.read(&[id]).await?.pop().transpose().map_err(SearchError::Unavailable)?;
        Ok(stored.and_then(|stored| stored.document()).map(Value::Object))
    }

    async fn refresh(&self) -> Result<(), SearchError> {
        self.answer(Method::POST, "_refresh").await?.done("refreshing an index")
    }

    /// Removes the index and makes it again; it must not be an alias.
    async fn clear(&self) -> Result<(), SearchError> {
        let cluster = Elasticsearch { connection: Arc::clone(&self.connection) };
        cluster.remove(&self.name).await?;
        self.create().await
    }
}
