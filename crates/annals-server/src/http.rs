//! The routes, and what holds for every answer.

use std::ops::Deref;
use std::sync::Arc;

use annals::{Annals, Inboxes, Projections};
use annals_core::{Position, Read};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use futures_util::TryStreamExt;
use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::options::body_bytes_max;
use crate::problem::Refusal;
use crate::{
    Options, Store, append, auth, catalog, deliveries, inboxes, page, projections, read, tail,
};

/// What every handler knows.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) options: Options,
    pub(crate) body_bytes_max: usize,
    /// One permit for each byte of a request body that is in memory.
    pub(crate) bodies: Arc<Semaphore>,
    /// What people do with what is derived from the log, if it is to be had here.
    read_side: Option<(Projections, Inboxes)>,
    /// One permit for each request that waits for a projection.
    pub(crate) waits: Arc<Semaphore>,
    /// One permit for each tail.
    pub(crate) tails: Arc<Semaphore>,
    /// Becomes true when the server is told to stop.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        options: Options,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let body_bytes_max = body_bytes_max(store.limits());
        let read_side = options.read_side.clone().map(|read_side| {
            let annals = Annals::new(Arc::clone(&store));
            let checkpoints = Arc::clone(&read_side);
            (Projections::over(annals, checkpoints), Inboxes::over(read_side))
        });
        let bodies = options.bodies_bytes_max.max(body_bytes_max);
        Self(Arc::new(Shared {
            bodies: Arc::new(Semaphore::new(bodies)),
            read_side,
            waits: Arc::new(Semaphore::new(options.waits_max)),
            tails: Arc::new(Semaphore::new(options.tails_max)),
            store,
            options,
            body_bytes_max,
            stopping,
        }))
    }

    pub(crate) fn projections(&self) -> Result<&Projections, Refusal> {
        let read_side = self.read_side.as_ref().ok_or_else(Refusal::no_read_side)?;
        Ok(&read_side.0)
    }

    pub(crate) fn inboxes(&self) -> Result<&Inboxes, Refusal> {
        let read_side = self.read_side.as_ref().ok_or_else(Refusal::no_read_side)?;
        Ok(&read_side.1)
    }
}

/// Every route of the API: its method and its path, as the OpenAPI document writes them.
#[must_use]
pub fn routes() -> Vec<(&'static str, &'static str)> {
    table().into_iter().map(|(method, path, _)| (method, path)).collect()
}

fn table() -> Vec<(&'static str, &'static str, MethodRouter<App>)> {
    vec![
        ("get", "/", get(page::page)),
        ("get", "/health", get(health)),
        ("post", "/v1/append", post(append::append)),
        ("get", "/v1/deliveries", get(deliveries::list)),
        ("post", "/v1/deliveries/retry", post(deliveries::retry)),
        ("post", "/v1/deliveries/skip", post(deliveries::skip)),
        ("get", "/v1/deliveries/{id}", get(deliveries::one)),
        ("get", "/v1/events", get(read::events)),
        ("get", "/v1/inboxes", get(inboxes::list)),
        ("delete", "/v1/inboxes/{name}", delete(inboxes::delete)),
        ("post", "/v1/inboxes/{name}/disable", inboxes::tell(inboxes::Wish::Disable)),
        ("post", "/v1/inboxes/{name}/enable", inboxes::tell(inboxes::Wish::Enable)),
        ("post", "/v1/inboxes/{name}/pause", inboxes::tell(inboxes::Wish::Pause)),
        ("post", "/v1/inboxes/{name}/resume", inboxes::tell(inboxes::Wish::Resume)),
        ("get", "/v1/openapi.json", get(page::openapi)),
        ("get", "/v1/projections", get(projections::list)),
        ("delete", "/v1/projections/{name}", delete(projections::delete)),
        ("get", "/v1/projections/{name}", get(projections::one)),
        ("post", "/v1/projections/{name}/cancel", projections::tell(projections::Wish::Cancel)),
        ("get", "/v1/projections/{name}/parked", get(projections::parked)),
        ("post", "/v1/projections/{name}/pause", projections::tell(projections::Wish::Pause)),
        ("post", "/v1/projections/{name}/rebuild", post(projections::rebuild)),
        ("post", "/v1/projections/{name}/resume", projections::tell(projections::Wish::Resume)),
        ("get", "/v1/stats", get(catalog::stats)),
        ("get", "/v1/streams", get(catalog::streams)),
        ("get", "/v1/streams/{stream}", get(read::stream)),
        ("post", "/v1/streams/{stream}", post(append::append_to_stream)),
        ("get", "/v1/tail", get(tail::tail)),
    ]
}

pub(crate) fn router(app: App) -> Router {
    table()
        .into_iter()
        .fold(Router::new(), |router, (_, path, handler)| router.route(path, handler))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(app.clone(), auth::admit))
        .layer(map_response(secure))
        .with_state(app)
}

/// Headers that every answer carries. There is no CORS header on purpose: pages of other
/// origins cannot read answers, and cannot send JSON.
async fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fixed = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    response
}

/// An answer in JSON.
pub(crate) fn json(value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("wire types have only text keys");
    typed("application/json", body)
}

/// An answer of this media type.
pub(crate) fn typed(content_type: &'static str, body: impl Into<Body>) -> Response {
    let content_type = HeaderValue::from_static(content_type);
    ([(header::CONTENT_TYPE, content_type)], body.into()).into_response()
}

/// Whether the client asks for one JSON document a line.
pub(crate) fn wants_lines(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case("application/x-ndjson"))
}

/// Reads the last event, because a store that cannot be read may still know where it ends.
async fn health(State(app): State<App>) -> Result<Response, Refusal> {
    #[derive(Serialize)]
    struct Health {
        status: &'static str,
        head: Position,
        version: &'static str,
    }
    let mut last = app.store.read(Read::all().backward().limit(1));
    let Ok(last) = timeout(app.options.health_timeout, last.try_next()).await else {
        return Err(Refusal::unavailable());
    };
    let head = last?.map_or(Position::START, |event| event.position);
    Ok(json(&Health { status: "ok", head, version: env!("CARGO_PKG_VERSION") }))
}

async fn not_found(request: Request) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "There is nothing here",
        format!(
            "no route {}; GET /v1/openapi.json lists them all, GET / shows the log",
            request.uri().path()
        ),
    )
}

async fn method_not_allowed(request: Request) -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "Not with this method",
        format!(
            "{} does not take {}; GET /v1/openapi.json lists what it takes",
            request.uri().path(),
            request.method()
        ),
    )
}
