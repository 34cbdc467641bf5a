//! The inboxes: how they stand, and what people do about deliveries that failed.

use annals::{Attempt, DeliveryId, DeliveryInfo, DeliveryState, SelectDeliveries, SubscriberState};
use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, Form, Path, State};
use axum::response::{Html, Redirect};
use maud::{Markup, html};
use serde::Deserialize;

use super::caller::Caller;
use super::entries::day_and_time;
use super::form;
use super::layout::page;
use super::problem::Problem;
use crate::issue::id_of;
use crate::tracker::Tracker;

/// So many dead letters are shown, and so many deliveries that are tried again.
const LETTERS_MAX: usize = 50;

pub(super) async fn show(
    State(tracker): State<Tracker>,
    Extension(caller): Extension<Caller>,
) -> Result<Html<String>, Problem> {
    let inboxes = tracker.inboxes();
    let status = inboxes.status().await?;
    let dead = inboxes.dead_letters(SelectDeliveries::all(), LETTERS_MAX).await?;
    let waiting = SelectDeliveries::all().state(DeliveryState::Waiting);
    let mut retrying = inboxes.deliveries(waiting, LETTERS_MAX).await?;
    retrying.retain(|delivery| delivery.attempts > 0);
    let content = html! {
        div.card {
            table {
                tr {
                    th { "Inbox" } th { "State" } th.number { "Log read to" } th.number { "Waiting" }
                    th.number { "Trying again" } th.number { "Dead" } th {}
                }
                @for inbox in &status {
                    tr {
                        td { (inbox.inbox) @if let Some(failure) = &inbox.failure { " " span.soft { (failure.error) } } }
                        td { (state(inbox.state)) }
                        td.number { (inbox.position) }
                        td.number { (inbox.waiting + inbox.taken) }
                        td.number { (inbox.retrying) }
                        td.number { @if inbox.dead > 0 { span.pill.dead { (inbox.dead) } } @else { "0" } }
                        td {
                            form method="post" action={ "/inboxes/" (inbox.inbox) } {
                                @if inbox.state == SubscriberState::Running {
                                    button.plain name="tell" value="pause" { "Pause" }
                                } @else {
                                    button.plain name="tell" value="resume" { "Resume" }
                                }
                                " "
                                button.plain name="tell" value="retry" { "Retry all" }
                            }
                        }
                    }
                }
            }
        }
        div.card {
            h2 { "Dead letters" }
            (letters(&tracker, &dead, true).await?)
        }
        div.card {
            h2 { "Tried again soon" }
            (letters(&tracker, &retrying, false).await?)
        }
    };
    Ok(page("Inboxes", &caller, content))
}

async fn letters(
    tracker: &Tracker,
    deliveries: &[DeliveryInfo],
    is_dead: bool,
) -> Result<Markup, Problem> {
    let mut rows = Vec::new();
    for delivery in deliveries {
        rows.push((delivery, tracker.inboxes().attempts(&delivery.id).await?));
    }
    Ok(html! {
        table {
            @for (delivery, attempts) in &rows {
                tr {
                    td { (delivery.inbox) }
                    td {
                        @let stream = &delivery.event.stream;
                        a href={ "/issues/" (id_of(stream)) } { (stream) } " at " (delivery.event.position)
                    }
                    td { (tried(tracker, attempts)) }
                    td { @if is_dead { (choice(&delivery.id)) } }
                }
            }
            @if rows.is_empty() { tr { td.soft { "There are none." } } }
        }
    })
}

fn tried(tracker: &Tracker, attempts: &[Attempt]) -> Markup {
    html! {
        @for attempt in attempts {
            div {
                span.soft { (attempt.number) ". " (day_and_time(attempt.at, tracker.zone())) " " }
                code { (attempt.error.as_deref().unwrap_or("done")) }
            }
        }
    }
}

fn choice(delivery: &DeliveryId) -> Markup {
    html! {
        form method="post" action="/deliveries" {
            input type="hidden" name="id" value=(delivery);
            button.plain name="settle" value="retry" { "Retry" }
            " "
            button.plain name="settle" value="skip" { "Skip" }
            " "
            input name="reason" aria-label="Reason for skipping" placeholder="why skip" size="12";
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tell {
    Pause,
    Resume,
    Retry,
}

#[derive(Deserialize)]
pub(super) struct Told {
    tell: Tell,
}

pub(super) async fn tell(
    State(tracker): State<Tracker>,
    Path(inbox): Path<String>,
    said: Result<Form<Told>, FormRejection>,
) -> Result<Redirect, Problem> {
    let inboxes = tracker.inboxes();
    match form(said)?.tell {
        Tell::Pause => inboxes.pause(&inbox).await?,
        Tell::Resume => inboxes.resume(&inbox).await?,
        Tell::Retry => {
            let name = inbox.parse().map_err(|_| Problem::not_found("there is no such inbox"))?;
            inboxes.retry(SelectDeliveries::inbox(name)).await?;
        }
    }
    Ok(Redirect::to("/inboxes"))
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Settle {
    Retry,
    Skip,
}

#[derive(Deserialize)]
pub(super) struct Settled {
    id: String,
    settle: Settle,
    #[serde(default)]
    reason: String,
}

pub(super) async fn settle(
    State(tracker): State<Tracker>,
    Extension(caller): Extension<Caller>,
    said: Result<Form<Settled>, FormRejection>,
) -> Result<Redirect, Problem> {
    let Settled { id, settle, reason } = form(said)?;
    let which = SelectDeliveries::one(DeliveryId::from_stored(id));
    match settle {
        Settle::Retry => tracker.inboxes().retry(which).await?,
        Settle::Skip => {
            let who = caller.who.as_deref().unwrap_or("somebody");
            tracker.inboxes().skip(which, &format!("{who}: {}", reason.trim())).await?
        }
    };
    Ok(Redirect::to("/inboxes"))
}

fn state(state: SubscriberState) -> Markup {
    let name = match state {
        SubscriberState::Running => "running",
        SubscriberState::Paused => "paused",
        SubscriberState::Disabled => "disabled",
        _ => "failed",
    };
    html! { span class={ "pill " (name) } { (name) } }
}
