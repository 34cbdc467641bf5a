//! Everybody, by team; and what one of them, or all of a team, did.

use std::time::Duration;

use annals::ListRows;
use annals_feed::{Filter, Grouping, by_day};
use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, Form, Path, Query, State};
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, Html, IntoResponse, Redirect};
use maud::html;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::caller::{Caller, WHO};
use super::entries::{days_of_groups, titles};
use super::layout::page;
use super::problem::Problem;
use super::{behind, form, redirect};
use crate::person::{PersonCommand, is_id};
use crate::tracker::Tracker;

/// So many people are listed.
pub(super) const PEOPLE_MAX: usize = 500;
/// Similar entries within this time are one.
const GROUP: Duration = Duration::from_secs(3_600);

pub(super) async fn list(
    State(tracker): State<Tracker>,
    Extension(caller): Extension<Caller>,
) -> Result<Html<String>, Problem> {
    let list = ListRows { limit: PEOPLE_MAX, ..ListRows::default() };
    let people = tracker.people().list(list).await?;
    let content = html! {
        p.soft {
            "This is a demo without passwords: whoever says who they are is believed, and nobody \
             but this machine can ask."
        }
        div.card {
            table {
                tr { th { "Who" } th { "Name" } th { "E-mail" } th { "Team" } th {} }
                @for (id, person) in &people {
                    tr {
                        td { a href={ "/people/" (id) } { (id) } }
                        td { (person.name) }
                        td { (person.email) }
                        td { a href={ "/teams/" (escaped(&person.team)) } { (person.team) } }
                        td {
                            form method="post" action="/who" {
                                button.plain name="id" value=(id) { "That is me" }
                            }
                        }
                    }
                }
            }
        }
        div.card {
            h2 { "Join" }
            form.row method="post" action="/people" {
                label { "Id" input name="id" required size="10"; }
                label { "Name" input name="name" required; }
                label { "E-mail" input name="email" type="email" required; }
                label { "Team" input name="team" required size="12"; }
                button { "Join" }
            }
        }
    };
    Ok(page("People", &caller, content))
}

#[derive(Deserialize)]
pub(super) struct Joining {
    id: String,
    name: String,
    email: String,
    team: String,
}

pub(super) async fn join(
    State(tracker): State<Tracker>,
    said: Result<Form<Joining>, FormRejection>,
) -> Result<Redirect, Problem> {
    let Joining { id, name, email, team } = form(said)?;
    let command = PersonCommand::Join { id: id.clone(), name, email, team };
    let position = tracker.change_person(&id, command).await?;
    Ok(redirect("/people", position))
}

#[derive(Deserialize)]
pub(super) struct Move {
    team: String,
}

pub(super) async fn change_team(
    State(tracker): State<Tracker>,
    Path(id): Path<String>,
    said: Result<Form<Move>, FormRejection>,
) -> Result<Redirect, Problem> {
    let Move { team } = form(said)?;
    let id = known(id)?;
    let position = tracker.change_person(&id, PersonCommand::Move { team }).await?;
    Ok(redirect(&format!("/people/{id}"), position))
}

#[derive(Deserialize)]
pub(super) struct Who {
    id: String,
}

/// A cookie in place of a login.
pub(super) async fn be(
    said: Result<Form<Who>, FormRejection>,
) -> Result<impl IntoResponse, Problem> {
    let id = known(form(said)?.id)?;
    let cookie = format!("{WHO}={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000");
    Ok((AppendHeaders([(SET_COOKIE, cookie)]), Redirect::to("/issues")))
}

#[derive(Deserialize)]
pub(super) struct From {
    cursor: Option<String>,
}

pub(super) async fn feed(
    State(tracker): State<Tracker>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(From { cursor }): Query<From>,
) -> Result<Html<String>, Problem> {
    let id = known(id)?;
    let person = tracker.people().get(&*id).await?;
    let person = person.ok_or_else(|| Problem::not_found("there is nobody of this id"))?;
    let path = format!("/people/{id}");
    let news = news(&tracker, &caller, Filter::new().by(&id), cursor, &path).await?;
    let content = html! {
        div.card {
            p { (person.email) " · team " a href={ "/teams/" (escaped(&person.team)) } { (person.team) } }
            form.row method="post" action={ "/people/" (id) "/team" } {
                input name="team" aria-label="Team" value=(person.team) required;
                button.plain { "Change team" }
            }
        }
        (news)
    };
    Ok(page(&person.name, &caller, content))
}

pub(super) async fn team(
    State(tracker): State<Tracker>,
    Extension(caller): Extension<Caller>,
    Path(team): Path<String>,
    Query(From { cursor }): Query<From>,
) -> Result<Html<String>, Problem> {
    let list = ListRows { limit: PEOPLE_MAX, ..ListRows::default() };
    let people = tracker.people().list(list).await?;
    let members = people.iter().filter(|(_, person)| person.team == team);
    let filter = Filter::new().by_any(members.map(|(id, _)| id.as_str()));
    let path = format!("/teams/{}", escaped(&team));
    let content = news(&tracker, &caller, filter, cursor, &path).await?;
    Ok(page(&format!("Team {team}"), &caller, content))
}

async fn news(
    tracker: &Tracker,
    caller: &Caller,
    filter: Filter,
    cursor: Option<String>,
    path: &str,
) -> Result<maud::Markup, Problem> {
    let activity = tracker.feed().activity(filter);
    let activity = behind(activity, cursor.as_deref())?;
    let grouping = Grouping::within(GROUP).by_stream().by_day(tracker.zone().clone());
    let page = activity.limit(50).groups(&grouping).await?;
    let newest: Vec<_> = page.groups.iter().map(|group| &group.newest).collect();
    let titles = titles(tracker, newest).await?;
    let days = by_day(page.groups, tracker.zone(), |group| group.newest.occurred_at);
    Ok(html! {
        div.card {
            h2 { "What happened" }
            (days_of_groups(tracker, caller, &titles, &days))
            @if days.is_empty() { p.soft { "Nothing yet." } }
            @if let Some(next) = page.next { p { a href={ (path) "?cursor=" (next) } { "Earlier" } } }
        }
    })
}

fn known(id: String) -> Result<String, Problem> {
    if is_id(&id) { Ok(id) } else { Err(Problem::not_found("there is nobody of this id")) }
}

/// A name as a part of an address.
fn escaped(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}
