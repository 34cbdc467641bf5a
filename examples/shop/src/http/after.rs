//! Reading one's own writes: an answer to a write says in `annals-after` where it stands; whoever
//! sends that back with a question is answered from what has come so far.

use std::time::Duration;

use annals::{ConsistencyToken, Position};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use super::problem::Problem;
use crate::derived::After;

/// How long a question waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says where a write stands.
pub(super) fn give(answer: &mut Response, position: Position) {
    answer.headers_mut().insert(ConsistencyToken::HEADER, HeaderValue::from(position.get()));
}

/// Which write a question wants to see.
pub(super) fn take(headers: &HeaderMap) -> Result<Option<After>, Problem> {
    let Some(after) = headers.get(ConsistencyToken::HEADER) else { return Ok(None) };
    let token = after.to_str().ok().and_then(|after| after.parse::<ConsistencyToken>().ok());
    let detail = "send annals-after as the answer to the write had it";
    let invalid = || Problem::new(StatusCode::BAD_REQUEST, "invalid_after", detail);
    let position = token.ok_or_else(invalid)?.position();
    Ok(Some(After { position, patience: PATIENCE }))
}
