//! The page that says why something was not done.

use std::error::Error;

use annals::{ExecuteError, LoadError, ReadSideError};
use annals_feed::FeedError;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::caller::Caller;
use super::layout::page;
use crate::issue::IssueRefusal;

/// Why something was not done, for people.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    details: Vec<String>,
}

impl Problem {
    #[expect(clippy::needless_pass_by_value, reason = "it is handed over, to be shown")]
    pub(super) fn new(status: StatusCode, detail: impl ToString) -> Self {
        Self { status, details: vec![detail.to_string()] }
    }

    pub(super) fn not_found(detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(super) fn bad_request(detail: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Something that nobody here can help; the log of the program says what.
    pub(super) fn broken(error: &(dyn Error + 'static)) -> Self {
        let mut said = error.to_string();
        let mut source = error.source();
        while let Some(reason) = source {
            said.push_str(&format!(": {reason}"));
            source = reason.source();
        }
        tracing::error!(error = said, "a page was not answered");
        let detail = "it could not be done now; try again, or look at the program's log";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, details } = self;
        let content = html! {
            ul.problem { @for detail in &details { li { (detail) } } }
            p { a href="/issues" { "To the issues" } }
        };
        let title = match status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::CONFLICT => "That cannot be done",
            StatusCode::FORBIDDEN => "You may not do that",
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => "Something is wrong",
            _ => "It was not done",
        };
        (status, page(title, &Caller::default(), content)).into_response()
    }
}

/// A refusal, with the status of its answer.
pub(super) trait Refusal: Error + 'static {
    fn status(&self) -> StatusCode {
        StatusCode::CONFLICT
    }
}

impl Refusal for IssueRefusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            _ => StatusCode::CONFLICT,
        }
    }
}

impl Refusal for crate::person::PersonRefusal {}
impl Refusal for annals_rules::RuleRefusal {}
impl Refusal for annals_webhooks::WebhookRefusal {}

impl<R: Refusal> From<ExecuteError<R>> for Problem {
    fn from(error: ExecuteError<R>) -> Self {
        match &error {
            ExecuteError::Refused(refusal) => Self::new(refusal.status(), refusal),
            ExecuteError::Denied(denied) => Self::new(StatusCode::FORBIDDEN, denied),
            ExecuteError::Invalid(errors) => {
                let details =
                    errors.iter().map(|error| format!("{}: {}", error.path, error.message));
                Self { status: StatusCode::UNPROCESSABLE_ENTITY, details: details.collect() }
            }
            ExecuteError::CommandId { .. } => {
                let detail = "this form was sent before with something else; load the page again";
                Self::new(StatusCode::CONFLICT, detail)
            }
            ExecuteError::Name(_) => Self::not_found("nothing can be called that"),
            ExecuteError::Standing(not_open) => Self::new(StatusCode::CONFLICT, not_open),
            _ => Self::broken(&error),
        }
    }
}

impl From<FeedError> for Problem {
    fn from(error: FeedError) -> Self {
        match &error {
            FeedError::TooMuch { .. } | FeedError::Cursor(_) => Self::bad_request(&error),
            _ => Self::broken(&error),
        }
    }
}

impl From<ReadSideError> for Problem {
    fn from(error: ReadSideError) -> Self {
        match &error {
            ReadSideError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, &error),
            _ => Self::broken(&error),
        }
    }
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        Self::broken(&error)
    }
}
