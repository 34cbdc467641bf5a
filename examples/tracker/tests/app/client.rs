//! A browser that somebody holds.

use std::net::SocketAddr;
use std::time::Duration;

use annals::EventId;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::client::legacy::Client as Connections;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, sleep, timeout};
use url::form_urlencoded;

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    connections: Connections<HttpConnector, Full<Bytes>>,
    headers: HeaderMap,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let connections = Connections::builder(TokioExecutor::new()).build_http();
        Self { address, connections, headers: HeaderMap::new() }
    }

    pub(crate) fn with(&self, name: &'static str, value: &str) -> Self {
        let mut with = self.clone();
        with.headers.insert(name, value.parse().expect("a value"));
        with
    }

    /// In somebody's hands.
    pub(crate) fn of(&self, who: &str) -> Self {
        self.with("cookie", &format!("who={who}"))
    }

    /// The head of an answer, and its body as it comes; nothing when the server went away.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Option<Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(body.into()))
            .expect("the request is right");
        request.headers_mut().extend(self.headers.clone());
        let asked = timeout(DEADLINE, self.connections.request(request)).await;
        asked.expect("an answer in time").ok()
    }

    async fn try_send(&self, method: Method, path: &str, body: String) -> Option<Answer> {
        let (head, body) = self.open(method, path, body).await?.into_parts();
        let bytes = timeout(DEADLINE, body.collect()).await.expect("a whole answer in time");
        let text = String::from_utf8(bytes.ok()?.to_bytes().into()).expect("text");
        Some(Answer { status: head.status.as_u16(), headers: head.headers, text })
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.try_send(Method::GET, path, String::new()).await.expect("an answer")
    }

    pub(crate) async fn try_post(&self, path: &str, form: &[(&str, &str)]) -> Option<Answer> {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.try_send(Method::POST, path, form).await
    }

    /// What a form leads to, which has a new key.
    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let key = EventId::generate().to_string();
        let mut form = form.to_vec();
        form.push(("key", &key));
        self.try_post(path, &form).await.expect("an answer")
    }

    /// The page that a form leads to.
    pub(crate) async fn send(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let answer = self.post(path, form).await;
        self.get(&answer.location()).await.is(200)
    }

    /// The id of an issue that is created, once pages show it; nobody has looked at it.
    pub(crate) async fn create(&self, title: &str) -> String {
        let answer = self.post("/issues", &[("title", title), ("description", "")]).await;
        let mut nobody = self.clone();
        nobody.headers.remove("cookie");
        nobody.get(&answer.location()).await.is(200);
        answer.issue()
    }

    pub(crate) async fn join(&self, id: &str, team: &str) {
        let email = format!("{id}@example.org");
        let form = [("id", id), ("name", id), ("email", &email), ("team", team)];
        self.send("/people", &form).await;
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    #[track_caller]
    pub(crate) fn has(self, text: &str) -> Self {
        assert!(self.text.contains(text), "{text:?} is not in {}", self.text);
        self
    }

    #[track_caller]
    pub(crate) fn lacks(self, text: &str) -> Self {
        assert!(!self.text.contains(text), "{text:?} is in {}", self.text);
        self
    }

    #[track_caller]
    pub(crate) fn location(&self) -> String {
        assert_eq!(self.status, 303, "{}", self.text);
        self.headers["location"].to_str().expect("text").to_owned()
    }

    /// The issue that it leads to.
    #[track_caller]
    pub(crate) fn issue(&self) -> String {
        let location = self.location();
        let id = location.strip_prefix("/issues/").expect("an issue").split('?').next();
        id.expect("an id").to_owned()
    }
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begun.elapsed() < DEADLINE, "{what} did not happen");
        sleep(Duration::from_millis(20)).await;
    }
}
