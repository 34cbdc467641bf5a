//! Reading one's own writes: an answer to a write says in `annals-after` where it stands; whoever
//! sends that back with a question is answered from what has come so far.

use std::time::Duration;

use annals::Position;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use super::problem::Problem;
use crate::derived::After;

const AFTER: HeaderName = HeaderName::from_static("annals-after");
/// How long a question waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says where a write stands.
pub(super) fn give(answer: &mut Response, position: Position) {
    answer.headers_mut().insert(AFTER, HeaderValue::from(position.get()));
}

/// Which write a question wants to see.
pub(super) fn take(headers: &HeaderMap) -> Result<Option<After>, Problem> {
    let Some(after) = headers.get(AFTER) else { return Ok(None) };
    let position = after.to_str().ok().and_then(|after| after.parse().ok()).map(Position::new);
    let detail = "send annals-after as the answer to the write had it";
    let invalid = || Problem::new(StatusCode::BAD_REQUEST, "invalid_after", detail);
    let position = position.ok_or_else(invalid)?;
    Ok(Some(After { position, patience: PATIENCE }))
}
