//! What can be counted: actions by day, busiest hours, most active people; in any time zone.

use std::collections::{BTreeMap, BTreeSet};

use annals::EventType;
use annals_feed::{CountBy, Filter};
use axum::extract::{Extension, Query, State};
use axum::response::Html;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;

use super::caller::Caller;
use super::layout::page;
use super::problem::Problem;
use crate::tracker::Tracker;

/// What can happen to an issue, and how people call it.
pub(super) const ACTIONS: [(&str, &str); 7] = [
    ("IssueCreated", "created"),
    ("IssueAssigned", "assigned"),
    ("StatusChanged", "status changed"),
    ("IssueCommented", "commented"),
    ("IssueClosed", "closed"),
    ("IssueReopened", "reopened"),
    ("IssueViewed", "viewed"),
];
/// So many days are shown, the last ones.
const DAYS_MAX: usize = 31;
const ACTORS_MAX: usize = 10;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    zone: String,
}

pub(super) async fn show(
    State(tracker): State<Tracker>,
    Extension(caller): Extension<Caller>,
    Query(Asked { zone }): Query<Asked>,
) -> Result<Html<String>, Problem> {
    let zone = zone_of(&zone, tracker.zone())?;
    let name = zone.iana_name().unwrap_or("UTC");
    let statistics = tracker.feed().statistics(Filter::new());
    let hours = statistics.busiest_hours(&zone).await?;
    let actors = statistics.counts(CountBy::Actor, ACTORS_MAX).await?;
    let actors: Vec<_> = actors
        .into_iter()
        .map(|count| (count.key.unwrap_or_else(|| "somebody".to_owned()), count.count))
        .collect();
    let hours: Vec<_> = hours
        .into_iter()
        .map(|(hour, count)| (format!("{hour:02}:00 to {hour:02}:59"), count))
        .collect();
    let content = html! {
        div.card {
            form.row method="get" action="/metrics" {
                label { "Time zone" input name="zone" value=(name) placeholder="Europe/Berlin"; }
                button { "Show" }
            }
        }
        div.card { h2 { "Actions by day" } (by_action_and_day(&tracker, &zone).await?) }
        div.columns {
            div.card { h2 { "Busiest hours" } (bars(&hours)) }
            div.card { h2 { "Most active" } (bars(&actors)) }
        }
    };
    Ok(page("Metrics", &caller, content))
}

fn zone_of(asked: &str, default: &TimeZone) -> Result<TimeZone, Problem> {
    if asked.is_empty() {
        return Ok(default.clone());
    }
    let unknown =
        |_| Problem::bad_request("there is no such time zone; name one like Europe/Berlin");
    TimeZone::get(asked).map_err(unknown)
}

async fn by_action_and_day(tracker: &Tracker, zone: &TimeZone) -> Result<Markup, Problem> {
    let mut counts = BTreeMap::<(Date, &str), u64>::new();
    for (code, _) in ACTIONS {
        let filter = Filter::new().of_type(EventType::from_static(code));
        for day in tracker.feed().statistics(filter).per_day(zone).await? {
            counts.insert((day.date, code), day.count);
        }
    }
    let days: BTreeSet<Date> = counts.keys().map(|(date, _)| *date).collect();
    let count = |key: &(Date, &'static str)| counts.get(key).copied().unwrap_or_default();
    Ok(html! {
        table {
            tr { th { "Day" } @for (_, name) in ACTIONS { th.number { (name) } } }
            @for day in days.into_iter().rev().take(DAYS_MAX) {
                tr {
                    td { (day) }
                    @for (code, _) in ACTIONS {
                        @let count = count(&(day, code));
                        td.number.zero[count == 0] { (count) }
                    }
                }
            }
        }
    })
}

fn bars(counts: &[(String, u64)]) -> Markup {
    let max = counts.iter().map(|(_, count)| *count).max().unwrap_or_default();
    html! {
        table {
            @for (name, count) in counts {
                tr {
                    td { (name) }
                    td { meter min="0" max=(max) value=(count) { (count) } }
                    td.number { (count) }
                }
            }
            @if counts.is_empty() { tr { td.soft { "Nothing yet." } } }
        }
    }
}
