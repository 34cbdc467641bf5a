//! Aggregates and their histories, as answers.

use annals::{Aggregate, Event, Executed, LoadError, Receipt, Version};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use serde::Serialize;
use serde_json::{Value, json};

use super::after;
use super::problem::Problem;
use super::request::{Past, then};

use crate::shop::Shop;

/// The most events of a history that are shown.
const HISTORY_EVENTS_MAX: usize = 1_000;

/// An aggregate for everybody to see.
#[derive(Serialize)]
pub(super) struct Shown<'a, A> {
    pub(super) id: &'a str,
    pub(super) version: Version,
    #[serde(flatten)]
    pub(super) state: &'a A,
}

/// The aggregate as it is, or as it was then.
pub(super) async fn aggregate<A>(shop: &Shop, id: String, past: Past) -> Result<Response, Problem>
where
    A: Aggregate + Serialize,
    A::Id: From<String>,
{
    let loaded = match then(past)? {
        None => shop.annals().load::<A>(id.clone()).await,
        Some(then) => shop.annals().load_as_of::<A>(id.clone(), then).await,
    }?;
    if loaded.version == Version::EMPTY {
        return Err(Problem::not_found());
    }
    Ok(json_answer(
        StatusCode::OK,
        &Shown { id: &id, version: loaded.version, state: &loaded.state },
    ))
}

/// What happened to it, oldest first, whatever shape it was stored in.
pub(super) async fn history<A>(shop: &Shop, id: String) -> Result<Response, Problem>
where
    A: Aggregate,
    A::Id: From<String>,
{
    let mut events = Vec::new();
    let mut history = shop.annals().history::<A>(id);
    while let Some(past) = history.try_next().await? {
        if events.len() == HISTORY_EVENTS_MAX {
            break;
        }
        let now = past.event.encode().map_err(|error| Problem::broken(&error))?;
        let data: Value =
            serde_json::from_slice(&now.data.bytes).map_err(|error| Problem::broken(&error))?;
        events.push(json!({
            "version": past.stored.version,
            "type": now.event_type,
            "schema_version": now.schema_version,
            "stored_as": past.stored.schema_version,
            "data": data,
            "metadata": past.stored.metadata.to_map(),
            "occurred_at": past.stored.occurred_at,
            "recorded_at": past.stored.recorded_at,
        }));
    }
    if events.is_empty() {
        return Err(Problem::not_found());
    }
    Ok(json_answer(StatusCode::OK, &json!({ "events": events })))
}

/// What a command came to.
pub(super) fn executed<A: Serialize>(id: &str, executed: &Executed<A>) -> Response {
    let Executed { state, version, appended, repeated, .. } = executed;
    let shown = Shown { id, version: *version, state };
    answer(StatusCode::OK, &shown, appended.as_ref(), *repeated)
}

/// An aggregate, and what there is to say about the request.
pub(super) fn answer<A: Serialize>(
    status: StatusCode,
    shown: &Shown<'_, A>,
    receipt: Option<&Receipt>,
    repeated: bool,
) -> Response {
    #[derive(Serialize)]
    struct Answer<'a, A> {
        #[serde(flatten)]
        shown: &'a Shown<'a, A>,
        /// Where it is recorded; null when there was nothing to do and nothing was recorded.
        receipt: Option<Value>,
        repeated: bool,
    }
    let told = receipt.map(|receipt| {
        json!({
            "first_position": receipt.first_position,
            "last_position": receipt.last_position,
            "recorded_at": receipt.recorded_at,
        })
    });
    let mut answer = json_answer(status, &Answer { shown, receipt: told, repeated });
    if let Some(receipt) = receipt {
        after::give(&mut answer, receipt.last_position);
    }
    answer
}

pub(super) fn json_answer(status: StatusCode, body: &impl Serialize) -> Response {
    let body = match serde_json::to_vec(body) {
        Ok(body) => body,
        Err(error) => return Problem::broken(&error).into_response(),
    };
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, content_type, body).into_response()
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        match error {
            // Nothing can have a name that no stream can have.
            LoadError::Id(_) => Self::not_found(),
            LoadError::Read(error) => Self::of_read(&error),
            error => Self::broken(&error),
        }
    }
}
