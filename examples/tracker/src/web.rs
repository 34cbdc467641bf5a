//! The pages: which there are, and what all of them have in common.

mod audit;
mod caller;
mod entries;
mod inboxes;
mod issues;
mod layout;
mod live;
mod metrics;
mod people;
mod problem;
mod rules;
mod webhooks;

use annals::{EventId, Position};
use annals_feed::Activity;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, Form};
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use self::problem::Problem;
use crate::tracker::Tracker;

/// The most bytes of a form.
const FORM_BYTES_MAX: usize = 64 * 1024;

pub(crate) fn router(tracker: Tracker) -> Router {
    Router::new()
        .route("/", get(async || Redirect::to("/issues")))
        .route("/issues", get(issues::list).post(issues::create))
        .route("/issues/{id}", get(issues::show))
        .route("/issues/{id}/live", get(live::issue))
        .route("/issues/{id}/comment", post(issues::comment))
        .route("/issues/{id}/assign", post(issues::assign))
        .route("/issues/{id}/status", post(issues::become_status))
        .route("/people", get(people::list).post(people::join))
        .route("/people/{id}", get(people::feed))
        .route("/people/{id}/team", post(people::change_team))
        .route("/teams/{team}", get(people::team))
        .route("/who", post(people::be))
        .route("/audit", get(audit::show))
        .route("/audit.csv", get(audit::csv))
        .route("/metrics", get(metrics::show))
        .route("/inboxes", get(inboxes::show))
        .route("/inboxes/{inbox}", post(inboxes::tell))
        .route("/deliveries", post(inboxes::settle))
        .route("/rules", get(rules::show).post(rules::define))
        .route("/rules/{id}", post(rules::tell))
        .route("/webhooks", get(webhooks::show).post(webhooks::register))
        .route("/webhooks/{id}", post(webhooks::tell))
        .route("/style.css", get(style))
        .route("/live.js", get(script))
        .fallback(async || Problem::not_found("there is no such page"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "that page does not do that")
        })
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(from_fn_with_state(tracker.clone(), caller::wait_for_own_write))
        .layer(from_fn(caller::attach))
        .layer(from_fn(caller::only_from_here))
        .layer(from_fn(layout::secure))
        .with_state(tracker)
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("web/style.css"))
        .into_response()
}

async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("web/live.js"))
        .into_response()
}

/// What a form says.
fn form<T>(form: Result<Form<T>, FormRejection>) -> Result<T, Problem> {
    let Form(said) =
        form.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    Ok(said)
}

/// A new key for a form: sent twice, it is done once.
fn new_key() -> String {
    EventId::generate().to_string()
}

/// The key that a form came with.
fn key(text: &str) -> Result<EventId, Problem> {
    let unkeyed = "the form has no valid key; load the page again and send it once more";
    text.parse().map_err(|_| Problem::new(StatusCode::BAD_REQUEST, unkeyed))
}

/// The page of a feed that begins behind another.
fn behind(activity: Activity, cursor: Option<&str>) -> Result<Activity, Problem> {
    let Some(cursor) = cursor.filter(|cursor| !cursor.is_empty()) else { return Ok(activity) };
    Ok(activity.after(cursor.parse().map_err(Problem::bad_request)?))
}

/// To a page that waits until it shows what was just done.
fn redirect(page: &str, position: Position) -> Redirect {
    Redirect::to(&format!("{page}?{}={position}", caller::POSITION))
}
