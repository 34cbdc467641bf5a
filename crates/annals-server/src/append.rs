//! Appending over HTTP.

use annals::ConsistencyToken;
use annals_api::{AppendRequest, NewEvent, Receipt};
use annals_core::{Append, StreamId};
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use crate::http::{App, json};
use crate::params::Params;
use crate::problem::Refusal;

/// `POST /v1/append`
pub(crate) async fn append(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    Params::parse(query.as_deref())?.refuse_others()?;
    let body = receive(&app, &headers, body).await?;
    let append = AppendRequest::from_json(&body.bytes)?.into_append(app.store.limits())?;
    store(&app, append).await
}

/// `POST /v1/streams/{stream}`
pub(crate) async fn append_to_stream(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let stream = stream_of(path)?;
    let mut params = Params::parse(query.as_deref())?;
    let expected = params.expected()?;
    params.refuse_others()?;
    let body = receive(&app, &headers, body).await?;
    let events = NewEvent::one_or_many(&body.bytes, app.store.limits())?;
    store(&app, Append::to(stream, expected, events)).await
}

/// The stream that a path names.
pub(crate) fn stream_of(path: Result<Path<String>, PathRejection>) -> Result<StreamId, Refusal> {
    let Path(name) = path.map_err(|rejection| Refusal::invalid(rejection.body_text()))?;
    StreamId::new(name).map_err(|error| Refusal::invalid(error.to_string()))
}

async fn store(app: &App, append: Append) -> Result<Response, Refusal> {
    let ids: Vec<_> = append.events().map(|event| event.id).collect();
    match app.store.append(append).await {
        Ok(receipt) => {
            let token = ConsistencyToken::of(&receipt).to_string();
            let mut answer = json(&Receipt::of(receipt, ids));
            let token = HeaderValue::try_from(token).expect("a token is made of digits");
            answer.headers_mut().insert(ConsistencyToken::HEADER, token);
            Ok(answer)
        }
        Err(error) => Err(Refusal::of_append(&error, ids)),
    }
}

/// A request body in memory, and its share of the memory that all bodies may take.
pub(crate) struct Received<'a> {
    pub(crate) bytes: Bytes,
    _share: SemaphorePermit<'a>,
}

/// Takes in a JSON body, within the limits of size, time and memory.
pub(crate) async fn receive<'a>(
    app: &'a App,
    headers: &HeaderMap,
    body: Body,
) -> Result<Received<'a>, Refusal> {
    require_json(headers)?;
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let bytes_max = app.body_bytes_max;
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large(bytes_max));
    }
    let share = u32::try_from(announced.unwrap_or(bytes_max)).unwrap_or(u32::MAX);
    let received = async {
        let share = app.bodies.acquire_many(share).await.expect("the semaphore is never closed");
        let collected = Limited::new(body, bytes_max).collect().await;
        collected.map(|body| Received { bytes: body.to_bytes(), _share: share })
    };
    match timeout(app.options.body_timeout, received).await {
        Ok(Ok(received)) => Ok(received),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(bytes_max)),
        Ok(Err(_)) => Err(Refusal::invalid("the body broke off; send it whole")),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "too_slow",
            "The body took too long",
            format!(
                "the body did not arrive within body_timeout = {} s; nothing was written",
                app.options.body_timeout.as_secs()
            ),
        )),
    }
}

/// Browsers ask for leave before they send JSON to another origin, and never get it here; other
/// types they would just send.
fn require_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    if media_type.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "The body must be JSON",
        "send the header `Content-Type: application/json`; with curl, use --json",
    ))
}

fn too_large(bytes_max: usize) -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        "The body is too large",
        format!("the body has more than {bytes_max} bytes; send fewer events at once"),
    )
}
