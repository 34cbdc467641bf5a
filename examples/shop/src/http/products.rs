//! `/products`: the catalogue.

use annals::{BatchError, ExecuteError};
use annals_search::Search;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::caller::Key;
use super::problem::Problem;
use super::request::{Body, Id, Past, command};
use super::shown::{self, Shown, answer, json_answer};
use super::{after, execute};
use crate::derived::Derived;
use crate::naming::Sku;
use crate::product::{Offer, Product, ProductRefusal, Remove};
use crate::shop::Shop;

/// `?search=` and how many are wanted behind how many.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    search: String,
    skip: usize,
    limit: Option<usize>,
}

/// The products whose names have all the words; the last one may still be typed.
pub(super) async fn search(
    State(derived): State<Derived>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let detail = "ask with ?search=WORDS, and &skip= and &limit= for more";
    let invalid = |_| Problem::new(StatusCode::BAD_REQUEST, "invalid_query", detail);
    let Query(Wanted { search, skip, limit }) = wanted.map_err(invalid)?;
    let search = Search::new(search).prefix().skip(skip).take(limit.unwrap_or(20));
    let found = derived.search(&search, after::take(&headers)?).await?;
    let products: Vec<Value> = found
        .hits
        .into_iter()
        .map(|hit| {
            let mut product = Map::from_iter([("id".to_owned(), Value::from(hit.id))]);
            if let Value::Object(fields) = hit.document {
                product.extend(fields);
            }
            Value::Object(product)
        })
        .collect();
    Ok(json_answer(StatusCode::OK, &json!({ "products": products, "more": found.more })))
}

/// The item costs the same as the product of the catalogue: both change, or none.
pub(super) async fn offer(
    State(shop): State<Shop>,
    Id(sku): Id,
    Extension(Key(key)): Extension<Key>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let asked: Offer = command(&headers, body)?;
    let offer = Offer { sku: Sku::from(&*sku), ..asked };
    let offered = shop.offer(offer, key.as_deref()).await.map_err(refused)?;
    let product = shop.annals().load::<Product>(&*sku).await?;
    let shown = Shown { id: &sku, version: product.version, state: &product.state };
    Ok(answer(StatusCode::OK, &shown, offered.appended.as_ref(), offered.repeated))
}

fn refused(BatchError { error, .. }: BatchError) -> Problem {
    match error {
        ExecuteError::Refused(refusal) => match refusal.downcast_ref::<ProductRefusal>() {
            Some(refusal) => Problem::of(ExecuteError::Refused(refusal.clone())),
            None => Problem::new(StatusCode::CONFLICT, "refused", refusal.to_string()),
        },
        error => Problem::of_any(error),
    }
}

pub(super) async fn remove(
    State(shop): State<Shop>,
    Id(sku): Id,
    Extension(key): Extension<Key>,
) -> Result<Response, Problem> {
    let remove = Remove { sku: Sku::from(&*sku) };
    execute::<Product, _>(&shop, sku, remove, key).await
}

pub(super) async fn show(
    State(shop): State<Shop>,
    Id(sku): Id,
    past: Past,
) -> Result<Response, Problem> {
    shown::aggregate::<Product>(&shop, sku, past).await
}

pub(super) async fn history(State(shop): State<Shop>, Id(sku): Id) -> Result<Response, Problem> {
    shown::history::<Product>(&shop, sku).await
}
