//! Answers to what is not done, as `application/problem+json` (RFC 9457).

use std::convert::Infallible;
use std::error::Error;

use annals::{AppendError, BatchError, ExecuteError, FieldErrors, ReadError, WaitError};
use annals_search::SearchError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::account::AccountRefusal;
use crate::derived::NotDerived;
use crate::invoice::InvoiceRefusal;
use crate::item::ItemRefusal;
use crate::order::OrderRefusal;
use crate::product::ProductRefusal;
use crate::shop::NotPlaced;

/// Why a request is not done.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    #[serde(serialize_with = "number")]
    status: StatusCode,
    code: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "FieldErrors::is_empty")]
    errors: FieldErrors,
}

/// A refusal of the domain, as it is told over HTTP.
pub(super) trait Told: Error {
    /// What it is, for machines.
    fn code(&self) -> &'static str;

    /// Which field of one of an order's items it is about.
    fn field(&self) -> &'static str {
        ""
    }
}

impl Told for AccountRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::InsufficientFunds { .. } => "insufficient_funds",
            Self::TooMuch => "too_much",
        }
    }
}

impl Told for ProductRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::OtherName { .. } => "other_name",
        }
    }
}

impl Told for ItemRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::NotEnough { .. } => "not_enough_stock",
            Self::NotFound => "not_found",
            Self::PriceChanged { .. } => "price_changed",
            Self::TooMany => "too_many",
        }
    }

    fn field(&self) -> &'static str {
        match self {
            Self::NotEnough { .. } | Self::TooMany => "quantity",
            Self::NotFound => "sku",
            Self::PriceChanged { .. } => "price",
        }
    }
}

impl Told for InvoiceRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::MoreThanDue { .. } => "more_than_due",
            Self::MoreThanInvoiced { .. } => "more_than_invoiced",
            Self::NotFound => "not_found",
        }
    }
}

impl Told for OrderRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::AlreadyCreated => "already_created",
        }
    }
}

impl Told for Infallible {
    fn code(&self) -> &'static str {
        match *self {}
    }
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: FieldErrors::none() }
    }

    pub(super) fn invalid(errors: FieldErrors) -> Self {
        let detail = "nothing was recorded; see errors";
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail) }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is none, or there was none then")
    }

    /// What must not happen has happened. The reason is for the log and not for the client.
    pub(super) fn broken(error: &dyn Error) -> Self {
        tracing::error!("{}", chain(error));
        let detail = "the request failed; the log of the server says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "broken", detail)
    }

    /// Why a command was not executed.
    pub(super) fn of<E: Told>(error: ExecuteError<E>) -> Self {
        match error {
            ExecuteError::Refused(refusal) => {
                let code = refusal.code();
                let missing = code == "not_found";
                let status = if missing { StatusCode::NOT_FOUND } else { StatusCode::CONFLICT };
                Self::new(status, code, refusal.to_string())
            }
            error => Self::of_any(error),
        }
    }

    /// Why something was not executed, refusals of the domain apart.
    pub(super) fn of_any<E: Error>(error: ExecuteError<E>) -> Self {
        match error {
            ExecuteError::Invalid(errors) => Self::invalid(errors),
            ExecuteError::Denied(denied) => {
                Self::new(StatusCode::FORBIDDEN, "denied", denied.to_string())
            }
            ExecuteError::CommandId { .. } => Self::key_used(),
            ExecuteError::Conflict { .. } => {
                let detail = "too many others wanted the same; nothing was recorded, retry later";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
            }
            ExecuteError::Standing(closed) => {
                Self::new(StatusCode::CONFLICT, "closed", closed.to_string())
            }
            ExecuteError::Load(error) => error.into(),
            ExecuteError::Append(error) => Self::of_append(&error),
            error => Self::broken(&error),
        }
    }

    fn of_append(error: &AppendError) -> Self {
        match error {
            AppendError::Closed | AppendError::Unavailable(_) => Self::unavailable(error),
            AppendError::Indeterminate(_) => {
                tracing::error!("{}", chain(error));
                let detail = "whether it was recorded is not known; send it again with the same \
                              Idempotency-Key";
                Self::new(StatusCode::GATEWAY_TIMEOUT, "unknown", detail)
            }
            error => Self::broken(error),
        }
    }

    pub(super) fn of_read(error: &ReadError) -> Self {
        match error {
            ReadError::Closed | ReadError::Unavailable(_) => Self::unavailable(error),
            error => Self::broken(error),
        }
    }

    fn unavailable(error: &dyn Error) -> Self {
        tracing::error!("{}", chain(error));
        let detail = "the shop cannot do it now, and nothing was recorded; retry later";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }

    fn key_used() -> Self {
        let detail = "this Idempotency-Key was used for another request; give each its own";
        Self::new(StatusCode::CONFLICT, "key_used", detail)
    }
}

impl From<NotPlaced> for Problem {
    fn from(not: NotPlaced) -> Self {
        let item = not.item();
        match not {
            NotPlaced::KeyUsed => Self::key_used(),
            NotPlaced::Load(error) => error.into(),
            NotPlaced::Batch(BatchError { error: ExecuteError::Refused(refusal), .. }) => {
                let refused = refusal.downcast_ref::<ItemRefusal>().zip(item);
                let errors = refused.map_or_else(FieldErrors::none, |(refusal, item)| {
                    let path = format!("items[{item}].{}", refusal.field());
                    let message = refusal.to_string();
                    FieldErrors::none().check(false, &path, refusal.code(), &message)
                });
                let detail = "the order is refused as a whole, and nothing was recorded";
                Self { errors, ..Self::new(StatusCode::CONFLICT, "refused", detail) }
            }
            NotPlaced::Batch(BatchError { error, .. }) => Self::of_any(error),
        }
    }
}

impl From<NotDerived> for Problem {
    fn from(not: NotDerived) -> Self {
        match not {
            NotDerived::Search(SearchError::Invalid(invalid)) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_search", invalid.to_string())
            }
            NotDerived::Wait(WaitError::TimedOut { reached, .. }) => {
                let detail = format!("it has come to position {reached} only; retry later");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "behind", detail)
            }
            NotDerived::Search(SearchError::Unavailable(_)) | NotDerived::Wait(_) => {
                Self::unavailable(&not)
            }
            not => Self::broken(&not),
        }
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

/// An error and its reasons on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(reason) = source {
        text.push_str(&format!(": {reason}"));
        source = reason.source();
    }
    text
}
