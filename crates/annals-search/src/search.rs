//! What can be searched for, and what is found.

use annals_core::Invalid;
use serde_json::Value;

use crate::fields::{exact_term, words};

/// The most bytes of a search's text.
pub const SEARCH_BYTES_MAX: usize = 1_024;
/// The most words of a search's text.
pub const SEARCH_WORDS_MAX: usize = 32;
/// The most values that one search asks for.
pub const SEARCH_FILTERS_MAX: usize = 16;
/// The most hits of one search.
pub const HITS_MAX: usize = 1_000;
/// How many hits can be passed over and returned together; narrow the search to see what stands
/// behind them.
pub const WINDOW_MAX: usize = 9_999;

/// A search: all its words, in any of the text fields, in any order, in documents that have all
/// the values it asks for.
///
/// Its text is words and nothing else: no sign in it means anything, so what users type can be
/// handed on as it is. No text at all finds every document.
///
/// ```
/// use annals_search::Search;
///
/// let typed = "red sho";
/// let search = Search::new(typed).prefix().having("category", "shoes").take(20);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    pub(crate) text: String,
    pub(crate) prefix: bool,
    pub(crate) filters: Vec<(String, Value)>,
    pub(crate) skip: usize,
    pub(crate) take: usize,
}

impl Search {
    /// A search for these words; its first ten hits.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, prefix: false, filters: Vec::new(), skip: 0, take: 10 }
    }

    /// Every document.
    #[must_use]
    pub fn everything() -> Self {
        Self::new("")
    }

    /// The last word may be only the beginning of one: for a search while somebody types.
    #[must_use]
    pub fn prefix(mut self) -> Self {
        self.prefix = true;
        self
    }

    /// Only documents where this exact field has this value: a text, an integer or a boolean.
    #[must_use]
    pub fn having(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.filters.push((field.into(), value.into()));
        self
    }

    /// Passes over the first `count` hits.
    #[must_use]
    pub fn skip(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Returns at most `count` hits.
    #[must_use]
    pub fn take(mut self, count: usize) -> Self {
        self.take = count;
        self
    }

    /// Its words, checked with everything else.
    pub(crate) fn words(&self) -> Result<Vec<String>, Invalid> {
        at_most("search_bytes", SEARCH_BYTES_MAX, self.text.len())?;
        let words: Vec<String> = words(&self.text).collect();
        at_most("search_words", SEARCH_WORDS_MAX, words.len())?;
        at_most("search_filters", SEARCH_FILTERS_MAX, self.filters.len())?;
        at_most("hits", HITS_MAX, self.take)?;
        at_most("window", WINDOW_MAX, self.skip.saturating_add(self.take))?;
        Ok(words)
    }

    /// Whether there was text and yet no word in it: that finds nothing, not everything.
    pub(crate) fn is_vain(&self, words: &[String]) -> bool {
        words.is_empty() && !self.text.trim().is_empty()
    }

    /// The values it asks for, without repeats; `None` when no document can have one of them.
    pub(crate) fn exact_terms(&self) -> Option<Vec<String>> {
        let terms = self.filters.iter().map(|(field, value)| exact_term(field, value));
        let mut terms = terms.collect::<Option<Vec<String>>>()?;
        terms.sort_unstable();
        terms.dedup();
        Some(terms)
    }
}

fn at_most(limit: &'static str, max: usize, actual: usize) -> Result<(), Invalid> {
    if actual > max { Err(Invalid::LimitExceeded { limit, max, actual }) } else { Ok(()) }
}

/// A document that was found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Hit {
    /// Its id.
    pub id: String,
    /// How well it fits: more is better, and only compares with others of the same search.
    pub score: f64,
    /// The document.
    pub document: Value,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Hits {
    /// Best first.
    pub hits: Vec<Hit>,
    /// Whether there are more behind these.
    pub more: bool,
}

impl Hits {
    /// Of one hit more than was asked for, if there is one.
    pub(crate) fn of(mut hits: Vec<Hit>, take: usize) -> Self {
        let more = hits.len() > take;
        hits.truncate(take);
        Self { hits, more }
    }
}
