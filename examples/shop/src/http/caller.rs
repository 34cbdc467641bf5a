//! Who asks, and under which key: what the headers say, and the metadata of each event keeps.

use std::net::SocketAddr;

use annals::{Context, EventId};
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::problem::Problem;
use crate::naming::is_plain;

/// Who asks. It stands in for a login: whoever writes it is believed.
const ACTOR: HeaderName = HeaderName::from_static("x-actor");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The request's id, which a proxy may have given it and every answer repeats.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const KEY_BYTES_MAX: usize = 128;
const USER_AGENT_CHARS_MAX: usize = 256;

/// Under which id a command is executed: the request's key, which belongs to who asks.
#[derive(Clone, Debug)]
pub(super) struct Key(pub(super) Option<String>);

/// Answers a request in its context: whatever is recorded for it says who asked.
pub(super) async fn attach(mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let id = request_id(headers);
    let (key, context) = match key(headers).and_then(|key| Ok((key, context(&request, &id)?))) {
        Ok(attached) => attached,
        Err(problem) => return problem.into_response(),
    };
    request.extensions_mut().insert(key);
    let mut response = context.scope(next.run(request)).await;
    let id = HeaderValue::from_str(&id).expect("an id holds no line breaks");
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

fn context(request: &Request, id: &str) -> Result<Context, Problem> {
    let headers = request.headers();
    let mut context = Context::new().request_id(id);
    if let Some(actor) = actor(headers)? {
        context = context.actor(actor);
    }
    if let Some(remote) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        context = context.address(remote.0.ip());
    }
    if let Some(agent) = headers.get(header::USER_AGENT) {
        let agent = String::from_utf8_lossy(agent.as_bytes());
        context = context.user_agent(agent.chars().take(USER_AGENT_CHARS_MAX).collect::<String>());
    }
    Ok(context)
}

fn actor(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(actor) = headers.get(ACTOR) else { return Ok(None) };
    let actor = actor.to_str().ok().filter(|actor| is_plain(actor));
    let detail = "X-Actor is 1 to 40 letters a to z and A to Z, digits, `-`, `_` or `.`";
    actor.map(Some).ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "invalid_actor", detail))
}

/// Two callers may choose the same key, and never meet.
fn key(headers: &HeaderMap) -> Result<Key, Problem> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(Key(None)) };
    let key = key.to_str().ok().filter(|key| is_token(key, KEY_BYTES_MAX));
    let detail = "Idempotency-Key is 1 to 128 visible characters of ASCII";
    let key = key.ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "invalid_key", detail))?;
    let actor = actor(headers)?.unwrap_or_default();
    Ok(Key(Some(format!("{actor}/{key}"))))
}

fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let given = given.filter(|id| is_token(id, KEY_BYTES_MAX));
    given.map_or_else(|| EventId::generate().to_string(), str::to_owned)
}

fn is_token(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
