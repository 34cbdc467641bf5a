//! `/accounts`: what customers have with the shop, and `/balances`: all of them.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::caller::Key;
use super::problem::Problem;
use super::request::{Body, Id, Past, command};
use super::shown::{self, json_answer};
use super::{after, execute};
use crate::account::{Account, Deposit, Withdraw};
use crate::derived::Derived;
use crate::naming::is_plain;
use crate::shop::Shop;

const LISTED_MAX: usize = 1_000;

/// How many are wanted behind which.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    after: Option<String>,
    limit: Option<usize>,
}

/// In the order of their names.
pub(super) async fn balances(
    State(derived): State<Derived>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let detail = "ask with ?after=ID for those behind it, and &limit= from 1 to 1000";
    let invalid = || Problem::new(StatusCode::BAD_REQUEST, "invalid_query", detail);
    let Query(Wanted { after: behind, limit }) = wanted.map_err(|_| invalid())?;
    let limit = limit.unwrap_or(100);
    if !(1..=LISTED_MAX).contains(&limit) || behind.as_deref().is_some_and(|id| !is_plain(id)) {
        return Err(invalid());
    }
    let rows = derived.balances(behind.as_deref(), limit, after::take(&headers)?).await?;
    let balances: Vec<Value> = rows
        .iter()
        .map(|(key, balance)| json!({ "id": key.as_str(), "balance": balance }))
        .collect();
    Ok(json_answer(StatusCode::OK, &json!({ "balances": balances })))
}

pub(super) async fn deposit(
    State(shop): State<Shop>,
    id: Id,
    Extension(key): Extension<Key>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let deposit: Deposit = command(&headers, body)?;
    execute::<Account, _>(&shop, plain(id)?, deposit, key).await
}

pub(super) async fn withdraw(
    State(shop): State<Shop>,
    id: Id,
    Extension(key): Extension<Key>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let withdraw: Withdraw = command(&headers, body)?;
    execute::<Account, _>(&shop, plain(id)?, withdraw, key).await
}

/// An account is opened by the first deposit, under a name as customers have it.
fn plain(Id(id): Id) -> Result<String, Problem> {
    if is_plain(&id) { Ok(id) } else { Err(Problem::not_found()) }
}

pub(super) async fn show(
    State(shop): State<Shop>,
    Id(id): Id,
    past: Past,
) -> Result<Response, Problem> {
    shown::aggregate::<Account>(&shop, id, past).await
}

pub(super) async fn history(State(shop): State<Shop>, Id(id): Id) -> Result<Response, Problem> {
    shown::history::<Account>(&shop, id).await
}
