//! Asking over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::client::legacy::Client as Connections;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::timeout;

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    connections: Connections<HttpConnector, Full<Bytes>>,
    /// What every request says of itself.
    headers: HeaderMap,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let connections = Connections::builder(TokioExecutor::new()).build_http();
        Self { address, connections, headers: HeaderMap::new() }.with("content-type", JSON)
    }

    /// The same, saying this as well.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().expect("a value"));
        self
    }

    pub(crate) fn actor(&self, actor: &str) -> Self {
        self.clone().with("x-actor", actor)
    }

    pub(crate) fn key(&self, key: &str) -> Self {
        self.clone().with("idempotency-key", key)
    }

    /// The answer; nothing, when the server went away before it.
    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Option<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .body(Full::new(body.into()))
            .expect("the request is right");
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        let asked = async {
            let response = self.connections.request(request).await.ok()?;
            let (parts, body) = response.into_parts();
            let bytes = body.collect().await.ok()?.to_bytes();
            let text = String::from_utf8(bytes.into()).expect("text");
            Some(Answer { status: parts.status, headers: parts.headers, text })
        };
        timeout(DEADLINE, asked).await.expect("an answer in time")
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        self.try_send(method, path, body).await.expect("an answer")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, body.to_string()).await
    }

    /// Puts an item into the inventory.
    pub(crate) async fn stock(&self, sku: &str, price: u64, quantity: u64) {
        self.put(&format!("/items/{sku}"), &json!({ "price": price })).await.is(200);
        let restock = json!({ "quantity": quantity });
        self.post(&format!("/items/{sku}/restock"), &restock).await.is(200);
    }

    /// How many there are.
    pub(crate) async fn stock_of(&self, sku: &str) -> u64 {
        let item = self.get(&format!("/items/{sku}")).await.is(200);
        item["stock"].as_u64().expect("a number")
    }
}

pub(crate) const JSON: &str = "application/json";

/// An order of ada's, with the right total.
pub(crate) fn order(items: &[(&str, u64, u64)]) -> Value {
    let total: u64 = items.iter().map(|(_, quantity, price)| quantity * price).sum();
    let items: Vec<_> = items
        .iter()
        .map(|(sku, quantity, price)| json!({ "sku": sku, "quantity": quantity, "price": price }))
        .collect();
    json!({ "user_id": "ada", "items": items, "total": total })
}

impl Answer {
    /// The JSON of an answer that must have this status.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        serde_json::from_str(&self.text).expect("JSON")
    }

    /// The problem with this status and code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.is(status);
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        problem
    }

    /// The problem with fields, as paths and codes.
    #[track_caller]
    pub(crate) fn errors(&self, status: u16, code: &str) -> Vec<[String; 2]> {
        let problem = self.problem(status, code);
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let errors = problem["errors"].as_array().expect("errors").iter();
        errors
            .inspect(|error| assert!(error["message"].is_string(), "{error}"))
            .map(|error| [text(&error["path"]), text(&error["code"])])
            .collect()
    }
}
