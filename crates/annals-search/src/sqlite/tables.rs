//! The tables of an index, inside whatever transaction the caller has.

use annals_core::Fault;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params};
use serde_json::{Map, Value};

use super::fault;
use crate::edit::{Effects, by_document};
use crate::error::unless_refused;
use crate::state::{Bookkeeping, State};
use crate::{EventEdits, Fields, Hit, Hits, IndexName, Search, SearchError};

/// The words of documents are cut before they come here, which the tokenizer leaves as they are.
const CREATE: &str = r#"
CREATE TABLE IF NOT EXISTS "{index}_fields" (fields TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS "{index}_documents" (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    document TEXT, -- NULL: there is none (any more)
    bookkeeping TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS "{index}_exact" (
    term TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (term, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS "{index}_exact_number" ON "{index}_exact" (number);
CREATE VIRTUAL TABLE IF NOT EXISTS "{index}_words" USING fts5 (
    words, content = '', contentless_delete = 1, tokenize = 'ascii', prefix = '2 3'
);"#;

const CLEAR: &str = r#"
DELETE FROM "{index}_documents"; DELETE FROM "{index}_exact"; DELETE FROM "{index}_words";"#;

const DROP: &str = r#"
DROP TABLE IF EXISTS "{index}_fields"; DROP TABLE IF EXISTS "{index}_documents";
DROP TABLE IF EXISTS "{index}_exact"; DROP TABLE IF EXISTS "{index}_words";"#;

const DOCUMENT: &str = r#"
SELECT document, bookkeeping, number FROM "{index}_documents" WHERE id = ?1"#;

const STORE: &str = r#"
INSERT INTO "{index}_documents" (id, document, bookkeeping) VALUES (?1, ?2, ?3)
ON CONFLICT (id) DO UPDATE SET document = excluded.document, bookkeeping = excluded.bookkeeping
RETURNING number"#;

const FORGET_WORDS: &str = r#"DELETE FROM "{index}_words" WHERE rowid = ?1"#;
const FORGET_EXACT: &str = r#"DELETE FROM "{index}_exact" WHERE number = ?1"#;
const STORE_WORDS: &str = r#"INSERT INTO "{index}_words" (rowid, words) VALUES (?1, ?2)"#;
const STORE_EXACT: &str = r#"INSERT INTO "{index}_exact" (number, term) VALUES (?1, ?2)"#;

const SEARCH_WORDS: &str = r#"
SELECT id, -bm25("{index}_words"), document
FROM "{index}_words" JOIN "{index}_documents" ON number = "{index}_words".rowid
WHERE "{index}_words" MATCH :words"#;
const SEARCH_ALL: &str = r#"
SELECT id, 1.0, document FROM "{index}_documents"
WHERE document IS NOT NULL AND :words IS NOT NULL"#;
/// The documents that have all the terms. The number is there for a search that has none.
const HAVING: &str = r#"
AND (:terms_count = 0 OR number IN (
    SELECT number FROM "{index}_exact" WHERE term IN (SELECT value FROM json_each(:terms))
    GROUP BY number HAVING count(*) = :terms_count
))
ORDER BY 2 DESC, id LIMIT :take OFFSET :skip"#;

/// The tables of an index in any SQLite database, for a transaction that the caller has.
///
/// What they hold then commits together with whatever else is written there: with a projection's
/// checkpoint, so that the documents are never behind it nor ahead of it.
///
/// ```
/// use annals_core::Position;
/// use annals_search::{Edit, EventEdits, Fields, IndexName, Search, SqliteTables};
/// use rusqlite::Connection;
/// use serde_json::json;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tables = SqliteTables::new(IndexName::new("products")?, Fields::new().text("name"));
/// let mut database = Connection::open_in_memory()?;
/// tables.create_in(&database)?;
///
/// let transaction = database.transaction()?;
/// let edits = vec![Edit::index("1", json!({"name": "Red shoe"}))];
/// tables.apply_in(&transaction, &[EventEdits { position: Position::new(1), edits }])?;
/// // … the checkpoint …
/// transaction.commit()?;
/// assert_eq!(tables.search_in(&database, &Search::new("shoe"))?.hits[0].id, "1");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct SqliteTables {
    name: IndexName,
    fields: Fields,
}

impl SqliteTables {
    /// The tables of this index. Their names begin with that of the index.
    #[must_use]
    pub fn new(name: IndexName, fields: Fields) -> Self {
        Self { name, fields }
    }

    /// Makes the tables unless they are there.
    ///
    /// # Errors
    /// [`SearchError::OtherFields`], or when they cannot be made.
    pub fn create_in(&self, connection: &Connection) -> Result<(), SearchError> {
        let creating = |error| fault("creating the tables of the search index", error);
        connection.execute_batch(&self.statement(CREATE)).map_err(creating)?;
        let select = self.statement(r#"SELECT fields FROM "{index}_fields""#);
        let found: Option<String> =
            connection.query_row(&select, (), |row| row.get(0)).optional().map_err(creating)?;
        match found.map(|found| parsed::<Fields>(&found)).transpose()? {
            Some(found) if found == self.fields => Ok(()),
            Some(found) => Err(SearchError::OtherFields { index: self.name.clone(), found }),
            None => {
                let insert = self.statement(r#"INSERT INTO "{index}_fields" VALUES (?1)"#);
                connection.execute(&insert, [json(&self.fields)]).map(drop).map_err(creating)
            }
        }
    }

    /// Makes of the documents what the events want, as [`SearchIndex::apply`] does; nothing of
    /// it is to be seen unless the transaction commits.
    ///
    /// # Errors
    /// As [`SearchIndex::apply`]. After [`SearchError::Refused`] the transaction can go on.
    ///
    /// [`SearchIndex::apply`]: crate::SearchIndex::apply
    pub fn apply_in(
        &self,
        transaction: &Transaction<'_>,
        events: &[EventEdits],
    ) -> Result<(), SearchError> {
        let (changed, mut refused) = by_document(events);
        for effects in &changed {
            let state = self.load(transaction, &effects.id)?;
            match state.after(effects) {
                Ok(None) => {}
                Ok(Some(after)) => self.store(transaction, effects, &after).map_err(storing)?,
                Err(reason) => refused.push(effects.refused(reason)),
            }
        }
        unless_refused(refused)
    }

    /// As [`SearchIndex::search`](crate::SearchIndex::search).
    ///
    /// # Errors
    /// When the search is beyond its limits, or the database fails.
    pub fn search_in(&self, connection: &Connection, search: &Search) -> Result<Hits, SearchError> {
        let words = search.words()?;
        let Some(terms) = search.exact_terms().filter(|_| !search.is_vain(&words)) else {
            return Ok(Hits::default());
        };
        let searching = |error| fault("searching", error);
        let which = if words.is_empty() { SEARCH_ALL } else { SEARCH_WORDS };
        let statement = self.statement(which) + &self.statement(HAVING);
        let mut select = connection.prepare_cached(&statement).map_err(searching)?;
        let values = named_params! {
            ":words": match_expression(&words, search.prefix),
            ":terms": json(&terms),
            ":terms_count": count(terms.len()),
            ":take": count(search.take + 1),
            ":skip": count(search.skip),
        };
        let rows = select.query_map(values, hit).map_err(searching)?;
        let hits = rows.map(|row| row.map_err(searching)?);
        Ok(Hits::of(hits.collect::<Result<_, _>>()?, search.take))
    }

    /// The document with this id, as it is now.
    ///
    /// # Errors
    /// When the database fails.
    pub fn document_in(
        &self,
        connection: &Connection,
        id: &str,
    ) -> Result<Option<Value>, SearchError> {
        Ok(self.load(connection, id)?.document().map(Value::Object))
    }

    /// Forgets all documents and all positions.
    ///
    /// # Errors
    /// When the database fails.
    pub fn clear_in(&self, transaction: &Transaction<'_>) -> Result<(), SearchError> {
        let clearing = |error| fault("clearing the search index", error);
        transaction.execute_batch(&self.statement(CLEAR)).map_err(clearing)
    }

    /// Drops the tables if they are there.
    ///
    /// # Errors
    /// When the database fails.
    pub fn drop_in(&self, connection: &Connection) -> Result<(), SearchError> {
        let dropping = |error| fault("dropping the tables of the search index", error);
        connection.execute_batch(&self.statement(DROP)).map_err(dropping)
    }

    fn load(&self, connection: &Connection, id: &str) -> Result<State, SearchError> {
        let reading = |error| fault("reading a document", error);
        let mut select = connection.prepare_cached(&self.statement(DOCUMENT)).map_err(reading)?;
        let columns = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let found: Option<(Option<String>, String)> =
            select.query_row([id], columns).optional().map_err(reading)?;
        let Some((document, kept)) = found else { return Ok(State::default()) };
        let document = document.map(|document| parsed::<Map<_, _>>(&document)).transpose()?;
        Ok(State::stored(document, parsed::<Bookkeeping>(&kept)?))
    }

    fn store(
        &self,
        transaction: &Transaction<'_>,
        effects: &Effects,
        state: &State,
    ) -> rusqlite::Result<()> {
        let statement = |template| transaction.prepare_cached(&self.statement(template));
        let document = state.document();
        let values = (&effects.id, document.as_ref().map(json), json(&state.bookkeeping()));
        let number: i64 = statement(STORE)?.query_row(values, |row| row.get(0))?;
        statement(FORGET_WORDS)?.execute([number])?;
        statement(FORGET_EXACT)?.execute([number])?;
        let Some(document) = document else { return Ok(()) };
        statement(STORE_WORDS)?.execute((number, self.fields.words_of(&document).join(" ")))?;
        let mut store_exact = statement(STORE_EXACT)?;
        for term in self.fields.exact_of(&document) {
            store_exact.execute((number, term))?;
        }
        Ok(())
    }

    /// A statement for this index: its name is all that is ever put into one.
    fn statement(&self, template: &str) -> String {
        template.replace("{index}", self.name.as_str())
    }
}

/// Each word as a text of FTS5's, all of which must be found. Words hold no quotes.
fn match_expression(words: &[String], prefix: bool) -> String {
    let mut expression =
        words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" ");
    if prefix && !words.is_empty() {
        expression.push('*');
    }
    expression
}

fn hit(row: &Row<'_>) -> rusqlite::Result<Result<Hit, SearchError>> {
    let (id, score, document) = (row.get(0)?, row.get(1)?, row.get::<_, String>(2)?);
    Ok(parsed(&document).map(|document| Hit { id, score, document }))
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

fn storing(error: rusqlite::Error) -> SearchError {
    fault("storing a document", error)
}
