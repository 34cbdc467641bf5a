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
/// A password that stands out wherever it is found.
pub(crate) const SECRET: &str = "corrEct hoRse battEry stapLe";

#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    connections: Connections<HttpConnector, Full<Bytes>>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, connections: Connections::builder(TokioExecutor::new()).build_http() }
    }

    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", "application/json")
            .body(Full::new(body.into()))
            .expect("the request is right")
    }

    /// The answer; nothing, when the server went away before it.
    pub(crate) async fn try_send(&self, request: Request<Full<Bytes>>) -> Option<Answer> {
        let asked = async {
            let response = self.connections.request(request).await.ok()?;
            let (parts, body) = response.into_parts();
            let bytes = body.collect().await.ok()?.to_bytes();
            let text = String::from_utf8(bytes.into()).expect("text");
            Some(Answer { status: parts.status, headers: parts.headers, text })
        };
        timeout(DEADLINE, asked).await.expect("an answer in time")
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        self.try_send(request).await.expect("an answer")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path, "")).await
    }

    pub(crate) async fn post(&self, body: &Value) -> Answer {
        self.send(self.request(Method::POST, "/users/create", body.to_string())).await
    }

    /// Asks for a user of this address, named Ada.
    pub(crate) async fn create(&self, email: &str) -> Answer {
        self.post(&creation(email)).await
    }

    /// Creates a user; the id.
    pub(crate) async fn created(&self, email: &str) -> String {
        let answer = self.create(email).await.is(201);
        answer["id"].as_str().expect("an id").to_owned()
    }

    pub(crate) async fn destroy(&self, id: &str) -> Answer {
        let body = json!({ "user": { "id": id } }).to_string();
        self.send(self.request(Method::DELETE, "/users/destroy", body)).await
    }
}

pub(crate) fn creation(email: &str) -> Value {
    json!({ "user": { "name": "Ada", "email": email, "password": SECRET } })
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
}
