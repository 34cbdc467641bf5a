//! The tables of an index, inside whatever transaction the caller has.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use annals_core::Fault;
use serde_json::{Map, Value};
use sqlx_core::error::Error;
use sqlx_core::executor::Executor;
use sqlx_core::query::query;
use sqlx_core::query_as::query_as;
use sqlx_core::query_scalar::query_scalar;
use sqlx_core::raw_sql::raw_sql;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::PgConnection;

use crate::edit::{Effects, by_document};
use crate::error::unless_refused;
use crate::index::unavailable;
use crate::state::{Bookkeeping, State};
use crate::{EventEdits, Fields, Hit, Hits, IndexName, Refused, Search, SearchError};

/// How many documents go into one statement.
const DOCUMENTS_AT_ONCE: usize = 256;
/// The last place of a word in a document that PostgreSQL tells from others …
const PLACE_MAX: usize = 16_383;
/// … and how many of one word are kept, for ranking.
const PLACES_MAX: usize = 16;

/// Words are cut before they come here: what a parser or a dictionary of the server makes of a
/// text depends on how it is set up.
const CREATE: &str = r#"
CREATE TABLE IF NOT EXISTS "{index}_fields" (fields text NOT NULL);
CREATE TABLE IF NOT EXISTS "{index}_documents" (
    id text COLLATE "C" PRIMARY KEY,
    document text, -- NULL: there is none (any more)
    bookkeeping text NOT NULL,
    words tsvector NOT NULL,
    exact text[] COLLATE "C" NOT NULL
);
CREATE INDEX IF NOT EXISTS "{index}_words" ON "{index}_documents" USING gin (words);
CREATE INDEX IF NOT EXISTS "{index}_exact" ON "{index}_documents" USING gin (exact);"#;

const CLEAR: &str = r#"DELETE FROM "{index}_documents""#;

const DROP: &str =
    r#"DROP TABLE IF EXISTS "{index}_fields"; DROP TABLE IF EXISTS "{index}_documents";"#;

const LOCK: &str = r#"
SELECT id, document, bookkeeping FROM "{index}_documents" WHERE id = ANY ($1)
ORDER BY id FOR UPDATE"#;

/// Of rows that are locked.
const UPDATE: &str = r#"
UPDATE "{index}_documents" d
SET document = n.document, bookkeeping = n.bookkeeping, words = n.words::tsvector,
    exact = ARRAY(SELECT json_array_elements_text(n.exact::json))
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
    AS n (id, document, bookkeeping, words, exact)
WHERE d.id = n.id"#;

/// Of rows that were not there to be locked: those that somebody else has made meanwhile are
/// not among the answers.
const INSERT: &str = r#"
INSERT INTO "{index}_documents" (id, document, bookkeeping, words, exact)
SELECT n.id, n.document, n.bookkeeping, n.words::tsvector,
    ARRAY(SELECT json_array_elements_text(n.exact::json))
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
    AS n (id, document, bookkeeping, words, exact)
ON CONFLICT DO NOTHING RETURNING id"#;

const DOCUMENT: &str = r#"SELECT document FROM "{index}_documents" WHERE id = $1"#;

const SEARCH_WORDS: &str = r#"
SELECT id, ts_rank(words, $1::tsquery)::float8, document FROM "{index}_documents"
WHERE document IS NOT NULL AND words @@ $1::tsquery"#;
const SEARCH_ALL: &str = r#"
SELECT id, 1::float8, document FROM "{index}_documents"
WHERE document IS NOT NULL AND $1::text IS NOT NULL"#;
const HAVING_ALL: &str = " AND exact @> $2::text[]";
/// The parameter is there all the same.
const HAVING_ANY: &str = " AND $2::text[] IS NOT NULL";
const BEST_FIRST: &str = " ORDER BY 2 DESC, id LIMIT $3 OFFSET $4";

/// The tables of an index in any PostgreSQL database, for a transaction that the caller has.
///
/// What they hold then commits together with whatever else is written there: with a projection's
/// checkpoint, so that the documents are never behind it nor ahead of it. The tables are in the
/// first schema of the connection's `search_path`. `SET LOCAL jit = off` in the transaction spares
/// searches the time to be compiled.
#[derive(Clone, Debug)]
pub struct PostgresTables {
    name: IndexName,
    fields: Fields,
}

impl PostgresTables {
    /// The tables of this index. Their names begin with that of the index.
    #[must_use]
    pub fn new(name: IndexName, fields: Fields) -> Self {
        Self { name, fields }
    }

