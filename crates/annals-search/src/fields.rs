//! Which fields of documents can be searched, and what stands in them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The most bytes of a word that are looked at.
const WORD_BYTES_MAX: usize = 128;
/// The most bytes of a field's name and exact value together, as JSON: a longer one is not found.
pub(crate) const EXACT_BYTES_MAX: usize = 1_024;

/// Which fields of an index's documents can be searched. All others are kept and given back.
///
/// ```
/// use annals_search::Fields;
///
/// let products = Fields::new().text("name").text("description").exact("category");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields {
    pub(crate) text: BTreeSet<String>,
    pub(crate) exact: BTreeSet<String>,
}

impl Fields {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// And this one, whose words can be found: a text, or a list of texts. The embedded indices
    /// find nothing in other values; Elasticsearch refuses a document with an object here.
    #[must_use]
    pub fn text(mut self, field: impl Into<String>) -> Self {
        self.text.insert(field.into());
        self
    }

    /// And this one, which searches can ask to have a certain value: a text of up to about 1,000
    /// bytes, an integer, a boolean, or a list of them.
    #[must_use]
    pub fn exact(mut self, field: impl Into<String>) -> Self {
        self.exact.insert(field.into());
        self
    }

    /// The words that a document is found by, in order.
    pub(crate) fn words_of(&self, document: &Map<String, Value>) -> Vec<String> {
        let values = self.text.iter().filter_map(|field| document.get(field));
        values.flat_map(each).filter_map(Value::as_str).flat_map(words).collect()
    }

    /// The exact values that a document is found by, without repeats.
    pub(crate) fn exact_of(&self, document: &Map<String, Value>) -> Vec<String> {
        let present = self.exact.iter().filter_map(|field| Some((field, document.get(field)?)));
        let pairs = present.flat_map(|(field, value)| each(value).iter().map(move |v| (field, v)));
        let terms: BTreeSet<String> =
            pairs.filter_map(|(field, value)| exact_term(field, value)).collect();
        terms.into_iter().collect()
    }
}

/// The words of a text: letters and digits, in lower case.
///
/// The embedded indices all cut texts in this way, those of documents and those of searches, so
/// they find the same; and nothing is left in a word that could be syntax to any of them.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| {
        let mut word = word.to_lowercase();
        word.truncate(word.floor_char_boundary(WORD_BYTES_MAX));
        word
    })
}

/// A field and its value as one text; `None` of what has no exact value.
pub(crate) fn exact_term(field: &str, value: &Value) -> Option<String> {
    let is_exact = match value {
        Value::Number(number) => !number.is_f64(),
        Value::String(_) | Value::Bool(_) => true,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    let term = is_exact.then(|| Value::from(vec![Value::from(field), value.clone()]).to_string());
    term.filter(|term| term.len() <= EXACT_BYTES_MAX)
}

fn each(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        value => std::slice::from_ref(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_are_letters_and_digits_in_lower_case() {
        let found: Vec<String> = words("  Änderung-42 'x\" OR* ").collect();
        assert_eq!(found, ["änderung", "42", "x", "or"]);
        assert_eq!(words(&"ä".repeat(200)).next().map(|word| word.len()), Some(128));
    }

    #[test]
    fn exact_values_are_told_apart_by_their_type() {
        let fields = Fields::new().exact("size").exact("sale");
        let document = json!({"size": [42, "42", 4.2, null], "sale": true, "name": "x"});
        let document = document.as_object().expect("an object");
        assert_eq!(
            fields.exact_of(document),
            [r#"["sale",true]"#, r#"["size","42"]"#, r#"["size",42]"#]
        );
    }
}
