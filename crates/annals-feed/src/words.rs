//! Words: what is searched in, and what is searched for, cut in one way for every database.
//!
//! A word is a run of letters and digits, in lower case. Nothing else of a text is left, so no
//! text can become syntax of a search.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Entry;
use crate::error::{FeedError, within};

/// Words of one entry, the first so many; what comes behind them is not found.
pub const ENTRY_WORDS_MAX: usize = 2_000;
/// Characters of a word: what is longer is cut, in entries and in searches.
pub const WORD_CHARS_MAX: usize = 64;
/// Bytes of the text of a search.
pub const SEARCH_BYTES_MAX: usize = 1_024;
/// Words of a search.
pub const SEARCH_WORDS_MAX: usize = 16;

/// The words of what an entry says: of all values in its data and metadata.
pub(crate) fn words_of(entry: &Entry) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    collect(&entry.data, &mut words);
    collect(&entry.metadata, &mut words);
    words
}

fn collect(value: &Value, words: &mut BTreeSet<String>) {
    match value {
        Value::Null => {}
        Value::Bool(value) => insert(&value.to_string(), words),
        Value::Number(value) => insert(&value.to_string(), words),
        Value::String(text) => insert(text, words),
        Value::Array(values) => values.iter().for_each(|value| collect(value, words)),
        Value::Object(values) => values.values().for_each(|value| collect(value, words)),
    }
}

fn insert(text: &str, words: &mut BTreeSet<String>) {
    for word in cut(text) {
        if words.len() >= ENTRY_WORDS_MAX {
            return;
        }
        words.insert(word);
    }
}

/// The words of a text, in its order.
pub(crate) fn cut(text: &str) -> impl Iterator<Item = String> + '_ {
    let runs = text.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty());
    runs.map(|run| run.to_lowercase().chars().take(WORD_CHARS_MAX).collect())
}

/// Checks what is searched for.
pub(crate) fn check(search: &str) -> Result<(), FeedError> {
    within("search_bytes_max", SEARCH_BYTES_MAX, search.len())?;
    within("search_words_max", SEARCH_WORDS_MAX, cut(search).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_and_digits_in_lower_case() {
        let words: Vec<_> = cut("Größe: 12.5 \"OR\" NEAR(a*) o'clock\0x").collect();
        assert_eq!(words, ["größe", "12", "5", "or", "near", "a", "o", "clock", "x"]);
        assert_eq!(cut(&"ä".repeat(100)).next().map(|word| word.chars().count()), Some(64));
    }
}
