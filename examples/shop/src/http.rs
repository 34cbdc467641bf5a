//! The routes, and what all of them have in common.

mod accounts;
mod after;
mod caller;
mod customers;
mod invoices;
mod items;
mod orders;
mod problem;
mod products;
mod request;
mod shown;

use annals::{Aggregate, Command};
use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, Request};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde::Serialize;

use self::caller::Key;
use self::problem::{Problem, Told};
use crate::derived::Derived;
use crate::shop::Shop;

/// The most bytes of a request's body.
const BODY_BYTES_MAX: usize = 64 * 1024;

const ROUTES: &str = "there are PUT /items/SKU, POST /items/SKU/restock, POST /orders, \
                      POST /orders/ID/invoice, POST /invoices/ID/payments, \
                      POST /invoices/ID/credits, PUT /customers/ID/address, \
                      PUT and DELETE /products/SKU, POST /accounts/ID/deposits, \
                      POST /accounts/ID/withdrawals, and GET of /items/SKU, /orders/ID, \
                      /invoices/ID, /customers/ID, /products/SKU, /accounts/ID, each also with \
                      /history, GET /products?search=WORDS and GET /balances";

/// What the handlers need; each takes what it asks for.
#[derive(Clone, Debug)]
struct Served {
    shop: Shop,
    derived: Derived,
}

impl FromRef<Served> for Shop {
    fn from_ref(served: &Served) -> Self {
        served.shop.clone()
    }
}

impl FromRef<Served> for Derived {
    fn from_ref(served: &Served) -> Self {
        served.derived.clone()
    }
}

pub(crate) fn router(shop: Shop, derived: Derived) -> Router {
    Router::new()
        .route("/items/{sku}", get(items::show).put(items::price))
        .route("/items/{sku}/restock", post(items::restock))
        .route("/items/{sku}/history", get(items::history))
        .route("/orders", post(orders::create))
        .route("/orders/{id}", get(orders::show))
        .route("/orders/{id}/history", get(orders::history))
        .route("/orders/{id}/invoice", post(invoices::issue))
        .route("/invoices/{id}", get(invoices::show))
        .route("/invoices/{id}/payments", post(invoices::pay))
        .route("/invoices/{id}/credits", post(invoices::credit))
        .route("/invoices/{id}/history", get(invoices::history))
        .route("/customers/{id}", get(customers::show))
        .route("/customers/{id}/address", put(customers::update_address))
        .route("/customers/{id}/history", get(customers::history))
        .route("/products", get(products::search))
        .route("/products/{sku}", get(products::show).put(products::offer).delete(products::remove))
        .route("/products/{sku}/history", get(products::history))
        .route("/accounts/{id}", get(accounts::show))
        .route("/accounts/{id}/deposits", post(accounts::deposit))
        .route("/accounts/{id}/withdrawals", post(accounts::withdraw))
        .route("/accounts/{id}/history", get(accounts::history))
        .route("/balances", get(accounts::balances))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(caller::attach))
        .layer(from_fn(only_loopback_hosts))
        .with_state(Served { shop, derived })
}

/// Executes a command under the caller's key, if there is one, and shows what came of it.
async fn execute<A, C>(
    shop: &Shop,
    id: String,
    command: C,
    Key(key): Key,
) -> Result<Response, Problem>
where
    A: Aggregate + Serialize,
    A::Id: From<String>,
    C: Command<A>,
    C::Error: Told,
{
    let mut execute = shop.annals().execute::<A, C>(id.clone(), command);
    if let Some(key) = key {
        execute = execute.id(key);
    }
    let executed = execute.await.map_err(Problem::of::<C::Error>)?;
    Ok(shown::executed(&id, &executed))
}

/// There is no authentication, and so whoever reaches the loopback interface may do everything.
/// A page of a stranger reaches it too, by letting its own name point there (DNS rebinding); its
/// requests then carry that name.
async fn only_loopback_hosts(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let name = host.map(|host| match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    });
    if name.is_some_and(|name| ["localhost", "127.0.0.1", "[::1]"].contains(&name)) {
        return next.run(request).await;
    }
    let detail = "this application answers only to localhost, 127.0.0.1 and [::1]";
    Problem::new(StatusCode::FORBIDDEN, "forbidden_host", detail).into_response()
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", ROUTES)
}

async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", ROUTES)
}
