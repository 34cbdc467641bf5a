//! `/customers`: where parcels go.

use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::caller::Key;
use super::problem::Problem;
use super::request::{Body, Id, Past, command};
use super::{execute, shown};
use crate::customer::{Customer, UpdateAddress};
use crate::shop::Shop;

pub(super) async fn update_address(
    State(shop): State<Shop>,
    Id(id): Id,
    Extension(key): Extension<Key>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let asked: UpdateAddress = command(&headers, body)?;
    let update = UpdateAddress { customer_id: id.clone(), ..asked };
    execute::<Customer, _>(&shop, id, update, key).await
}

pub(super) async fn show(
    State(shop): State<Shop>,
    Id(id): Id,
    past: Past,
) -> Result<Response, Problem> {
    shown::aggregate::<Customer>(&shop, id, past).await
}

pub(super) async fn history(State(shop): State<Shop>, Id(id): Id) -> Result<Response, Problem> {
    shown::history::<Customer>(&shop, id).await
}
