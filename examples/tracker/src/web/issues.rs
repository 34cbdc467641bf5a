//! The list of issues, and one of them with everything that happened to it.

use annals::{ListRows, StateMachine, StreamId};
use annals_feed::{Filter, Page, by_day};
use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, Form, Path, Query, State};
use axum::response::{Html, Redirect};
use maud::{Markup, html};
use serde::Deserialize;

use super::caller::Caller;
use super::entries::{Titles, day_and_time, days_of_entries};
use super::layout::page;
use super::problem::Problem;
use super::{behind, form, key, new_key, redirect};
use crate::issue::{CATEGORY, IssueCommand, Status, TEXT_CHARS_MAX, TITLE_CHARS_MAX};
use crate::read_models::IssueRow;
use crate::tracker::Tracker;

/// So many issues are listed.
const ISSUES_MAX: usize = 500;
const STATUSES: [Status; 4] = [Status::Open, Status::InProgress, Status::Resolved, Status::Closed];
/// How much of an issue's id is random: the end of a form's key.
const ID_CHARS: usize = 8;

#[derive(Deserialize)]
pub(super) struct Listed {
    status: Option<String>,
}

pub(super) async fn list(
    State(tracker): State<Tracker>,
    Extension(caller): Extension<Caller>,
    Query(Listed { status }): Query<Listed>,
) -> Result<Html<String>, Problem> {
    let wanted = STATUSES.into_iter().find(|one| status.as_deref() == Some(code(*one)));
    let list = ListRows { limit: ISSUES_MAX, ..ListRows::default() };
    let mut issues = tracker.issues().list(list).await?;
    issues.retain(|(_, issue)| wanted.is_none_or(|wanted| issue.status == wanted));
    issues.sort_by_key(|(_, issue)| std::cmp::Reverse(issue.changed_at));
    let content = html! {
        div.card {
            form.row method="post" action="/issues" {
                input type="hidden" name="key" value=(new_key());
                label { "Title" input name="title" required maxlength=(TITLE_CHARS_MAX) size="40"; }
                label { "Description" input name="description" maxlength=(TEXT_CHARS_MAX) size="40"; }
                button { "Create" }
            }
        }
        p {
            a href="/issues" { "all" }
            @for one in STATUSES { " · " a href={ "/issues?status=" (code(one)) } { (one.words()) } }
        }
        div.card {
            table {
                tr { th { "Issue" } th { "Status" } th { "Assigned to" } th.number { "Comments" } th { "Changed" } }
                @for (id, issue) in &issues {
                    tr {
                        td { a href={ "/issues/" (id) } { (issue.title) } }
                        td { (pill(issue.status)) }
                        td { (person(issue.assignee.as_deref())) }
                        td.number { (issue.comments) }
                        td.soft { (day_and_time(issue.changed_at, tracker.zone())) }
                    }
                }
                @if issues.is_empty() { tr { td colspan="5" .soft { "There are none." } } }
            }
        }
    };
    Ok(page("Issues", &caller, content))
}

#[derive(Deserialize)]
pub(super) struct New {
    key: String,
    title: String,
    description: String,
}

pub(super) async fn create(
    State(tracker): State<Tracker>,
    said: Result<Form<New>, FormRejection>,
) -> Result<Redirect, Problem> {
    let New { key: sent, title, description } = form(said)?;
    let key = key(&sent)?.to_string();
    // The same form makes the same issue.
    let id = &key[key.len() - ID_CHARS..];
    let position = tracker.change(id, IssueCommand::Create { title, description }, &key).await?;
    Ok(redirect(&format!("/issues/{id}"), position))
}

#[derive(Deserialize)]
pub(super) struct Shown {
    cursor: Option<String>,
}

pub(super) async fn show(
    State(tracker): State<Tracker>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(Shown { cursor }): Query<Shown>,
) -> Result<Html<String>, Problem> {
    let stream = stream_of(&id)?;
    let there_is_none = || Problem::not_found("there is no such issue");
    let issue = tracker.issues().get(&*id).await?.ok_or_else(there_is_none)?;
    if let Some(who) = &caller.who
        && let Err(error) = tracker.view(&id, who).await
    {
        // Whoever wants to read it can all the same.
        tracing::warn!(%error, "a view was not recorded");
    }
    let activity = tracker.feed().activity(Filter::new().in_stream(stream));
    let activity = behind(activity, cursor.as_deref())?;
    let Page { entries, next, live_from, .. } = activity.limit(100).page().await?;
    let days = by_day(entries, tracker.zone(), |entry| entry.occurred_at);
    let titles = Titles::from([(id.clone(), issue.title.clone())]);
    let people = people(&tracker).await?;
    let content = html! {
        div.columns {
            div {
                @if !issue.description.is_empty() { div.card.text { (issue.description) } }
                div.card {
                    h2 { "What happened" }
                    @let live = format!("/issues/{id}/live?after={live_from}");
                    div data-live=[cursor.is_none().then_some(live)] {
                        (days_of_entries(&tracker, &caller, &titles, &days))
                    }
                    @if let Some(next) = next {
                        p { a href={ "/issues/" (id) "?cursor=" (next) } { "Earlier" } }
                    }
                }
            }
            (sidebar(&id, &issue, &people))
        }
    };
    Ok(page(&issue.title, &caller, content))
}

