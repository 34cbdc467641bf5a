//! Inboxes over HTTP: how they stand, and what people tell them.

use annals::Inboxes;
use annals::inbox::InboxStatus;
use annals_api::Deleted;
use annals_core::{ReadSideError, SubscriberName};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{MethodRouter, post};
use serde_json::json;

use crate::http::{App, json};
use crate::params::Params;
use crate::problem::Refusal;
use crate::projections::{Named, subscriber_of, told_without_wishes};
use crate::wire::inbox_of;

/// `GET /v1/inboxes`
pub(crate) async fn list(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    Params::parse(query.as_deref())?.refuse_others()?;
    let inboxes: Vec<_> = app.inboxes()?.status().await?.into_iter().map(inbox_of).collect();
    Ok(json(&json!({ "inboxes": inboxes })))
}

/// What an inbox is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish {
    Disable,
    Enable,
    Pause,
    Resume,
}

/// `POST /v1/inboxes/{name}/…`: tells an inbox something, and answers how it stands then.
pub(crate) fn tell(wish: Wish) -> MethodRouter<App> {
    post(
        async move |State(app): State<App>,
                    path: Named,
                    RawQuery(query): RawQuery,
                    headers: HeaderMap,
                    body: Body| {
            let name = told_without_wishes(&app, path, query, &headers, body).await?;
            let inboxes = app.inboxes()?;
            status_of(inboxes, &name).await?;
            match wish {
                Wish::Disable => inboxes.disable(name.as_str()).await?,
                Wish::Enable => inboxes.enable(name.as_str()).await?,
                Wish::Pause => inboxes.pause(name.as_str()).await?,
                Wish::Resume => inboxes.resume(name.as_str()).await?,
            }
            Ok::<_, Refusal>(json(&inbox_of(status_of(inboxes, &name).await?)))
        },
    )
}

/// `DELETE /v1/inboxes/{name}`. No page of another origin can send that.
pub(crate) async fn delete(
    State(app): State<App>,
    path: Named,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let (inboxes, name) = (app.inboxes()?, subscriber_of(path)?);
    Params::parse(query.as_deref())?.refuse_others()?;
    let deleted = inboxes.delete(name.as_str()).await?;
    Ok(json(&Deleted::of(name, deleted)))
}

/// How an inbox stands; a projection of its name is not meant.
async fn status_of(inboxes: &Inboxes, name: &SubscriberName) -> Result<InboxStatus, ReadSideError> {
    let status = inboxes.status().await?.into_iter().find(|status| status.inbox == *name);
    status.ok_or_else(|| ReadSideError::Unknown(name.clone()))
}
