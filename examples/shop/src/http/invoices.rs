//! `/orders/ID/invoice` and `/invoices`.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;

use super::caller::Key;
use super::execute;
use super::problem::Problem;
use super::request::{Body, Id, Past, command};
use super::shown::{self, Shown, answer};
use crate::invoice::{Credit, Invoice, Pay};
use crate::shop::Shop;

/// There is nothing to say about an invoice that its order does not say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Issue {}

pub(super) async fn issue(
    State(shop): State<Shop>,
    Id(order_id): Id,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Issue {} = command(&headers, body)?;
    let issued = shop.issue_invoice(&order_id).await.map_err(Problem::of)?;
    let status = if issued.receipt.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    let invoice = shop.annals().load::<Invoice>(&issued.id).await?;
    let shown = Shown { id: &issued.id, version: invoice.version, state: &invoice.state };
    let mut answer = answer(status, &shown, issued.receipt.as_ref(), false);
    let location = HeaderValue::try_from(format!("/invoices/{}", issued.id));
    answer.headers_mut().insert(header::LOCATION, location.expect("a year and a number"));
    Ok(answer)
}

pub(super) async fn pay(
    State(shop): State<Shop>,
    Id(id): Id,
    Extension(key): Extension<Key>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let pay: Pay = command(&headers, body)?;
    execute::<Invoice, _>(&shop, id, pay, key).await
}

pub(super) async fn credit(
    State(shop): State<Shop>,
    Id(id): Id,
    Extension(key): Extension<Key>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let credit: Credit = command(&headers, body)?;
    execute::<Invoice, _>(&shop, id, credit, key).await
}

pub(super) async fn show(
    State(shop): State<Shop>,
    Id(id): Id,
    past: Past,
) -> Result<Response, Problem> {
    shown::aggregate::<Invoice>(&shop, id, past).await
}

pub(super) async fn history(State(shop): State<Shop>, Id(id): Id) -> Result<Response, Problem> {
    shown::history::<Invoice>(&shop, id).await
}