fn sidebar(id: &str, issue: &IssueRow, people: &[String]) -> Markup {
    html! {
        div {
            div.card {
                p { (pill(issue.status)) " " span.soft { (issue.views) " views" } }
                @for next in issue.status.next() {
                    form.row method="post" action={ "/issues/" (id) "/status" } {
                        input type="hidden" name="key" value=(new_key());
                        button name="status" value=(code(*next)) { (action(*next)) }
                    }
                }
            }
            div.card {
                p { "Assigned to " (person(issue.assignee.as_deref())) }
                form.row method="post" action={ "/issues/" (id) "/assign" } {
                    input type="hidden" name="key" value=(new_key());
                    select name="to" aria-label="Assign to" {
                        @for one in people { option { (one) } }
                    }
                    button.plain { "Assign" }
                }
                p.soft {
                    "Told of news: "
                    @for one in &issue.subscribers { (person(Some(one))) " " }
                }
            }
            div.card {
                form.stack method="post" action={ "/issues/" (id) "/comment" } {
                    input type="hidden" name="key" value=(new_key());
                    label { "Comment" textarea name="text" required maxlength=(TEXT_CHARS_MAX) {} }
                    button { "Comment" }
                }
            }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct NewComment {
    key: String,
    text: String,
}

pub(super) async fn comment(
    State(tracker): State<Tracker>,
    Path(id): Path<String>,
    said: Result<Form<NewComment>, FormRejection>,
) -> Result<Redirect, Problem> {
    let NewComment { key, text } = form(said)?;
    change(&tracker, &id, IssueCommand::Comment { text }, &key).await
}

#[derive(Deserialize)]
pub(super) struct Assigned {
    key: String,
    to: String,
}

pub(super) async fn assign(
    State(tracker): State<Tracker>,
    Path(id): Path<String>,
    said: Result<Form<Assigned>, FormRejection>,
) -> Result<Redirect, Problem> {
    let Assigned { key, to } = form(said)?;
    change(&tracker, &id, IssueCommand::Assign { to }, &key).await
}

#[derive(Deserialize)]
pub(super) struct Become {
    key: String,
    status: Status,
}

pub(super) async fn become_status(
    State(tracker): State<Tracker>,
    Path(id): Path<String>,
    said: Result<Form<Become>, FormRejection>,
) -> Result<Redirect, Problem> {
    let Become { key, status } = form(said)?;
    change(&tracker, &id, IssueCommand::Become(status), &key).await
}

async fn change(
    tracker: &Tracker,
    id: &str,
    command: IssueCommand,
    sent: &str,
) -> Result<Redirect, Problem> {
    let stream = stream_of(id)?;
    let position = tracker.change(id, command, &key(sent)?.to_string()).await?;
    Ok(redirect(&format!("/issues/{}", crate::issue::id_of(&stream)), position))
}

/// The stream of an issue; its id came with the address of a page.
pub(super) fn stream_of(id: &str) -> Result<StreamId, Problem> {
    let is_id = id.len() <= 40 && id.bytes().all(|b| b.is_ascii_alphanumeric());
    let stream = StreamId::of(CATEGORY, id).ok().filter(|_| is_id);
    stream.ok_or_else(|| Problem::not_found("there is no such issue"))
}

/// The ids of everybody.
pub(super) async fn people(tracker: &Tracker) -> Result<Vec<String>, Problem> {
    let list = ListRows { limit: super::people::PEOPLE_MAX, ..ListRows::default() };
    let people = tracker.people().list(list).await?;
    Ok(people.into_iter().map(|(id, _)| id.as_str().to_owned()).collect())
}

fn pill(status: Status) -> Markup {
    html! { span class={ "pill " (code(status)) } { (status.words()) } }
}

fn person(id: Option<&str>) -> Markup {
    match id {
        Some(id) if crate::person::is_id(id) => html! { a href={ "/people/" (id) } { (id) } },
        Some(id) => html! { (id) },
        None => html! { span.soft { "nobody" } },
    }
}

fn code(status: Status) -> &'static str {
    match status {
        Status::Open => "open",
        Status::InProgress => "in_progress",
        Status::Resolved => "resolved",
        Status::Closed => "closed",
    }
}

fn action(to: Status) -> &'static str {
    match to {
        Status::Open => "Reopen",
        Status::InProgress => "Start",
        Status::Resolved => "Resolve",
        Status::Closed => "Close",
    }
}
