//! `/items`: the inventory.

use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::caller::Key;
use super::problem::Problem;
use super::request::{Body, Id, Past, command};
use super::{execute, shown};
use crate::item::{InventoryItem, Restock, SetPrice};
use crate::naming::Sku;
use crate::shop::Shop;

pub(super) async fn price(
    State(shop): State<Shop>,
    Id(sku): Id,
    Extension(key): Extension<Key>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let SetPrice { price, .. } = command(&headers, body)?;
    let set_price = SetPrice { sku: Sku::from(&*sku), price };
    execute::<InventoryItem, _>(&shop, sku, set_price, key).await
}

pub(super) async fn restock(
    State(shop): State<Shop>,
    Id(sku): Id,
    Extension(key): Extension<Key>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let restock: Restock = command(&headers, body)?;
    execute::<InventoryItem, _>(&shop, sku, restock, key).await
}

pub(super) async fn show(
    State(shop): State<Shop>,
    Id(sku): Id,
    past: Past,
) -> Result<Response, Problem> {
    shown::aggregate::<InventoryItem>(&shop, sku, past).await
}

pub(super) async fn history(State(shop): State<Shop>, Id(sku): Id) -> Result<Response, Problem> {
    shown::history::<InventoryItem>(&shop, sku).await
}
