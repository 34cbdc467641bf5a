//! Problems: how each error is told to a client, without the server's internals.

use std::error::Error;

use annals::StatusError;
use annals_api::{Conflict, Malformed, Problem};
use annals_core::error::Chain;
use annals_core::{AppendError, EventId, Invalid, ReadError, ReadSideError};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Seconds after which a client may try again when the store or the server is busy.
const RETRY_AFTER_SECONDS: u16 = 1;

/// A request that is not done, and the problem document that says why.
#[derive(Debug)]
pub(crate) struct Refusal(Box<Problem>);

impl Refusal {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(Problem::new(status.as_u16(), code, title, detail)))
    }

    /// The request itself is wrong.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", "The request is not valid", detail)
    }

    pub(crate) fn busy(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, "The server is busy", detail)
    }

    /// An append that was not acknowledged. `ids` are those of its events: the server may have
    /// chosen them, and without them the client could not repeat the append.
    pub(crate) fn of_append(error: &AppendError, ids: Vec<EventId>) -> Self {
        log(error, error.code());
        let detail = error.to_string();
        match error {
            AppendError::Conflict(conflict) => {
                let mut refusal =
                    Self::new(StatusCode::CONFLICT, error.code(), "The log has moved on", detail);
                refusal.0.conflict = Conflict::of(conflict);
                refusal
            }
            AppendError::Indeterminate(_) => {
                let mut refusal = Self::new(
                    StatusCode::GATEWAY_TIMEOUT,
                    error.code(),
                    "The outcome is unknown",
                    detail,
                );
                refusal.0.event_ids = ids;
                refusal
            }
            AppendError::Invalid(_) => Self::invalid(detail),
            AppendError::Closed => Self::closed(),
            AppendError::Corrupt(_) => Self::corrupt(),
            AppendError::Unavailable(_) => Self::unavailable(),
            AppendError::Unsupported(_) => Self::unsupported(detail),
            AppendError::Vetoed { .. } => Self::vetoed(detail),
            _ => Self::unknown(),
        }
    }

    fn closed() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "closed",
            "The store is closed",
            "the store is closed; retry when the server has been started again",
        )
    }

    fn corrupt() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "corrupt",
            "The store is damaged",
            "the store is damaged; the server's log says where",
        )
    }

    pub(crate) fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "The store is not available",
            "the store cannot do it now, and nothing was written; retry later",
        )
    }

    /// The server was told to stop while it waited for something.
    pub(crate) fn stopping() -> Self {
        Self::busy("stopping", "the server stops; ask again when it has been started again")
    }

    /// The server has no read side.
    pub(crate) fn no_read_side() -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "no_read_side",
            "There is no read side here",
            "this server has no read side; start it with --read-side, the place where the \
             application keeps its checkpoints",
        )
    }

    fn vetoed(detail: String) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "vetoed", "A reactor does not allow it", detail)
    }

    fn unsupported(detail: String) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "unsupported", "The store cannot do this", detail)
    }

    fn unknown() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "unknown",
            "The request failed",
            "the request failed; the server's log says why",
        )
    }

    pub(crate) fn into_problem(self) -> Problem {
        *self.0
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        log(&error, error.code());
        match error {
            ReadError::Closed => Self::closed(),
            ReadError::Corrupt(_) => Self::corrupt(),
            ReadError::Invalid(invalid) => invalid.into(),
            ReadError::Unavailable(_) => Self::unavailable(),
            ReadError::Unsupported(_) => Self::unsupported(error.to_string()),
            _ => Self::unknown(),
        }
    }
}

impl From<ReadSideError> for Refusal {
    fn from(error: ReadSideError) -> Self {
        log(&error, error.code());
        match error {
            ReadSideError::Closed => Self::closed(),
            ReadSideError::Corrupt(_) => Self::corrupt(),
            ReadSideError::InUse { .. } => {
                Self::new(StatusCode::CONFLICT, "in_use", "Somebody runs it", error.to_string())
            }
            ReadSideError::Invalid(invalid) => invalid.into(),
            ReadSideError::Unavailable(_) => Self::unavailable(),
            ReadSideError::Unknown(name) => Self::new(
                StatusCode::NOT_FOUND,
                "unknown_subscriber",
                "There is none of this name",
                format!(
                    "{name} is not known here; look at the name, and note that one becomes known \
                     when it is first run"
                ),
            ),
            ReadSideError::Unsupported(_) => Self::unsupported(error.to_string()),
            _ => Self::unknown(),
        }
    }
}

impl From<StatusError> for Refusal {
    fn from(error: StatusError) -> Self {
        match error {
            StatusError::ReadSide(error) => error.into(),
            StatusError::Log(error) => error.into(),
            error => {
                log(&error, "unknown");
                Self::unknown()
            }
        }
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::invalid(invalid.to_string())
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::invalid(Chain(&malformed).to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).expect("problems are made from a StatusCode");
        let content_type = HeaderValue::from_static(Problem::CONTENT_TYPE);
        let mut response =
            (status, [(header::CONTENT_TYPE, content_type)], self.0.to_json()).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// Tells the operator what the client is not told. What a client did wrong is its own matter.
fn log(error: &dyn Error, code: &str) {
    match code {
        "conflict" | "in_use" | "invalid" | "unknown_subscriber" | "unsupported" | "vetoed" => {}
        "closed" | "unavailable" => tracing::warn!(code, "{}", Chain(error)),
        _ => tracing::error!(code, "{}", Chain(error)),
    }
}
