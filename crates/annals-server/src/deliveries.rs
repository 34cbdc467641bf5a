//! Deliveries over HTTP: looking at them, retrying and skipping.

use std::fmt;
use std::str::FromStr;

use annals_api::{
    Attempt, Delivery, DeliveryHistory, RetryRequest, SkipRequest, WhichDeliveries, delivery_id,
};
use annals_core::{DeliveryId, DeliveryState, Position, SelectDeliveries};
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde_json::json;

use crate::append::receive;
use crate::http::{App, json};
use crate::params::Params;
use crate::problem::Refusal;
use crate::projections::Named;
use crate::read::page_of;

/// `GET /v1/deliveries`
pub(crate) async fn list(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let mut params = Params::parse(query.as_deref())?;
    let which = WhichDeliveries {
        id: None,
        inbox: params.one("inbox")?,
        state: params.one::<Stands>("state")?.map(|state| state.0),
        event_type: params.one("type")?,
        stream: params.one("stream")?,
        recipient: params.one("recipient")?,
    };
    let mut select = which.select()?;
    if let Some(Place(position, id)) = params.one("after")? {
        select = select.after(position, id);
    }
    let limit = app.options.page_limit(params.one("limit")?)?;
    params.refuse_others()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // One more than asked for, to know whether there is a next page.
    let mut found = app.inboxes()?.deliveries(select, limit.saturating_add(1)).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().map(|last| Place(last.event.position, last.id.clone()));
    let next =
        last.filter(|_| more).map(|last| format!("/v1/deliveries?{}", params.with("after", last)));
    let items: Vec<_> = found.into_iter().map(|info| to_json(&Delivery::of(info))).collect();
    Ok(page_of("deliveries", &items, next.as_deref()))
}

/// `GET /v1/deliveries/{id}`
pub(crate) async fn one(
    State(app): State<App>,
    path: Named,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let Path(id) = path.map_err(|rejection| Refusal::invalid(rejection.body_text()))?;
    let id = delivery_id(&id)?;
    Params::parse(query.as_deref())?.refuse_others()?;
    let inboxes = app.inboxes()?;
    let found = inboxes.deliveries(SelectDeliveries::one(id.clone()), 1).await?.pop();
    let delivery = Delivery::of(found.ok_or_else(|| unknown(&id))?);
    let attempts = inboxes.attempts(&id).await?.into_iter().map(Attempt::of).collect();
    Ok(json(&DeliveryHistory { delivery, attempts }))
}

/// `POST /v1/deliveries/retry`
pub(crate) async fn retry(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    Params::parse(query.as_deref())?.refuse_others()?;
    let inboxes = app.inboxes()?;
    let body = receive(&app, &headers, body).await?;
    let which = RetryRequest::from_json(&body.bytes)?.select()?;
    Ok(json(&json!({ "retried": inboxes.retry(which).await? })))
}

/// `POST /v1/deliveries/skip`
pub(crate) async fn skip(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    Params::parse(query.as_deref())?.refuse_others()?;
    let inboxes = app.inboxes()?;
    let body = receive(&app, &headers, body).await?;
    let request = SkipRequest::from_json(&body.bytes)?;
    let which = request.select()?;
    Ok(json(&json!({ "skipped": inboxes.skip(which, &request.reason).await? })))
}

fn unknown(id: &DeliveryId) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "unknown_delivery",
        "There is no such delivery",
        format!(
            "there is no delivery {id}; GET /v1/deliveries lists them, and those that were made \
             are forgotten after a while"
        ),
    )
}

fn to_json(delivery: &Delivery) -> Vec<u8> {
    serde_json::to_vec(delivery).expect("names, numbers and texts always serialise")
}

/// Where a page ended: `4096:email/0198…`.
struct Place(Position, DeliveryId);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.split_once(':').and_then(|(position, id)| {
            Some(Self(Position::new(position.parse().ok()?), delivery_id(id).ok()?))
        });
        place.ok_or_else(|| "follow `next` as it is".to_owned())
    }
}

/// A state as it is written in a URL.
struct Stands(DeliveryState);

impl FromStr for Stands {
    type Err = serde::de::value::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        DeliveryState::deserialize(text.into_deserializer()).map(Self)
    }
}
