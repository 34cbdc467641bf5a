//! The audit log: who did what to which issue, and when; on pages, and as a file.

use annals::{StreamId, Timestamp};
use annals_feed::{CsvOptions, Filter};
use axum::body::Body;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use maud::html;
use serde::Deserialize;
use url::form_urlencoded;

use super::behind;
use super::caller::Caller;
use super::entries::{day_and_time, described, titles};
use super::layout::page;
use super::metrics::ACTIONS;
use super::problem::Problem;
use crate::issue::CATEGORY;
use crate::tracker::Tracker;

/// What is looked for; what is empty restricts nothing.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    actor: String,
    action: String,
    issue: String,
    since: String,
    until: String,
    search: String,
    cursor: Option<String>,
}

impl Asked {
    fn filter(&self, zone: &TimeZone) -> Result<Filter, Problem> {
        let mut filter = Filter::new();
        if !self.actor.is_empty() {
            filter = filter.by(&self.actor);
        }
        if !self.action.is_empty() {
            filter = filter.of_type(self.action.parse().map_err(Problem::bad_request)?);
        }
        if !self.issue.is_empty() {
            let stream = StreamId::of(CATEGORY, &self.issue).map_err(Problem::bad_request)?;
            filter = filter.in_stream(stream);
        }
        if !self.since.is_empty() {
            filter = filter.since(begin(&self.since, 0, zone)?);
        }
        if !self.until.is_empty() {
            // The last day belongs to it.
            filter = filter.before(begin(&self.until, 1, zone)?);
        }
        Ok(filter.search(&self.search))
    }

    /// What was asked for, as a part of an address.
    fn parameters(&self) -> String {
        let Self { actor, action, issue, since, until, search, .. } = self;
        let asked = [
            ("actor", actor),
            ("action", action),
            ("issue", issue),
            ("since", since),
            ("until", until),
            ("search", search),
        ];
        let asked = asked.into_iter().filter(|(_, value)| !value.is_empty());
        form_urlencoded::Serializer::new(String::new()).extend_pairs(asked).finish()
    }
}

/// When the day begins that comes so many days after another.
fn begin(day: &str, days: i64, zone: &TimeZone) -> Result<Timestamp, Problem> {
    let wrong = |_: jiff::Error| Problem::bad_request("write days like 2026-03-31");
    let date: Date = day.parse().map_err(wrong)?;
    let begins = date.checked_add(days.days()).map_err(wrong)?.to_zoned(zone.clone());
    Ok(Timestamp::from_micros(begins.map_err(wrong)?.timestamp().as_microsecond()))
}

pub(super) async fn show(
    State(tracker): State<Tracker>,
    Extension(caller): Extension<Caller>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Problem> {
    let activity = tracker.feed().activity(asked.filter(tracker.zone())?);
    let found = behind(activity, asked.cursor.as_deref())?.limit(50).page().await?;
    let titles = titles(&tracker, &found.entries).await?;
    let parameters = asked.parameters();
    let content = html! {
        div.card {
            form.row method="get" action="/audit" {
                label { "Who" input name="actor" value=(asked.actor) size="10"; }
                label {
                    "Action"
                    select name="action" {
                        option value="" { "any" }
                        @for (code, name) in ACTIONS {
                            option value=(code) selected[asked.action == code] { (name) }
                        }
                    }
                }
                label { "Issue" input name="issue" value=(asked.issue) size="10"; }
                label { "From" input name="since" type="date" value=(asked.since); }
                label { "To" input name="until" type="date" value=(asked.until); }
                label { "Words" input name="search" value=(asked.search) size="14"; }
                button { "Find" }
                a href={ "/audit.csv?" (parameters) } { "Download as CSV" }
            }
        }
        div.card {
            table {
                tr { th { "When" } th { "Who" } th { "What" } th { "Why" } }
                @for entry in &found.entries {
                    tr {
                        td.soft { (day_and_time(entry.occurred_at, tracker.zone())) }
                        td { (entry.actor.as_deref().unwrap_or_default()) }
                        td {
                            a href={ "/issues/" (entry.id_in(CATEGORY).unwrap_or_default()) } {
                                (described(&tracker, &caller, &titles, entry))
                            }
                        }
                        td { (entry.reason.as_deref().unwrap_or_default()) }
                    }
                }
                @if found.entries.is_empty() { tr { td colspan="4" .soft { "Nothing was found." } } }
            }
            @if let Some(next) = found.next {
                p { a href={ "/audit?" (parameters) "&cursor=" (next) } { "Earlier" } }
            }
        }
    };
    Ok(page("Audit", &caller, content))
}

/// All of it, however much that is: it is read while it is sent.
pub(super) async fn csv(
    State(tracker): State<Tracker>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    let filter = asked.filter(tracker.zone())?;
    let export = tracker.feed().audit().filter(filter).csv(CsvOptions::default())?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment; filename=\"audit.csv\""),
        ),
    ];
    Ok((headers, Body::from_stream(export)).into_response())
}
