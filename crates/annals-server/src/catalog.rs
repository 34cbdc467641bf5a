//! What the store holds, over HTTP: streams and totals.

use annals_core::{ListStreams, StreamInfo};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::{StreamExt, TryStreamExt};

use crate::http::{App, json, typed, wants_lines};
use crate::params::Params;
use crate::problem::Refusal;
use crate::read::{chunks, page_of};

/// `GET /v1/stats`
pub(crate) async fn stats(State(app): State<App>) -> Result<Response, Refusal> {
    Ok(json(&app.store.stats().await?))
}

/// `GET /v1/streams`
pub(crate) async fn streams(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut params = Params::parse(query.as_deref())?;
    let mut list = ListStreams::all();
    list.category = params.one("category")?;
    list.after = params.one("after")?;
    let limit = params.one("limit")?;
    params.refuse_others()?;
    let mut infos = app.store.streams(list);
    if wants_lines(&headers) {
        let limit = usize::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let lines = infos.take(limit).map_ok(|info| {
            let mut line = to_json(&info);
            line.push(b'\n');
            line
        });
        return Ok(typed("application/x-ndjson", Body::from_stream(chunks(lines))));
    }
    let limit = app.options.page_limit(limit)?;
    let (mut items, mut last, mut more) = (Vec::new(), None, false);
    while let Some(info) = infos.try_next().await? {
        if items.len() as u64 == limit {
            more = true;
            break;
        }
        items.push(to_json(&info));
        last = Some(info.stream);
    }
    let next =
        last.filter(|_| more).map(|last| format!("/v1/streams?{}", params.with("after", last)));
    Ok(page_of("streams", &items, next.as_deref()))
}

fn to_json(info: &StreamInfo) -> Vec<u8> {
    serde_json::to_vec(info).expect("names and numbers always serialise")
}
