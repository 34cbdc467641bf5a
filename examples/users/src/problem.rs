//! Answers to what is not done, as `application/problem+json` (RFC 9457).

use std::error::Error;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::change::Refusal;
use crate::hashing::HashFailure;
use crate::parameters::{FieldError, Invalid};
use crate::users::Failure;

/// Why a request is not done.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    #[serde(serialize_with = "number")]
    status: StatusCode,
    code: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dropped: Vec<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let (errors, dropped) = Default::default();
        Self { status, code, detail: detail.into(), errors, dropped }
    }

    fn of_field(status: StatusCode, code: &'static str, error: FieldError) -> Self {
        Self { errors: vec![error], ..Self::new(status, code, "nothing was written; see errors") }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).expect("a problem has only text keys");
        let content_type = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, body).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let Invalid { errors, dropped } = invalid;
        let detail = "nothing was written; see errors";
        Self { errors, dropped, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail) }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not_found", message),
            Refusal::EmailTaken => {
                let error = FieldError::new("user.email", "taken", message);
                Self::of_field(StatusCode::CONFLICT, "email_taken", error)
            }
            Refusal::Vetoed(error) => {
                Self::of_field(StatusCode::UNPROCESSABLE_ENTITY, "vetoed", error)
            }
        }
    }
}

impl From<HashFailure> for Problem {
    fn from(failure: HashFailure) -> Self {
        let (status, code) = match failure {
            HashFailure::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            HashFailure::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "broken"),
        };
        Self::new(status, code, failure.to_string())
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let (status, code, detail) = match failure {
            Failure::Refused(refusal) => return refusal.into(),
            Failure::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "the database cannot do it now, and nothing was written; retry later",
            ),
            Failure::Unknown(_) => (
                StatusCode::GATEWAY_TIMEOUT,
                "unknown",
                "whether it was done is not known; look with GET /users",
            ),
            Failure::Broken(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "broken",
                "the request failed, and nothing was written; the log of the server says why",
            ),
        };
        tracing::error!(code, "{}", chain(&failure));
        Self::new(status, code, detail)
    }
}

/// An error and its reasons on one line, for the log and not for the client.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(reason) = source {
        text.push_str(&format!(": {reason}"));
        source = reason.source();
    }
    text
}
