//! What the framework keeps in the stream of a process, beside the process's own events.

use std::collections::BTreeMap;

use annals_core::{
    Data, EventId, EventType, NewEvent, Position, Query, QueryItem, Read, RecordedEvent, StreamId,
    Timestamp,
};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Issued;
use crate::Annals;
use crate::error::{DecodeError, DecodeFault, LoadError};

pub(super) const COMMAND_ISSUED: &str = "annals.CommandIssued";
pub(super) const COMMAND_ACCEPTED: &str = "annals.CommandAccepted";
pub(super) const COMMAND_REFUSED: &str = "annals.CommandRefused";
pub(super) const DEADLINE_SET: &str = "annals.DeadlineSet";
const COMMAND_CANCELLED: &str = "annals.CommandCancelled";
const DEADLINE_MET: &str = "annals.DeadlineMet";
const DEADLINE_CANCELLED: &str = "annals.DeadlineCancelled";
const PROCESS_FINISHED: &str = "annals.ProcessFinished";

const KEPT: [&str; 8] = [
    COMMAND_ISSUED,
    COMMAND_ACCEPTED,
    COMMAND_REFUSED,
    COMMAND_CANCELLED,
    DEADLINE_SET,
    DEADLINE_MET,
    DEADLINE_CANCELLED,
    PROCESS_FINISHED,
];

/// Whether an event of this type is kept here, and none of a domain.
pub(crate) fn is_kept(event_type: &str) -> bool {
    KEPT.contains(&event_type)
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub(super) enum Entry {
    /// A command is to be executed, once it is due.
    #[serde(rename = "annals.CommandIssued")]
    CommandIssued {
        /// As it is registered.
        name: String,
        stream: StreamId,
        command: Value,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<Timestamp>,
    },
    #[serde(rename = "annals.CommandAccepted")]
    CommandAccepted { issued: EventId, position: Position },
    #[serde(rename = "annals.CommandRefused")]
    CommandRefused { issued: EventId, code: String, message: String },
    #[serde(rename = "annals.CommandCancelled")]
    CommandCancelled { issued: EventId },
    #[serde(rename = "annals.DeadlineSet")]
    DeadlineSet { name: String, due: Timestamp },
    #[serde(rename = "annals.DeadlineMet")]
    DeadlineMet { name: String },
    #[serde(rename = "annals.DeadlineCancelled")]
    DeadlineCancelled { name: String },
    #[serde(rename = "annals.ProcessFinished")]
    ProcessFinished {},
}

impl Entry {
    pub(super) fn issuing(issued: &Issued, due: Option<Timestamp>) -> Self {
        let (name, stream) = (issued.name().to_owned(), issued.stream().clone());
        Self::CommandIssued { name, stream, command: issued.as_json().clone(), due }
    }

    /// What a stored event says; `None` for an event of a domain.
    pub(super) fn of(stored: &RecordedEvent) -> Result<Option<Self>, DecodeError> {
        if !is_kept(stored.event_type.as_str()) {
            return Ok(None);
        }
        let data = serde_json::from_slice::<Value>(&stored.data.bytes);
        let entry = data.and_then(|data| {
            serde_json::from_value(json!({ "type": stored.event_type, "data": data }))
        });
        entry.map(Some).map_err(|error| DecodeError::of(stored, DecodeFault::Data(error)))
    }

    pub(super) fn encode(&self) -> NewEvent {
        let mut whole = serde_json::to_value(self).expect("texts, ids and moments are JSON");
        let event_type = whole["type"].as_str().expect("serde writes the tag it was told");
        let event_type = EventType::new(event_type).expect("the names above are valid");
        NewEvent::new(event_type, Data::json(whole["data"].take().to_string()))
    }
}

/// What is open in a process.
#[derive(Default)]
pub(super) struct Book {
    /// With the events that issued them.
    issued: Vec<(EventId, Issued)>,
    /// By name, with the event that set it last.
    deadlines: BTreeMap<String, EventId>,
    pub(super) is_finished: bool,
}

impl Annals {
    /// What was kept in a stream up to a position.
    pub(super) async fn book(&self, stream: &StreamId, to: Position) -> Result<Book, LoadError> {
        let mut book = Book::default();
        if to == Position::START {
            return Ok(book);
        }
        let types = KEPT.map(EventType::from_static);
        let query = Query::of(QueryItem::new().types(types).stream(stream.clone()));
        let mut kept = self.store().read(Read::query(query).up_to(to));
        while let Some(stored) = kept.try_next().await? {
            if let Some(entry) = Entry::of(&stored)? {
                book.enter(stored.id, entry);
            }
        }
        Ok(book)
    }
}

impl Book {
    fn enter(&mut self, id: EventId, entry: Entry) {
        match entry {
            Entry::CommandIssued { name, stream, command, .. } => {
                self.issued.push((id, Issued::new(name, stream, command)));
            }
            Entry::DeadlineSet { name, .. } => drop(self.deadlines.insert(name, id)),
            Entry::DeadlineMet { name } | Entry::DeadlineCancelled { name } => {
                self.deadlines.remove(&name);
            }
            Entry::ProcessFinished {} => self.is_finished = true,
            Entry::CommandAccepted { .. }
            | Entry::CommandRefused { .. }
            | Entry::CommandCancelled { .. } => {}
        }
    }

    pub(super) fn issued(&self, id: EventId) -> Option<&Issued> {
        self.issued.iter().find(|(by, _)| *by == id).map(|(_, issued)| issued)
    }

    /// Whether the deadline with this name is open, and it was this event that set it.
    pub(super) fn awaits(&self, name: &str, set_by: EventId) -> bool {
        self.deadlines.get(name) == Some(&set_by)
    }
}
