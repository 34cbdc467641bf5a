//! The rules: what they say, whether they are in force, what they did, and new ones.

use annals::{Event, Query as Wanted, QueryItem, Read, RecordedEvent, types};
use annals_rules::{Definition, Execution, ExecutionEvent};
use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, Form, Path, State};
use axum::http::StatusCode;
use axum::response::{Html, Redirect};
use futures_util::TryStreamExt;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::caller::Caller;
use super::entries::day_and_time;
use super::form;
use super::layout::page;
use super::metrics::ACTIONS as TRIGGERS;
use super::problem::Problem;
use crate::inboxes::ACTIONS;
use crate::tracker::Tracker;

/// So many executions are shown, the last ones.
const EXECUTIONS_MAX: u64 = 20;

pub(super) async fn show(
    State(tracker): State<Tracker>,
    Extension(caller): Extension<Caller>,
) -> Result<Html<String>, Problem> {
    let rules = tracker.rules().list().await?;
    let executions = executions(&tracker).await?;
    let content = html! {
        div.card {
            table {
                tr { th { "Rule" } th { "When" } th { "If" } th { "Then" } th {} }
                @for (id, rule) in &rules {
                    @if let Some(definition) = &rule.definition {
                        tr {
                            td { (definition.name) " " span.soft { (id) } }
                            td { (definition.triggers.join(", ")) }
                            td { code { (definition.condition) } }
                            td { (actions(definition)) }
                            td {
                                form method="post" action={ "/rules/" (id) } {
                                    @if rule.is_enabled {
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
                }
                @if rules.is_empty() { tr { td.soft colspan="5" { "There are none yet." } } }
            }
        }
        div.card { h2 { "New rule" } (new_rule()) }
        div.card {
            h2 { "What rules did" }
            table {
                @for (event, done) in &executions {
                    tr {
                        td.soft { (day_and_time(event.occurred_at, tracker.zone())) }
                        td { (done.rule) }
                        td { (done.event_type) }
                        td { (format!("{:?}", done.outcome).to_lowercase()) }
                        td { code { (done.error.as_deref().unwrap_or_default()) } }
                    }
                }
                @if executions.is_empty() { tr { td.soft { "Nothing yet." } } }
            }
        }
    };
    Ok(page("Rules", &caller, content))
}

fn new_rule() -> Markup {
    html! {
        form.stack method="post" action="/rules" {
            div.row {
                label { "Id" input name="id" required placeholder="on_call"; }
                label { "Name" input name="name" required size="40" placeholder="What is urgent goes to whoever is on call"; }
            }
            label {
                "When"
                select name="trigger" {
                    @for (code, name) in TRIGGERS { option value=(code) { (name) } }
                }
            }
            label {
                "If (an expression in CEL over event and metadata)"
                input name="condition" value="true" placeholder="event.data.title.contains('urgent')";
            }
            label {
                "Then"
                select name="action" {
                    @for (name, argument) in ACTIONS { option value=(name) { (name) " (" (argument) ")" } }
                }
            }
            label { "With" input name="argument" required placeholder="ada, or = and an expression"; }
            div { button { "Define" } }
        }
    }
}

fn actions(definition: &Definition) -> Markup {
    html! {
        @for action in &definition.actions {
            @let (_, argument) = ACTIONS.into_iter().find(|(name, _)| *name == action.name).unwrap_or_default();
            @let text = action.arguments.get(argument).and_then(|text| text.as_str());
            (action.name) " " code { (text.unwrap_or_default()) }
        }
    }
}

/// The last ones first.
async fn executions(tracker: &Tracker) -> Result<Vec<(RecordedEvent, Execution)>, Problem> {
    let wanted = Wanted::of(QueryItem::new().types(types!(ExecutionEvent)));
    let read = Read::query(wanted).backward().limit(EXECUTIONS_MAX);
    let recorded: Vec<RecordedEvent> = tracker
        .annals()
        .store()
        .read(read)
        .try_collect()
        .await
        .map_err(|error| Problem::broken(&error))?;
    let mut executions = Vec::new();
    for event in recorded {
        let decoded = ExecutionEvent::decode(&event).map_err(|error| Problem::broken(&error))?;
        for happened in decoded {
            if let ExecutionEvent::RuleExecuted(execution) = happened {
                executions.push((event.clone(), execution));
            }
        }
    }
    Ok(executions)
}

#[derive(Deserialize)]
pub(super) struct New {
    id: String,
    name: String,
    trigger: String,
    condition: String,
    action: String,
    argument: String,
}

pub(super) async fn define(
    State(tracker): State<Tracker>,
    Extension(caller): Extension<Caller>,
    said: Result<Form<New>, FormRejection>,
) -> Result<Redirect, Problem> {
    only_known(&caller)?;
    let New { id, name, trigger, condition, action, argument } = form(said)?;
    let known = ACTIONS.into_iter().find(|(name, _)| *name == action);
    let (action, key) = known.ok_or_else(|| Problem::bad_request("there is no such action"))?;
    let definition = Definition::new(name)
        .on(trigger)
        .when(condition)
        .then(action, json!({ "issue": "=event.stream_id", key: argument }));
    tracker.rules().define(&id, definition).await?;
    Ok(Redirect::to("/rules"))
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
    only_known(&caller)?;
    match form(said)?.tell {
        Tell::Enable => tracker.rules().enable(&id).await?,
        Tell::Disable => tracker.rules().disable(&id).await?,
        Tell::Remove => tracker.rules().remove(&id).await?,
    };
    Ok(Redirect::to("/rules"))
}

/// Who changed a rule is beside its events.
fn only_known(caller: &Caller) -> Result<(), Problem> {
    let unknown = || Problem::new(StatusCode::FORBIDDEN, "say who you are first");
    caller.who.as_ref().map(drop).ok_or_else(unknown)
}
