//! What happened, as people read it.

use std::collections::HashMap;

use annals::Timestamp;
use annals_feed::{Day, Entry, Group};
use jiff::Zoned;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use maud::{Markup, html};

use super::caller::Caller;
use super::problem::Problem;
use crate::tracker::Tracker;

/// The titles of issues, by their ids.
pub(super) type Titles = HashMap<String, String>;

/// The titles of the issues that entries are about.
pub(super) async fn titles<'e>(
    tracker: &Tracker,
    entries: impl IntoIterator<Item = &'e Entry>,
) -> Result<Titles, Problem> {
    let mut titles = Titles::new();
    for id in entries.into_iter().filter_map(|entry| entry.id_in("issue")) {
        if !titles.contains_key(id)
            && let Some(row) = tracker.issues().get(id).await?
        {
            titles.insert(id.to_owned(), row.title);
        }
    }
    Ok(titles)
}

/// An entry in words.
pub(super) fn described(
    tracker: &Tracker,
    caller: &Caller,
    titles: &Titles,
    entry: &Entry,
) -> String {
    let words = Words::of(titles, entry);
    tracker.descriptions().describe_with(caller.language, entry, words.better())
}

/// What is better known here than in the entry itself.
struct Words {
    issue: String,
    from: Option<String>,
    to: Option<String>,
}

impl Words {
    fn of(titles: &Titles, entry: &Entry) -> Self {
        let id = entry.id_in("issue").unwrap_or_default();
        let title = titles.get(id).map_or(id, String::as_str);
        let status = |key: &str| {
            let status = entry.data.get(key)?;
            let is_status = entry.event_type.as_str() == "StatusChanged";
            is_status.then(|| status.as_str().unwrap_or_default().replace('_', " "))
        };
        Self { issue: format!("“{title}”"), from: status("from"), to: status("to") }
    }

    fn better(&self) -> impl Iterator<Item = (&str, &str)> {
        let both = [("from", &self.from), ("to", &self.to)];
        let both = both.into_iter().filter_map(|(key, word)| Some((key, word.as_deref()?)));
        both.chain([("issue", &*self.issue)])
    }
}

/// The feed of an issue: every entry, under its day.
pub(super) fn days_of_entries(
    tracker: &Tracker,
    caller: &Caller,
    titles: &Titles,
    days: &[Day<Entry>],
) -> Markup {
    html! {
        @for Day { date, items } in days {
            section.day data-date=(date) {
                h3 { (named(*date)) }
                ul.feed {
                    @for entry in items {
                        li data-event=(entry.event) {
                            time { (time(entry.occurred_at, tracker.zone())) }
                            span { (described(tracker, caller, titles, entry)) }
                            @if let Some(text) = comment(entry) { blockquote { (text) } }
                        }
                    }
                }
            }
        }
    }
}

/// The feed of people: similar entries together, under their days.
pub(super) fn days_of_groups(
    tracker: &Tracker,
    caller: &Caller,
    titles: &Titles,
    days: &[Day<Group>],
) -> Markup {
    html! {
        @for Day { date, items } in days {
            section.day {
                h3 { (named(*date)) }
                ul.feed {
                    @for group in items {
                        @let entry = &group.newest;
                        @let words = Words::of(titles, entry);
                        @let text = tracker.descriptions()
                            .describe_group_with(caller.language, group, words.better());
                        li {
                            time { (time(entry.occurred_at, tracker.zone())) }
                            @match entry.id_in("issue") {
                                Some(id) => a href={ "/issues/" (id) } { (text) },
                                None => span { (text) },
                            }
                            @if group.count == 1 {
                                @if let Some(text) = comment(entry) { blockquote { (text) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What somebody wrote, if that is what happened.
pub(super) fn comment(entry: &Entry) -> Option<&str> {
    (entry.event_type.as_str() == "IssueCommented").then(|| entry.data.get("text")?.as_str())?
}

/// A day as people say it.
pub(super) fn named(date: Date) -> String {
    date.strftime("%A, %-d %B %Y").to_string()
}

/// The time of the day.
pub(super) fn time(at: Timestamp, zone: &TimeZone) -> String {
    zoned(at, zone).strftime("%H:%M").to_string()
}

/// Day and time.
pub(super) fn day_and_time(at: Timestamp, zone: &TimeZone) -> String {
    zoned(at, zone).strftime("%Y-%m-%d %H:%M").to_string()
}

/// A moment in a time zone.
pub(super) fn zoned(at: Timestamp, zone: &TimeZone) -> Zoned {
    let moment = jiff::Timestamp::from_microsecond(at.as_micros());
    moment.expect("a Timestamp lies within what jiff can hold").to_zoned(zone.clone())
}
