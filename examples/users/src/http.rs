//! The routes, and what they answer.

use std::sync::Arc;

use annals::Clock;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Extension, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::change::{Change, Changed, Command};
use crate::context::{self, Context};
use crate::hashing::Hasher;
use crate::parameters::{self, Creation, Permitted};
use crate::problem::Problem;
use crate::user::{User, UserEvent, UserId};
use crate::users::{Past, Users, history};

/// The most bytes of a request's body.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// How many users a page has unless asked for otherwise, and at most.
const PAGE_USERS: u32 = 20;
const PAGE_USERS_MAX: u32 = 100;

/// What every request needs.
#[derive(Clone, Debug)]
pub struct App {
    users: Arc<dyn Users>,
    clock: Arc<dyn Clock>,
    hasher: Hasher,
}

impl App {
    /// Serves these users; `clock` says when something happens.
    pub fn new(users: Arc<dyn Users>, clock: impl Clock + 'static, hasher: Hasher) -> Self {
        Self { users, clock: Arc::new(clock), hasher }
    }

    async fn change(
        &self,
        user: UserId,
        context: &Context,
        command: Command,
    ) -> Result<Changed, Problem> {
        let (at, metadata) = (self.clock.now(), context.metadata());
        let changed = self.users.change(Change { user, at, metadata, command }).await?;
        let Changed { happened, user, .. } = &changed;
        let request_id = &context.request_id;
        tracing::info!(request_id, user = %user.id, version = user.version.get(), happened, "done");
        Ok(changed)
    }
}

pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/users/create", post(create))
        .route("/users/destroy", delete(destroy))
        .route("/users", get(list))
        .route("/users/{id}/events", get(events))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(only_loopback_hosts))
        .layer(from_fn(context::attach))
        .with_state(app)
}

async fn create(
    State(app): State<App>,
    Extension(context): Extension<Context>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Permitted { asked, dropped } = parameters::creation(json_of(&headers, body)?)?;
    let Creation { name, email, password } = asked;
    let password_digest = app.hasher.digest(password).await?;
    let command = Command::Create { name, email, password_digest };
    let Changed { user, .. } = app.change(UserId::generate(), &context, command).await?;
    Ok(json_answer(StatusCode::CREATED, &with(shown(&user), json!({ "dropped": dropped }))))
}

async fn destroy(
    State(app): State<App>,
    Extension(context): Extension<Context>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let Permitted { asked, dropped } = parameters::destruction(json_of(&headers, body)?)?;
    let Changed { user, happened } = app.change(asked, &context, Command::Destroy).await?;
    let detail = match happened {
        true => "the user is deleted",
        false => "the user had been deleted already; nothing happened and nothing was recorded",
    };
    let about = json!({ "dropped": dropped, "happened": happened, "detail": detail });
    Ok(json_answer(StatusCode::OK, &with(shown(&user), about)))
}

#[derive(Deserialize)]
struct Page {
    after: Option<UserId>,
    limit: Option<u32>,
}

async fn list(
    State(app): State<App>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Problem> {
    let page = page.ok().map(|Query(page)| page);
    let limit = page.as_ref().map(|page| page.limit.unwrap_or(PAGE_USERS));
    let (Some(Page { after, .. }), Some(limit @ 1..=PAGE_USERS_MAX)) = (page, limit) else {
        let detail =
            format!("write it as /users?limit=N&after=ID, with N from 1 to {PAGE_USERS_MAX}");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_query", detail));
    };
    // One more than asked for tells whether there is another page.
    let mut users = app.users.list(after, limit + 1).await?;
    let is_last = users.len() <= limit as usize;
    users.truncate(limit as usize);
    let last = users.last().filter(|_| !is_last);
    let next = last.map(|last| format!("/users?limit={limit}&after={}", last.id));
    let users: Vec<_> = users.iter().map(shown).collect();
    Ok(json_answer(StatusCode::OK, &json!({ "users": users, "next": next })))
}

async fn events(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Problem> {
    let Ok(id) = id.parse::<UserId>() else {
        let detail = "a user's id is a UUID, as GET /users shows them";
        return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", detail));
    };
    let events: Vec<_> = history(&*app.users, id).await?.iter().map(shown_event).collect();
    Ok(json_answer(StatusCode::OK, &json!({ "events": events })))
}

/// A user for everybody to see: everything but the digest.
fn shown(user: &User) -> Value {
    json!({
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "deleted": user.deleted,
        "created_at": user.created_at,
        "updated_at": user.updated_at,
    })
}

/// The user, and what there is to say about the request.
fn with(mut user: Value, about: Value) -> Value {
    if let (Value::Object(user), Value::Object(about)) = (&mut user, about) {
        user.extend(about);
    }
    user
}

/// An event for everybody to see. The view `user_events` has the digest too.
fn shown_event(Past { happened, recorded }: &Past) -> Value {
    let payload = match &happened.event {
        UserEvent::UserCreated { name, email, password_digest: _ } => {
            json!({ "name": name, "email": email })
        }
        UserEvent::UserDestroyed { id } => json!({ "id": id }),
    };
    json!({
        "id": recorded.position,
        "user_id": happened.user,
        "event_type": recorded.event_type,
        "payload": payload,
        "metadata": recorded.metadata.to_map(),
        "occurred_at": recorded.occurred_at,
        "created_at": recorded.recorded_at,
    })
}

/// The JSON of a body.
///
/// Its type must say that it is JSON: a page of a stranger in somebody's browser can send a form
/// or text here without asking, but JSON only with a permission that nobody gives.
fn json_of(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Value, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|text| text.split(';').next()).unwrap_or_default();
    if !essence.trim().eq_ignore_ascii_case("application/json") {
        let detail = "send the header content-type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail));
    }
    let body = body.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let detail = format!("a body has at most {BODY_BYTES_MAX} bytes");
            return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail);
        }
        Problem::new(StatusCode::BAD_REQUEST, "malformed", "the body ended too soon")
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        let detail = format!("the body is not JSON: {error}");
        Problem::new(StatusCode::BAD_REQUEST, "malformed", detail)
    })
}

fn json_answer(status: StatusCode, body: &Value) -> Response {
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, content_type, body.to_string()).into_response()
}

/// There is no authentication, and so whoever reaches the loopback interface may do everything.
/// A page of a stranger reaches it too, by letting its own name point there (DNS rebinding); its
/// requests then carry that name.
async fn only_loopback_hosts(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let name = host.map(|host| match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    });
    if name.is_some_and(|name| ["localhost", "127.0.0.1", "[::1]"].contains(&name)) {
        return next.run(request).await;
    }
    let detail = "this application answers only to localhost, 127.0.0.1 and [::1]";
    Problem::new(StatusCode::FORBIDDEN, "forbidden_host", detail).into_response()
}

const ROUTES: &str =
    "there are POST /users/create, DELETE /users/destroy, GET /users and GET /users/ID/events";

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", ROUTES)
}

async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", ROUTES)
}
