//! What pages and inboxes look at: a row for each issue, and one for each person.

use std::collections::BTreeSet;

use annals::{Metadata, Projection, RecordedEvent, RowKey, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::issue::{IssueEvent, Status};
use crate::person::{PersonEvent, is_id};

/// An issue as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns explain themselves")]
#[non_exhaustive]
pub struct IssueRow {
    pub title: String,
    pub description: String,
    pub status: Status,
    pub assignee: Option<String>,
    pub created_by: String,
    pub created_at: Timestamp,
    /// When something happened to it last; being looked at does not count.
    pub changed_at: Timestamp,
    pub comments: u64,
    pub views: u64,
    /// Whoever created, was assigned, or commented.
    pub subscribers: BTreeSet<String>,
}

/// A row for each issue, under its id.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Issues;

impl Projection for Issues {
    type Event = IssueEvent;
    type Row = IssueRow;
    const NAME: &'static str = "issues";

    fn apply(
        &self,
        _: &RowKey,
        row: Option<IssueRow>,
        event: &IssueEvent,
        recorded: &RecordedEvent,
    ) -> Option<IssueRow> {
        let (who, at) = (actor(recorded), recorded.occurred_at);
        if let (None, IssueEvent::IssueCreated { title, description }) = (&row, event) {
            return Some(IssueRow {
                title: title.clone(),
                description: description.clone(),
                status: Status::Open,
                assignee: None,
                created_by: who.clone(),
                created_at: at,
                changed_at: at,
                comments: 0,
                views: 0,
                subscribers: BTreeSet::from([who]),
            });
        }
        let mut row = row?;
        if matches!(event, IssueEvent::IssueViewed) {
            row.views += 1;
            return Some(row);
        }
        row.changed_at = at;
        match event {
            IssueEvent::IssueAssigned { to } => {
                row.assignee = Some(to.clone());
                row.subscribers.insert(to.clone());
            }
            IssueEvent::IssueCommented { .. } => {
                row.comments += 1;
                // A rule reads no mail.
                if is_id(&who) {
                    row.subscribers.insert(who);
                }
            }
            IssueEvent::StatusChanged { to, .. } => row.status = *to,
            IssueEvent::IssueClosed => row.status = Status::Closed,
            IssueEvent::IssueReopened => row.status = Status::Open,
            IssueEvent::IssueCreated { .. } | IssueEvent::IssueViewed => {}
        }
        Some(row)
    }
}

/// A person as they are listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns explain themselves")]
#[non_exhaustive]
pub struct PersonRow {
    pub name: String,
    pub email: String,
    pub team: String,
}

/// A row for each person, under their id.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct People;

impl Projection for People {
    type Event = PersonEvent;
    type Row = PersonRow;
    const NAME: &'static str = "people";

    fn apply(
        &self,
        _: &RowKey,
        row: Option<PersonRow>,
        event: &PersonEvent,
        _: &RecordedEvent,
    ) -> Option<PersonRow> {
        match event.clone() {
            PersonEvent::PersonJoined { name, email, team } => {
                Some(PersonRow { name, email, team })
            }
            PersonEvent::PersonMoved { team } => row.map(|row| PersonRow { team, ..row }),
        }
    }
}

/// Who did it, `somebody` if it is not known.
#[must_use]
pub fn actor(event: &RecordedEvent) -> String {
    match event.metadata.get(Metadata::ACTOR) {
        Some(Value::String(who)) => who,
        _ => "somebody".to_owned(),
    }
}
