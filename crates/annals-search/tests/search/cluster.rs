//! A server that answers as the manuals of Elasticsearch say a cluster does, as far as an index
//! asks: it keeps documents under sequence numbers, has aliases, and finds words. It can be told
//! what to answer instead.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use annals_search::{
    Credentials, Elasticsearch, ElasticsearchIndex, ElasticsearchOptions, IndexName,
};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cases::fields;

/// The secret that the cluster asks for.
const KEY: &str = "aWQ6a2V5";

/// A cluster that ends with this value.
pub(crate) struct Cluster {
    pub(crate) url: String,
    state: Arc<Mutex<Contents>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Contents {
    indices: BTreeMap<String, Index>,
    aliases: BTreeMap<String, String>,
    seq_no: u64,
    /// What was asked, as in a golden file.
    asked: Vec<String>,
    /// Answers to give instead, each to the first request whose path ends so.
    instead: VecDeque<(String, u16, String)>,
}

#[derive(Default)]
struct Index {
    mapping: Value,
    documents: BTreeMap<String, (u64, Value)>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it has an address"));
        let state = Arc::new(Mutex::new(Contents::default()));
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let routes = routes.layer(axum::extract::DefaultBodyLimit::disable());
        let serving = async move { axum::serve(listener, routes).await.expect("it serves") };
        Self { url, state, server: tokio::spawn(serving) }
    }

    pub(crate) fn options(&self) -> ElasticsearchOptions {
        ElasticsearchOptions::new(&self.url)
            .credentials(Credentials::api_key(KEY).expect("a valid key"))
            .attempts(4, Duration::from_millis(1))
            .timeout(Duration::from_secs(20))
    }

    /// The way to it, and an index in it that was made.
    pub(crate) async fn open(&self, options: ElasticsearchOptions) -> ElasticsearchIndex {
        let cluster = Elasticsearch::new(options).expect("valid options");
        let name = IndexName::new("products-1").expect("a valid name");
        let index = cluster.index(name, fields());
        index.create().await.expect("the index can be made");
        self.state().asked.clear();
        index
    }

    /// Answers so to the next request whose path ends so.
    pub(crate) fn answer_instead(&self, path_end: &str, status: u16, body: &str) {
        self.state().instead.push_back((path_end.to_owned(), status, body.to_owned()));
    }

    /// Somebody else writes a document.
    pub(crate) fn put(&self, id: &str, source: Value) {
        let mut state = self.state();
        state.seq_no += 1;
        let seq_no = state.seq_no;
        let index = state.indices.get_mut("products-1").expect("the index was made");
        index.documents.insert(id.to_owned(), (seq_no, source));
    }

    /// What was asked since it was asked for last.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    /// The aliases and the indices that there are.
    pub(crate) fn names(&self) -> Vec<String> {
        let state = self.state();
        let aliases = state.aliases.iter().map(|(alias, index)| format!("{alias} -> {index}"));
        aliases.chain(state.indices.keys().cloned()).collect()
    }

