//! The live tail: server-sent events.

use annals_api::Event;
use annals_core::{Notice, Position, ReadError, Subscribe, SubscribeFrom, Subscription};
use async_stream::stream;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use crate::connection::stopped;
use crate::http::{App, typed};
use crate::params::Params;
use crate::problem::Refusal;
use crate::read::chunks;

/// How long a browser waits before it connects again.
const RETRY_MILLIS: u32 = 1_000;

/// `GET /v1/tail`
pub(crate) async fn tail(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut params = Params::parse(query.as_deref())?;
    let mut subscribe = Subscribe::query(params.query()?);
    subscribe.from = from(&mut params, &headers)?;
    params.refuse_others()?;
    app.store.limits().check_query(&subscribe.query)?;
    let Ok(slot) = app.tails.clone().try_acquire_owned() else {
        return Err(Refusal::busy(
            "too_many_tails",
            format!(
                "tails_max = {} tails are open already; close one, or retry later",
                app.options.tails_max
            ),
        ));
    };
    let messages = messages(app.store.subscribe(subscribe), app);
    let body = stream! {
        let _slot = slot;
        for await chunk in chunks(messages) {
            yield chunk;
        }
    };
    Ok(typed("text/event-stream", Body::from_stream(body)))
}

/// Where to begin. A browser that connects again says what it saw last, and that counts more
/// than what the URL said at first.
fn from(params: &mut Params, headers: &HeaderMap) -> Result<SubscribeFrom, Refusal> {
    let after = params.position("after")?;
    let from: Option<String> = params.one("from")?;
    if let Some(seen) = headers.get("last-event-id") {
        let seen = seen.to_str().ok().and_then(|seen| seen.parse().ok());
        let seen = seen.ok_or_else(|| {
            Refusal::invalid("Last-Event-ID is not a position; send the id of the last message")
        })?;
        return Ok(SubscribeFrom::After(Position::new(seen)));
    }
    match (from.as_deref(), after) {
        (None, after) => Ok(SubscribeFrom::After(after.unwrap_or_default())),
        (Some("head"), None) => Ok(SubscribeFrom::Head),
        (Some("head"), Some(_)) => Err(Refusal::invalid(
            "parameters `from` and `after` exclude each other; send one of them",
        )),
        (Some(_), _) => Err(Refusal::invalid("parameter `from`: can only be head")),
    }
}

/// The messages of a tail, until the subscription or the server ends.
fn messages(
    mut subscription: Subscription,
    app: App,
) -> impl Stream<Item = Result<Vec<u8>, ReadError>> + Send + 'static {
    let mut stopping = app.stopping.clone();
    stream! {
        yield Ok(format!("retry: {RETRY_MILLIS}\n\n").into_bytes());
        loop {
            let next = tokio::select! {
                () = stopped(&mut stopping) => return,
                next = timeout(app.options.keep_alive, subscription.next()) => next,
            };
            match next {
                Err(_) => yield Ok(b": still here\n\n".to_vec()),
                Ok(None) => return,
                Ok(Some(Ok(notice))) => match message(&notice) {
                    Ok(message) => yield Ok(message),
                    Err(error) => {
                        yield Ok(problem(error));
                        return;
                    }
                },
                Ok(Some(Err(error))) => {
                    yield Ok(problem(error));
                    return;
                }
            }
        }
    }
}

fn message(notice: &Notice) -> Result<Vec<u8>, ReadError> {
    match notice {
        Notice::CaughtUp(position) => {
            let data = format!("{{\"position\":{position}}}");
            Ok(frame("caught_up", Some(*position), data.as_bytes()))
        }
        Notice::Event(event) => {
            let line = Event::of(event).map_err(ReadError::Corrupt)?.to_json_line();
            Ok(frame("event", Some(event.position), &line))
        }
    }
}

fn problem(error: ReadError) -> Vec<u8> {
    let problem = Refusal::from(error).into_problem();
    frame("problem", None, &problem.to_json())
}

/// One server-sent event. `data` must be one line.
fn frame(event: &str, id: Option<Position>, data: &[u8]) -> Vec<u8> {
    let mut frame = format!("event: {event}\n");
    if let Some(id) = id {
        frame.push_str(&format!("id: {id}\n"));
    }
    frame.push_str("data: ");
    let mut frame = frame.into_bytes();
    frame.extend_from_slice(data);
    frame.extend_from_slice(b"\n\n");
    frame
}
