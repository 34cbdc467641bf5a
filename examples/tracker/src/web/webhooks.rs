//! The webhooks: where they lead, how they stand, and new ones.

use annals::EventType;
use annals_webhooks::{NewWebhook, RegistrationsError, WebhookId, WebhookStatus, WebhooksError};
use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, Form, Path, State};
use axum::http::StatusCode;
use axum::response::{Html, Redirect};
use maud::{Markup, html};
use serde::Deserialize;

use super::caller::Caller;
use super::form;
use super::layout::page;
use super::metrics::ACTIONS;
use super::problem::Problem;
use crate::tracker::Tracker;

pub(super) async fn show(
    State(tracker): State<Tracker>,
    Extension(caller): Extension<Caller>,
) -> Result<Html<String>, Problem> {
    let webhooks = tracker.webhooks().list().await?;
    let content = html! {
        div.card {
            table {
                tr { th { "Leads to" } th { "Sends" } th { "State" } th { "Last attempt" } th {} }
                @for one in &webhooks {
                    @let attempts = tracker.webhooks().attempts(&one.id);
                    tr {
                        td { (one.webhook.url) }
                        td { (sends(&one.webhook.filter.types)) }
                        td { (state(&one.webhook.status)) }
                        td {
                            @if let Some(last) = attempts.first() {
                                (last.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string()))
                                " " code { (last.error.as_deref().unwrap_or_default()) }
                            }
                        }
                        td {
                            form method="post" action={ "/webhooks/" (one.id) } {
                                @if matches!(one.webhook.status, WebhookStatus::Enabled) {
                                    button.plain name="tell" value="disable" { "Disable" }
                                } @else {
                                    button.plain name="tell" value="enable" { "Enable" }
                                }
                                " "
                                button.plain name="tell" value="remove" { "Remove" }
                            }
                        }
                    }
                }
                @if webhooks.is_empty() { tr { td.soft colspan="5" { "There are none yet." } } }
            }
        }
        div.card {
            h2 { "Register" }
            form.row method="post" action="/webhooks" {
                label { "URL" input name="url" type="url" required size="40" placeholder="https://example.org/hook"; }
                label {
                    "Sends"
                    select name="action" {
                        option value="" { "everything" }
                        @for (code, name) in ACTIONS { option value=(code) { (name) } }
                    }
                }
                button { "Register" }
            }
        }
    };
    Ok(page("Webhooks", &caller, content))
}

fn sends(types: &[EventType]) -> Markup {
    let names: Vec<_> = types.iter().map(EventType::as_str).collect();
    html! { @if names.is_empty() { "everything" } @else { (names.join(", ")) } }
}

fn state(status: &WebhookStatus) -> Markup {
    match status {
        WebhookStatus::Disabled { reason } => {
            html! { span.pill.disabled { "disabled" } " " span.soft { (reason) } }
        }
        _ => html! { span.pill.running { "enabled" } },
    }
}

#[derive(Deserialize)]
pub(super) struct New {
    url: String,
    action: String,
}

/// Shows the secret, the only time: so this page is not one to come back to.
pub(super) async fn register(
    State(tracker): State<Tracker>,
    Extension(caller): Extension<Caller>,
    said: Result<Form<New>, FormRejection>,
) -> Result<Html<String>, Problem> {
    let New { url, action } = form(said)?;
    // What the webhooks, rules and people do among themselves is not for others.
    let issues = crate::issue::CATEGORY.parse().map_err(Problem::bad_request)?;
    let mut webhook = NewWebhook::to(url).categories([issues]);
    if !action.is_empty() {
        webhook = webhook.types([action.parse().map_err(Problem::bad_request)?]);
    }
    let registered = tracker.webhooks().register(webhook).await?;
    let content = html! {
        div.card {
            p { "The receiver verifies messages with this secret. It is not shown again:" }
            p { code { (*registered.secret.reveal()) } }
            p { a href="/webhooks" { "To the webhooks" } }
        }
    };
    Ok(page("Registered", &caller, content))
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tell {
    Enable,
    Disable,
    Remove,
}

#[derive(Deserialize)]
pub(super) struct Told {
    tell: Tell,
}

pub(super) async fn tell(
    State(tracker): State<Tracker>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    said: Result<Form<Told>, FormRejection>,
) -> Result<Redirect, Problem> {
    let id: WebhookId = id.parse().map_err(|_| Problem::not_found("there is no such webhook"))?;
    match form(said)?.tell {
        Tell::Enable => tracker.webhooks().enable(&id).await?,
        Tell::Disable => {
            let who = caller.who.as_deref().unwrap_or("somebody");
            tracker.webhooks().disable(&id, format!("by {who}")).await?;
        }
        Tell::Remove => tracker.webhooks().remove(&id).await?,
    }
    Ok(Redirect::to("/webhooks"))
}

impl From<WebhooksError> for Problem {
    fn from(error: WebhooksError) -> Self {
        match error {
            WebhooksError::Endpoint(endpoint) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, endpoint)
            }
            WebhooksError::Execute(error) => (*error).into(),
            WebhooksError::TooMany { .. } => Self::new(StatusCode::CONFLICT, error),
            error => Self::broken(&error),
        }
    }
}

impl From<RegistrationsError> for Problem {
    fn from(error: RegistrationsError) -> Self {
        Self::broken(&error)
    }
}
