//! A search as a cluster is asked, and what it finds.

use annals_core::Fault;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use crate::fields::exact_term;
use crate::state::BOOKKEEPING;
use crate::{Fields, Hit, Hits, Search, SearchError};

/// The body of the request; `None` when nothing can be found. Queries of the kind `multi_match`
/// have no syntax: whatever stands in a word is looked for.
pub(super) fn request(fields: &Fields, search: &Search, words: &[String]) -> Option<Value> {
    let nowhere = fields.text.is_empty() && !words.is_empty();
    if nowhere || search.is_vain(words) {
        return None;
    }
    let mut must = Vec::new();
    for (number, word) in (1..).zip(words) {
        let is_beginning = search.prefix && number == words.len();
        let kind = if is_beginning { "bool_prefix" } else { "best_fields" };
        must.push(json!({"multi_match": {
            "query": word, "fields": fields.text, "type": kind, "operator": "and"
        }}));
    }
    if must.is_empty() {
        must.push(json!({"match_all": {}}));
    }
    let mut filter = vec![json!({"term": {"annals.searchable": true}})];
    for (field, value) in &search.filters {
        exact_term(field, value)?;
        filter.push(json!({"term": {field: {"value": value}}}));
    }
    Some(json!({
        "query": {"bool": {"must": must, "filter": filter}},
        "sort": [{"_score": "desc"}, {"annals.id": "asc"}],
        "from": search.skip,
        "size": search.take + 1,
        "track_total_hits": false,
    }))
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    timed_out: bool,
    hits: FoundHits,
}

#[derive(Deserialize)]
struct FoundHits {
    hits: Vec<FoundHit>,
}

#[derive(Deserialize)]
struct FoundHit {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_score", default)]
    score: Option<f64>,
    #[serde(rename = "_source")]
    source: Map<String, Value>,
}

/// What the answer says was found.
pub(super) fn hits(answer: &Answer, take: usize) -> Result<Hits, SearchError> {
    let found: Found = answer.read("searching")?;
    if found.timed_out {
        return Err(SearchError::Unavailable(Fault::new("searching: the cluster ran out of time")));
    }
    let hit = |FoundHit { id, score, mut source }| {
        source.remove(BOOKKEEPING);
        Hit { id, score: score.unwrap_or_default(), document: Value::Object(source) }
    };
    Ok(Hits::of(found.hits.hits.into_iter().map(hit).collect(), take))
}
