//! Projections over HTTP: how they stand, and what people tell them.

use annals::{ProjectionStatus, Rebuild};
use annals_api::{Deleted, ParkedEvent, RebuildRequest};
use annals_core::SubscriberName;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{MethodRouter, post};
use serde_json::json;

use crate::append::receive;
use crate::http::{App, json};
use crate::params::Params;
use crate::problem::Refusal;
use crate::waiting::Wait;
use crate::wire::projection_of;

/// What a path names.
pub(crate) type Named = Result<Path<String>, PathRejection>;

/// `GET /v1/projections`
pub(crate) async fn list(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let projections = app.projections()?;
    let mut params = Params::parse(query.as_deref())?;
    let wait = Wait::wanted(&app, &mut params, &headers)?;
    params.refuse_others()?;
    let mut statuses = projections.list().await?;
    if let Some(wait) = wait {
        let names: Vec<_> = statuses.iter().map(|status| status.info.subscriber.clone()).collect();
        wait.over(&app, projections, &names).await?;
        statuses = projections.list().await?;
    }
    let statuses: Vec<_> = statuses.iter().map(projection_of).collect();
    Ok(json(&json!({ "projections": statuses })))
}

/// `GET /v1/projections/{name}`
pub(crate) async fn one(
    State(app): State<App>,
    path: Named,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (projections, name) = (app.projections()?, subscriber_of(path)?);
    let mut params = Params::parse(query.as_deref())?;
    let wait = Wait::wanted(&app, &mut params, &headers)?;
    params.refuse_others()?;
    if let Some(wait) = wait {
        wait.over(&app, projections, std::slice::from_ref(&name)).await?;
    }
    Ok(told(&projections.status(&name).await?))
}

/// `GET /v1/projections/{name}/parked`
pub(crate) async fn parked(
    State(app): State<App>,
    path: Named,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (projections, name) = (app.projections()?, subscriber_of(path)?);
    let mut params = Params::parse(query.as_deref())?;
    let wait = Wait::wanted(&app, &mut params, &headers)?;
    let limit = app.options.page_limit(params.one("limit")?)?;
    params.refuse_others()?;
    if let Some(wait) = wait {
        wait.over(&app, projections, std::slice::from_ref(&name)).await?;
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut parked = projections.parked(&name, limit.saturating_add(1)).await?;
    let more = parked.len() > limit;
    parked.truncate(limit);
    let parked: Vec<_> = parked.iter().map(ParkedEvent::of).collect();
    Ok(json(&json!({ "parked": parked, "more": more })))
}

/// What a projection is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish {
    Cancel,
    Pause,
    Resume,
}

/// `POST /v1/projections/{name}/…`: tells a projection something, and answers how it stands then.
pub(crate) fn tell(wish: Wish) -> MethodRouter<App> {
    post(
        async move |State(app): State<App>,
                    path: Named,
                    RawQuery(query): RawQuery,
                    headers: HeaderMap,
                    body: Body| {
            let name = told_without_wishes(&app, path, query, &headers, body).await?;
            let projections = app.projections()?;
            match wish {
                Wish::Cancel => drop(projections.cancel_rebuild(&name).await?),
                Wish::Pause => projections.pause(&name).await?,
                Wish::Resume => projections.resume(&name).await?,
            }
            Ok::<_, Refusal>(told(&projections.status(&name).await?))
        },
    )
}

/// `POST /v1/projections/{name}/rebuild`
pub(crate) async fn rebuild(
    State(app): State<App>,
    path: Named,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let (projections, name) = (app.projections()?, subscriber_of(path)?);
    Params::parse(query.as_deref())?.refuse_others()?;
    let body = receive(&app, &headers, body).await?;
    let request = RebuildRequest::from_json(&body.bytes)?;
    let mut rebuild = Rebuild::new();
    if let Some(partitions) = request.partitions {
        rebuild = rebuild.partitions(partitions);
    }
    if let Some(after) = request.after {
        rebuild = rebuild.after(after);
    }
    projections.rebuild(&name, rebuild).await?;
    Ok(told(&projections.status(&name).await?))
}

/// `DELETE /v1/projections/{name}`. No page of another origin can send that.
pub(crate) async fn delete(
    State(app): State<App>,
    path: Named,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let (projections, name) = (app.projections()?, subscriber_of(path)?);
    Params::parse(query.as_deref())?.refuse_others()?;
    let deleted = projections.delete(&name).await?;
    Ok(json(&Deleted::of(name, deleted)))
}

fn told(status: &ProjectionStatus) -> Response {
    json(&projection_of(status))
}

/// The subscriber that is told something, by a request that says no more than its path. It must
/// be JSON all the same, which no page of another origin can send.
pub(crate) async fn told_without_wishes(
    app: &App,
    path: Named,
    query: Option<String>,
    headers: &HeaderMap,
    body: Body,
) -> Result<SubscriberName, Refusal> {
    let name = subscriber_of(path)?;
    Params::parse(query.as_deref())?.refuse_others()?;
    let body = receive(app, headers, body).await?;
    match body.bytes.trim_ascii() {
        b"" | b"{}" => Ok(name),
        _ => Err(Refusal::invalid("there is nothing to say in the body; send {}, or nothing")),
    }
}

pub(crate) fn subscriber_of(path: Named) -> Result<SubscriberName, Refusal> {
    let Path(name) = path.map_err(|rejection| Refusal::invalid(rejection.body_text()))?;
    SubscriberName::new(name).map_err(|error| Refusal::invalid(error.to_string()))
}