    fn state(&self) -> MutexGuard<'_, Contents> {
        self.state.lock().expect("no handler panics")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(
    State(state): State<Arc<Mutex<Contents>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut state = state.lock().expect("no handler panics");
    let (path, body) = (uri.path(), String::from_utf8(body.to_vec()).expect("JSON is UTF-8"));
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let content = header("content-type").unwrap_or("no body");
    state.asked.push(format!("{method} {uri}\n{content}\n{body}"));
    if header("authorization") != Some(&format!("ApiKey {KEY}")) {
        return respond(401, &error("security_exception", "missing authentication credentials"));
    }
    if let Some(number) = state.instead.iter().position(|(end, ..)| path.ends_with(end)) {
        let (_, status, body) = state.instead.remove(number).expect("it was just found");
        return respond_text(status, body);
    }
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (status, answer) = state.act(&method, &parts, &body);
    respond(status, &answer)
}

fn respond(status: u16, body: &Value) -> Response {
    respond_text(status, body.to_string())
}

fn respond_text(status: u16, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("a valid status");
    response
}

fn error(kind: &str, reason: &str) -> Value {
    json!({"error": {"root_cause": [{"type": kind, "reason": reason}], "type": kind, "reason": reason}})
}

impl Contents {
    fn act(&mut self, method: &Method, parts: &[&str], body: &str) -> (u16, Value) {
        let parsed = || serde_json::from_str::<Value>(body).expect("the body is JSON");
        match (method.as_str(), parts) {
            ("PUT", [index]) if self.indices.contains_key(*index) => {
                (400, error("resource_already_exists_exception", "index already exists"))
            }
            ("PUT", [index]) => {
                let mapping = parsed()["mappings"].clone();
                self.indices.insert((*index).to_owned(), Index { mapping, ..Index::default() });
                (200, json!({"acknowledged": true, "shards_acknowledged": true, "index": index}))
            }
            ("DELETE", [index]) => match self.indices.remove(*index) {
                Some(_) => (200, json!({"acknowledged": true})),
                None => (404, error("index_not_found_exception", "no such index")),
            },
            ("GET", ["_alias", alias]) => match self.aliases.get(*alias) {
                Some(index) => (200, json!({index: {"aliases": {*alias: {}}}})),
                None => (404, json!({"error": "alias missing", "status": 404})),
            },
            ("POST", ["_aliases"]) => self.move_aliases(&parsed()),
            (_, [name, rest]) => {
                let name = self.aliases.get(*name).map_or(*name, String::as_str).to_owned();
                let Some(index) = self.indices.get_mut(&name) else {
                    // As for `_mget` with ids: each of them fails by itself.
                    let failed = |id: &Value| {
                        let error =
                            error("index_not_found_exception", "no such index [products-9]");
                        json!({"_index": name, "_id": id, "error": error["error"]})
                    };
                    return match *rest {
                        "_mget" => {
                            let ids = parsed()["ids"].as_array().cloned().unwrap_or_default();
                            let docs: Vec<Value> = ids.iter().map(failed).collect();
                            (200, json!({ "docs": docs }))
                        }
                        _ => (404, error("index_not_found_exception", "no such index")),
                    };
                };
                match *rest {
                    "_mapping" => (200, json!({name: {"mappings": index.mapping}})),
                    "_refresh" => {
                        (200, json!({"_shards": {"total": 2, "successful": 1, "failed": 0}}))
                    }
                    "_mget" => (200, index.get(&name, &parsed())),
                    "_bulk" => (200, index.bulk(&name, body, &mut self.seq_no)),
                    "_search" => (200, index.search(&name, &parsed())),
                    other => panic!("nobody asks for {other}"),
                }
            }
            other => panic!("nobody asks for {other:?}"),
        }
    }

    fn move_aliases(&mut self, body: &Value) -> (u16, Value) {
        for action in body["actions"].as_array().into_iter().flatten() {
            let of = |action: &Value| {
                let text = |name: &str| action[name].as_str().unwrap_or_default().to_owned();
                (text("alias"), text("index"))
            };
            if let Some(add) = action.get("add") {
                let (alias, index) = of(add);
                if !self.indices.contains_key(&index) {
                    return (404, error("index_not_found_exception", "no such index"));
                }
                self.aliases.insert(alias, index);
            } else {
                let (alias, index) = of(&action["remove"]);
                assert_eq!(self.aliases.remove(&alias), Some(index));
            }
        }
        (200, json!({"acknowledged": true}))
    }
}

impl Index {
    fn get(&self, name: &str, body: &Value) -> Value {
        let ids = body["ids"].as_array().cloned().unwrap_or_default();
        let docs =
            ids.iter().map(|id| match self.documents.get(id.as_str().expect("ids are texts")) {
                None => json!({"_index": name, "_id": id, "found": false}),
                Some((seq_no, source)) => json!({
                    "_index": name, "_id": id, "_version": 1, "_seq_no": seq_no,
                    "_primary_term": 1, "found": true, "_source": source
                }),
            });
        json!({"docs": docs.collect::<Vec<Value>>()})
    }

