//! Who asks, from where, and what they have just done.

use std::net::SocketAddr;

use annals::{Context, EventId, Position};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::form_urlencoded;

use super::problem::Problem;
use crate::person::is_id;
use crate::tracker::Tracker;

/// The cookie that says who asks. It stands in for a login: whoever writes it is believed.
pub(super) const WHO: &str = "who";
/// The parameter with the position up to which a page is to show what happened.
pub(super) const POSITION: &str = "position";

const USER_AGENT_CHARS_MAX: usize = 256;

/// What a page knows of whoever looks at it.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller {
    pub(super) who: Option<String>,
    /// `de` or `en`.
    pub(super) language: &'static str,
    /// Whether the page does not show yet what they have just done.
    pub(super) is_behind: bool,
}

/// Answers a request in its context: whatever is recorded for it says who asked.
pub(super) async fn attach(mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let caller = Caller { who: who(headers), language: language(headers), is_behind: false };
    let mut context = Context::new().request_id(EventId::generate());
    if let Some(who) = &caller.who {
        context = context.actor(who);
    }
    if let Some(remote) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        context = context.address(remote.0.ip());
    }
    if let Some(agent) = headers.get(header::USER_AGENT) {
        let agent = String::from_utf8_lossy(agent.as_bytes());
        context = context.user_agent(agent.chars().take(USER_AGENT_CHARS_MAX).collect::<String>());
    }
    request.extensions_mut().insert(caller);
    context.scope(next.run(request)).await
}

fn who(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let (_, who) = pairs.find(|(name, _)| name.trim() == WHO)?;
    Some(who.trim().to_owned()).filter(|who| is_id(who))
}

fn language(headers: &HeaderMap) -> &'static str {
    let asked = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    if asked.is_some_and(|asked| asked.starts_with("de")) { "de" } else { "en" }
}

/// Lets whoever has just done something see it: the address they were sent to has the position
/// where it is recorded.
pub(super) async fn wait_for_own_write(
    State(tracker): State<Tracker>,
    mut request: Request,
    next: Next,
) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let position = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == POSITION);
    let position = position.and_then(|(_, position)| position.parse().ok()).map(Position::new);
    if let Some(position) = position.filter(|_| request.method() == Method::GET) {
        let head = tracker.annals().store().head().await;
        // Nobody waits for what is not there.
        let is_there = head.is_ok_and(|head| position <= head);
        let is_behind = is_there && !tracker.shows(position).await;
        if let Some(caller) = request.extensions_mut().get_mut::<Caller>() {
            caller.is_behind = is_behind;
        }
    }
    next.run(request).await
}

/// There is no authentication, and so whoever reaches the loopback interface may do everything.
/// A page of a stranger reaches it too, by letting its own name point there (DNS rebinding), or by
/// sending a form here; its requests then say where they come from.
pub(super) async fn only_from_here(request: Request, next: Next) -> Response {
    match from_elsewhere(&request) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

fn from_elsewhere(request: &Request) -> Option<Problem> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST);
    let name = host.map(|host| match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    });
    if !name.is_some_and(|name| ["localhost", "127.0.0.1", "[::1]"].contains(&name)) {
        let detail = "this application answers only to localhost, 127.0.0.1 and [::1]";
        return Some(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let is_own = |origin: &str| origin.strip_prefix("http://") == host;
    if request.method() != Method::GET && !text(header::ORIGIN).is_none_or(is_own) {
        let detail = "this form was sent from another site; use the pages here";
        return Some(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    None
}
