//! `/orders`.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::caller::Key;
use super::problem::Problem;
use super::request::{Body, Id, Past, command};
use super::shown::{self, Shown, answer};
use crate::order::Order;
use crate::shop::Shop;

pub(super) async fn create(
    State(shop): State<Shop>,
    Extension(Key(key)): Extension<Key>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let placed = shop.place(&command(&headers, body)?, key.as_deref()).await?;
    let shown = Shown { id: &placed.id, version: placed.order.version, state: &placed.order.state };
    let mut answer = answer(StatusCode::CREATED, &shown, Some(&placed.receipt), placed.repeated);
    let location = HeaderValue::try_from(format!("/orders/{}", placed.id));
    answer.headers_mut().insert(header::LOCATION, location.expect("a UUID is visible"));
    Ok(answer)
}

pub(super) async fn show(
    State(shop): State<Shop>,
    Id(id): Id,
    past: Past,
) -> Result<Response, Problem> {
    shown::aggregate::<Order>(&shop, id, past).await
}

pub(super) async fn history(State(shop): State<Shop>, Id(id): Id) -> Result<Response, Problem> {
    shown::history::<Order>(&shop, id).await
}
