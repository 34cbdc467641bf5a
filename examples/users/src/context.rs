//! How a change came about: what the request itself does not say, and the event's metadata keeps.

use std::net::SocketAddr;

use annals::{EventId, Metadata};
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::json;

/// The header with the request's id, which a proxy may have given it and every answer repeats.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 128;
const USER_AGENT_CHARS_MAX: usize = 512;

/// Where a request comes from.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) request_id: String,
    remote_address: SocketAddr,
    user_agent: Option<String>,
}

impl Context {
    /// As an event keeps it.
    pub(crate) fn metadata(&self) -> Metadata {
        let Self { request_id, remote_address, user_agent } = self;
        Metadata::new(json!({
            "request_id": request_id,
            "remote_address": remote_address.ip(),
            "user_agent": user_agent,
        }))
        .expect("a JSON object is metadata")
    }
}

/// Gives each request its context, and each answer the request's id.
pub(crate) async fn attach(mut request: Request, next: Next) -> Response {
    let remote = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let remote_address = remote.expect("the server tells each connection's address").0;
    let headers = request.headers();
    let context = Context {
        request_id: request_id(headers),
        remote_address,
        user_agent: headers.get(header::USER_AGENT).map(user_agent),
    };
    let id = HeaderValue::from_str(&context.request_id).expect("an id holds no line breaks");
    request.extensions_mut().insert(context);
    let mut response = next.run(request).await;
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let is_id = |id: &&str| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
    };
    given.filter(is_id).map_or_else(|| EventId::generate().to_string(), str::to_owned)
}

fn user_agent(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).chars().take(USER_AGENT_CHARS_MAX).collect()
}
