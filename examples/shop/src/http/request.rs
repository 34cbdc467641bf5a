//! What a request says: its body, and which past it asks for.

use annals::{AsOf, FieldErrors, Timestamp, Version};
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Deserializer;
use serde_json::error::Category;

use super::BODY_BYTES_MAX;
use super::problem::Problem;

pub(super) type Body = Result<Bytes, BytesRejection>;
pub(super) type Past = Result<Query<Then>, QueryRejection>;

/// What the path calls a thing. What is no text is the name of nothing.
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).map_err(|_| Problem::not_found())
    }
}

/// The command in a body.
///
/// Its type must say that it is JSON: a page of a stranger in somebody's browser can send a form
/// or text here without asking, but JSON only with a permission that nobody gives.
pub(super) fn command<C: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<C, Problem> {
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
    // The reader would also take a list, for the fields in their order.
    if body.trim_ascii_start().starts_with(b"[") {
        let message = "must be an object, not a list";
        return Err(Problem::invalid(FieldErrors::none().check(false, "", "malformed", message)));
    }
    let mut json = Deserializer::from_slice(&body);
    let command =
        serde_path_to_error::deserialize(&mut json).map_err(|error| unreadable(&error))?;
    let rest = json.end().map_err(|error| not_json(&error));
    rest.map(|()| command)
}

/// A field of another type than it has is told alone: the rest could not be read.
fn unreadable(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    if error.inner().classify() != Category::Data {
        return not_json(error.inner());
    }
    let path = error.path().to_string();
    let path = if path == "." { "" } else { &path };
    let errors = FieldErrors::none().check(false, path, "malformed", &error.inner().to_string());
    Problem::invalid(errors)
}

fn not_json(error: &serde_json::Error) -> Problem {
    let detail = format!("the body is not JSON: {error}");
    Problem::new(StatusCode::BAD_REQUEST, "malformed", detail)
}

/// `?as_of_version=` or `?as_at=`; the present when neither is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Then {
    as_of_version: Option<u64>,
    as_at: Option<Timestamp>,
}

pub(super) fn then(past: Past) -> Result<Option<AsOf>, Problem> {
    let then = past.map(|Query(Then { as_of_version, as_at })| (as_of_version, as_at));
    match then {
        Ok((None, None)) => Ok(None),
        Ok((Some(version), None)) => Ok(Some(Version::new(version).into())),
        Ok((None, Some(moment))) => Ok(Some(moment.into())),
        _ => {
            let detail = "ask for the past with ?as_of_version=2 or ?as_at=2026-03-01T12:00:00Z";
            Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_query", detail))
        }
    }
}