    /// Makes the tables unless they are there. Wants a transaction: many may do this at once.
    ///
    /// # Errors
    /// [`SearchError::OtherFields`], or when they cannot be made.
    pub async fn create_in(&self, transaction: &mut PgConnection) -> Result<(), SearchError> {
        let creating = |error| unavailable("creating the tables of the search index", error);
        query_scalar::<_, ()>("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(format!("annals search {}", self.name))
            .fetch_one(&mut *transaction)
            .await
            .map_err(creating)?;
        transaction.execute(raw_sql(self.statement(&[CREATE]))).await.map_err(creating)?;
        let select = self.statement(&[r#"SELECT fields FROM "{index}_fields""#]);
        let found: Option<String> =
            query_scalar(select).fetch_optional(&mut *transaction).await.map_err(creating)?;
        match found.map(|found| parsed::<Fields>(&found)).transpose()? {
            Some(found) if found == self.fields => Ok(()),
            Some(found) => Err(SearchError::OtherFields { index: self.name.clone(), found }),
            None => {
                let insert = self.statement(&[r#"INSERT INTO "{index}_fields" VALUES ($1)"#]);
                query(insert)
                    .bind(json(&self.fields))
                    .execute(transaction)
                    .await
                    .map(drop)
                    .map_err(creating)
            }
        }
    }

    /// Makes of the documents what the events want, as [`SearchIndex::apply`] does. Wants a
    /// transaction at the level read committed; nothing of it is to be seen unless that commits.
    ///
    /// # Errors
    /// As [`SearchIndex::apply`]. After [`SearchError::Refused`] the transaction can go on. Two
    /// transactions that make the same new documents may wait for each other; the server then
    /// ends one of them, which can be tried again.
    ///
    /// [`SearchIndex::apply`]: crate::SearchIndex::apply
    pub async fn apply_in(
        &self,
        transaction: &mut PgConnection,
        events: &[EventEdits],
    ) -> Result<(), SearchError> {
        let (changed, mut refused) = by_document(events);
        for some in changed.chunks(DOCUMENTS_AT_ONCE) {
            let mut left: Vec<&Effects> = some.iter().collect();
            while !left.is_empty() {
                left = self.apply_some(transaction, left, &mut refused).await?;
            }
        }
        unless_refused(refused)
    }

    /// Returns those that somebody else has made meanwhile: they are there to be locked now.
    async fn apply_some<'a>(
        &self,
        transaction: &mut PgConnection,
        mut changed: Vec<&'a Effects>,
        refused: &mut Vec<Refused>,
    ) -> Result<Vec<&'a Effects>, SearchError> {
        let stored = self.lock(transaction, &changed).await?;
        let (mut updated, mut inserted) = (Rows::default(), Rows::default());
        for effects in &changed {
            let before = stored.get(&effects.id);
            match before.unwrap_or(&State::default()).after(effects) {
                Ok(None) => {}
                Ok(Some(after)) => {
                    let rows = if before.is_some() { &mut updated } else { &mut inserted };
                    rows.push(&self.fields, effects, &after);
                }
                Err(reason) => refused.push(effects.refused(reason)),
            }
        }
        let storing = |error| unavailable("storing documents", error);
        if !updated.ids.is_empty() {
            let update = query(self.statement(&[UPDATE])).bind(&updated.ids);
            let update = update.bind(&updated.documents).bind(&updated.bookkeeping);
            let update = update.bind(&updated.words).bind(&updated.exact);
            update.execute(&mut *transaction).await.map_err(storing)?;
        }
        if inserted.ids.is_empty() {
            return Ok(Vec::new());
        }
        let insert = query_scalar::<_, String>(self.statement(&[INSERT])).bind(&inserted.ids);
        let insert = insert.bind(&inserted.documents).bind(&inserted.bookkeeping);
        let insert = insert.bind(&inserted.words).bind(&inserted.exact);
        let made = insert.fetch_all(transaction).await.map_err(storing)?;
        changed.retain(|effects| inserted.ids.contains(&effects.id) && !made.contains(&effects.id));
        Ok(changed)
    }

    async fn lock(
        &self,
        transaction: &mut PgConnection,
        changed: &[&Effects],
    ) -> Result<HashMap<String, State>, SearchError> {
        let ids: Vec<&str> = changed.iter().map(|effects| &*effects.id).collect();
        let rows: Vec<(String, Option<String>, String)> = query_as(self.statement(&[LOCK]))
            .bind(ids)
            .fetch_all(transaction)
            .await
            .map_err(|error| unavailable("reading documents", error))?;
        let state = |(id, document, kept): (String, Option<String>, String)| {
            let document = document.map(|document| parsed::<Map<_, _>>(&document)).transpose()?;
            Ok((id, State::stored(document, parsed::<Bookkeeping>(&kept)?)))
        };
        rows.into_iter().map(state).collect()
    }

    /// As [`SearchIndex::search`](crate::SearchIndex::search).
    ///
    /// # Errors
    /// When the search is beyond its limits, or the database fails.
    pub async fn search_in(
        &self,
        connection: &mut PgConnection,
        search: &Search,
    ) -> Result<Hits, SearchError> {
        let words = search.words()?;
        let Some(terms) = search.exact_terms().filter(|_| !search.is_vain(&words)) else {
            return Ok(Hits::default());
        };
        let which = if words.is_empty() { SEARCH_ALL } else { SEARCH_WORDS };
        let having = if terms.is_empty() { HAVING_ANY } else { HAVING_ALL };
        let rows: Vec<(String, f64, String)> =
            query_as(self.statement(&[which, having, BEST_FIRST]))
                .bind(tsquery(&words, search.prefix))
                .bind(terms)
                .bind(count(search.take + 1))
                .bind(count(search.skip))
                .fetch_all(connection)
                .await
                .map_err(|error: Error| unavailable("searching", error))?;
        let hit = |(id, score, document): (String, f64, String)| {
            parsed(&document).map(|document| Hit { id, score, document })
        };
        let hits = rows.into_iter().map(hit).collect::<Result<_, _>>()?;
        Ok(Hits::of(hits, search.take))
    }

    /// The document with this id, as it is now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn document_in(
        &self,
        connection: &mut PgConnection,
        id: &str,
    ) -> Result<Option<Value>, SearchError> {
        let found: Option<Option<String>> = query_scalar(self.statement(&[DOCUMENT]))
            .bind(id)
            .fetch_optional(connection)
            .await
            .map_err(|error| unavailable("reading a document", error))?;
        found.flatten().map(|document| parsed(&document)).transpose()
    }

    /// Forgets all documents and all positions.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn clear_in(&self, transaction: &mut PgConnection) -> Result<(), SearchError> {
        let cleared = query(self.statement(&[CLEAR])).execute(transaction).await;
        cleared.map(drop).map_err(|error| unavailable("clearing the search index", error))
    }

    /// Drops the tables if they are there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_in(&self, transaction: &mut PgConnection) -> Result<(), SearchError> {
        let dropped = transaction.execute(raw_sql(self.statement(&[DROP]))).await;
        dropped.map(drop).map_err(|error| unavailable("dropping a search index", error))
    }