    fn bulk(&mut self, name: &str, body: &str, next: &mut u64) -> Value {
        assert!(body.ends_with('\n'), "a bulk ends with a line break");
        let lines: Vec<Value> =
            body.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        let mut errors = false;
        let items = lines.chunks(2).map(|lines| {
            let [action, source] = lines else { panic!("each action has a document") };
            let (kind, how) = action.as_object().and_then(|a| a.iter().next()).expect("an action");
            let id = how["_id"].as_str().expect("an id").to_owned();
            let found = self.documents.get(&id).map(|(seq_no, _)| *seq_no);
            let fits = match &**kind {
                "create" => found.is_none(),
                _ => found.is_some() && how["if_seq_no"].as_u64() == found && how["if_primary_term"] == 1,
            };
            if !fits {
                errors = true;
                let reason = format!("[{id}]: version conflict, required seqNo, primary term");
                return json!({kind: {"_index": name, "_id": id, "status": 409, "error": {
                    "type": "version_conflict_engine_exception", "reason": reason,
                    "index_uuid": "aAsFqTI0Tc2W0LCWgPNrOA", "shard": "0", "index": name
                }}});
            }
            *next += 1;
            self.documents.insert(id.clone(), (*next, source.clone()));
            json!({kind: {
                "_index": name, "_id": id, "_version": 1, "result": "created",
                "_shards": {"total": 2, "successful": 1, "failed": 0},
                "status": if found.is_none() { 201 } else { 200 }, "_seq_no": *next, "_primary_term": 1
            }})
        });
        let items: Vec<Value> = items.collect();
        json!({"took": 30, "errors": errors, "items": items})
    }

    fn search(&self, name: &str, body: &Value) -> Value {
        let of = |kind: &str| body["query"]["bool"][kind].as_array().cloned().unwrap_or_default();
        let (must, filter) = (of("must"), of("filter"));
        let hits = self.documents.iter().filter_map(|(id, (_, source))| {
            filter.iter().all(|term| self.has_term(source, &term["term"])).then_some(())?;
            let mut score = 0.0;
            for query in &must {
                score += matches(source, query)?;
            }
            Some(json!({"_index": name, "_id": id, "_score": score, "_source": source,
                        "sort": [score, id]}))
        });
        let mut hits: Vec<Value> = hits.collect();
        let score = |hit: &Value| hit["_score"].as_f64().expect("a score");
        hits.sort_by(|a, b| score(b).total_cmp(&score(a)));
        let number = |name: &str| {
            body[name].as_u64().and_then(|n| usize::try_from(n).ok()).expect("a number")
        };
        let (from, size) = (number("from"), number("size"));
        assert!(from + size <= 10_000, "index.max_result_window");
        let hits: Vec<Value> = hits.into_iter().skip(from).take(size).collect();
        json!({"took": 5, "timed_out": false,
               "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
               "hits": {"max_score": null, "hits": hits}})
    }

    /// Only mapped fields can be asked for, and are compared as text.
    fn has_term(&self, source: &Value, term: &Value) -> bool {
        let (field, wanted) = term.as_object().and_then(|t| t.iter().next()).expect("a term");
        let wanted = wanted.get("value").unwrap_or(wanted);
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let path = format!("/properties/{}/type", field.replace('.', "/properties/"));
        let kind = self.mapping.pointer(&path).and_then(Value::as_str);
        matches!(kind, Some("keyword" | "boolean"))
            && values(source, field).into_iter().any(|value| text(value) == text(wanted))
    }
}

fn values<'a>(source: &'a Value, field: &str) -> Vec<&'a Value> {
    let value = field.split('.').try_fold(source, |value, name| value.get(name));
    match value {
        Some(Value::Array(values)) => values.iter().collect(),
        value => value.into_iter().collect(),
    }
}

/// How often the word is found.
fn matches(source: &Value, query: &Value) -> Option<f64> {
    if query.get("match_all").is_some() {
        return Some(1.0);
    }
    let query = &query["multi_match"];
    let word = query["query"].as_str().expect("a word").to_lowercase();
    let mut score = 0.0;
    for field in query["fields"].as_array().into_iter().flatten() {
        for text in values(source, field.as_str().expect("a field")) {
            let text = text.as_str().unwrap_or_default().to_lowercase();
            let found = text.split(|c: char| !c.is_alphanumeric()).filter(|found| {
                *found == word || (query["type"] == "bool_prefix" && found.starts_with(&word))
            });
            score += f64::from(u32::try_from(found.count()).expect("a short text"));
        }
    }
    (score > 0.0).then_some(score)
}
