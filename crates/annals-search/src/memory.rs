//! An index in memory, for tests and examples.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals_core::Generation;
use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::edit::by_document;
use crate::error::unless_refused;
use crate::state::State;
use crate::{EventEdits, Fields, Generations, Hit, Hits, Search, SearchError, SearchIndex};

/// An index in memory, for tests and examples: a search looks at every document.
#[derive(Debug, Default)]
pub struct MemoryIndex {
    fields: Fields,
    documents: Mutex<BTreeMap<String, State>>,
}

impl MemoryIndex {
    /// An empty index, where these fields can be searched.
    #[must_use]
    pub fn new(fields: Fields) -> Self {
        Self { fields, documents: Mutex::default() }
    }

    fn documents(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of the words are found, if all are.
    fn score(&self, document: &Map<String, Value>, words: &[String], prefix: bool) -> Option<f64> {
        let found = self.fields.words_of(document);
        let mut score = 0.0;
        for (number, word) in words.iter().enumerate() {
            let prefix = prefix && number + 1 == words.len();
            let fits = |found: &&String| *found == word || (prefix && found.starts_with(word));
            let times = u32::try_from(found.iter().filter(fits).count()).unwrap_or(u32::MAX);
            if times == 0 {
                return None;
            }
            score += f64::from(times);
        }
        Some(score)
    }
}

#[async_trait]
impl SearchIndex for MemoryIndex {
    async fn apply(&self, events: &[EventEdits]) -> Result<(), SearchError> {
        let (changed, mut refused) = by_document(events);
        let mut documents = self.documents();
        for effects in changed {
            let state = documents.entry(effects.id.clone()).or_default();
            match state.after(&effects) {
                Ok(after) => *state = after.unwrap_or_else(|| std::mem::take(state)),
                Err(reason) => refused.push(effects.refused(reason)),
            }
        }
        unless_refused(refused)
    }

    async fn search(&self, search: &Search) -> Result<Hits, SearchError> {
        let words = search.words()?;
        let Some(terms) = search.exact_terms().filter(|_| !search.is_vain(&words)) else {
            return Ok(Hits::default());
        };
        let documents = self.documents();
        let found = documents.iter().filter_map(|(id, state)| {
            let document = state.document()?;
            let has: BTreeSet<String> = self.fields.exact_of(&document).into_iter().collect();
            if !terms.iter().all(|term| has.contains(term)) {
                return None;
            }
            let score = self.score(&document, &words, search.prefix)?;
            Some(Hit { id: id.clone(), score, document: Value::Object(document) })
        });
        let mut hits: Vec<Hit> = found.collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        let hits = hits.into_iter().skip(search.skip).take(search.take + 1).collect();
        Ok(Hits::of(hits, search.take))
    }

    async fn document(&self, id: &str) -> Result<Option<Value>, SearchError> {
        Ok(self.documents().get(id).and_then(State::document).map(Value::Object))
    }

    async fn refresh(&self) -> Result<(), SearchError> {
        Ok(())
    }

    async fn clear(&self) -> Result<(), SearchError> {
        self.documents().clear();
        Ok(())
    }
}

/// The generations of an index in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryGenerations {
    fields: Fields,
    indices: Arc<Mutex<BTreeMap<Generation, Arc<MemoryIndex>>>>,
}

impl MemoryGenerations {
    /// None yet; these fields can be searched in all of them.
    #[must_use]
    pub fn new(fields: Fields) -> Self {
        Self { fields, indices: Arc::default() }
    }

    fn indices(&self) -> MutexGuard<'_, BTreeMap<Generation, Arc<MemoryIndex>>> {
        self.indices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Generations for MemoryGenerations {
    async fn open(&self, generation: Generation) -> Result<Arc<dyn SearchIndex>, SearchError> {
        let mut indices = self.indices();
        let new = || Arc::new(MemoryIndex::new(self.fields.clone()));
        Ok(Arc::clone(indices.entry(generation).or_insert_with(new)) as _)
    }

    async fn remove(&self, generation: Generation) -> Result<(), SearchError> {
        self.indices().remove(&generation);
        Ok(())
    }
}