    /// A statement for this index: its name is all that is ever put into one.
    fn statement(&self, parts: &[&str]) -> AssertSqlSafe<String> {
        AssertSqlSafe(parts.concat().replace("{index}", self.name.as_str()))
    }
}

/// Rows as the columns that a statement takes.
#[derive(Default)]
struct Rows {
    ids: Vec<String>,
    documents: Vec<Option<String>>,
    bookkeeping: Vec<String>,
    words: Vec<String>,
    exact: Vec<String>,
}

impl Rows {
    fn push(&mut self, fields: &Fields, effects: &Effects, state: &State) {
        let document = state.document();
        let searched = document.as_ref();
        self.ids.push(effects.id.clone());
        self.documents.push(searched.map(json));
        self.bookkeeping.push(json(&state.bookkeeping()));
        self.words.push(tsvector(&searched.map(|d| fields.words_of(d)).unwrap_or_default()));
        self.exact.push(json(&searched.map(|d| fields.exact_of(d)).unwrap_or_default()));
    }
}

/// The words as PostgreSQL writes a `tsvector`: each with its places. Words hold no quotes.
fn tsvector(words: &[String]) -> String {
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, word) in (1..).zip(words) {
        let places = places.entry(word).or_default();
        if places.len() < PLACES_MAX {
            places.push(place.min(PLACE_MAX));
        }
    }
    let mut text = String::new();
    for (word, places) in places {
        let places: Vec<String> = places.iter().map(usize::to_string).collect();
        write!(text, "'{word}':{} ", places.join(",")).expect("a text takes any text");
    }
    text
}

/// The words as PostgreSQL writes a `tsquery`: all of them.
fn tsquery(words: &[String], prefix: bool) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let suffix = if prefix && !words.is_empty() { ":*" } else { "" };
    quoted.join(" & ") + suffix
}

fn parsed<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, SearchError> {
    serde_json::from_str(json)
        .map_err(|error| SearchError::Corrupt(Fault::because("reading a stored document", error)))
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("values made of JSON are JSON")
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
