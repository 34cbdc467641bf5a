//! Edits, as bulks of documents.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use annals_core::Fault;
use bytes::Bytes;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::ElasticsearchIndex;
use super::answer::{Answer, Refusal, is_passing};
use crate::edit::{Effects, by_document};
use crate::error::unless_refused;
use crate::state::{BOOKKEEPING, Bookkeeping, State};
use crate::{EventEdits, Refused, SearchError};

/// How often documents are read again because others write them all the time.
const CONFLICTS_MAX: u32 = 64;
/// The longest wait between two attempts.
const WAIT_MAX: Duration = Duration::from_secs(30);

const READING: &str = "reading documents";
const WRITING: &str = "writing documents";

/// A document as the cluster has it.
struct Stored {
    state: State,
    /// What nobody else must have changed when it is written.
    seen: Option<Seen>,
}

/// The last operation on a document.
struct Seen {
    seq_no: u64,
    primary_term: u64,
}

/// A document that is to be written, as two lines of a bulk.
struct Write<'a> {
    effects: &'a Effects,
    lines: Vec<u8>,
}

/// What is left to do after some bulks.
#[derive(Default)]
struct Left<'a> {
    /// Somebody else has written these.
    conflicting: Vec<&'a Effects>,
    /// The cluster did not do these now.
    waiting: Vec<&'a Effects>,
    /// Why not, of one of them.
    because: Option<Fault>,
    refused: Vec<Refused>,
}

impl<'a> Left<'a> {
    fn wait(&mut self, effects: impl IntoIterator<Item = &'a Effects>, because: Fault) {
        self.waiting.extend(effects);
        self.because = Some(because);
    }
}

impl ElasticsearchIndex {
    pub(super) async fn apply_all(&self, events: &[EventEdits]) -> Result<(), SearchError> {
        let (changed, mut refused) = by_document(events);
        for some in changed.chunks(self.connection.options.documents_at_once) {
            refused.extend(self.apply_some(some.iter().collect()).await?);
        }
        unless_refused(refused)
    }

    /// Tries until all are written or refused, or the cluster was asked too often.
    async fn apply_some(&self, mut changed: Vec<&Effects>) -> Result<Vec<Refused>, SearchError> {
        let options = &self.connection.options;
        let (mut attempt, mut conflicts) = (1, 0);
        let mut wait = options.first_wait;
        let mut refused = Vec::new();
        loop {
            let mut left = self.try_once(&changed).await?;
            refused.append(&mut left.refused);
            if let Some(because) = left.because {
                if attempt >= options.attempts {
                    return Err(SearchError::Unavailable(because));
                }
                attempt += 1;
                tracing::debug!(
                    documents = left.waiting.len(), ?wait, %because, "the cluster is to be asked again"
                );
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(WAIT_MAX);
            } else if left.conflicting.is_empty() {
                return Ok(refused);
            } else {
                conflicts += 1;
                if conflicts > CONFLICTS_MAX {
                    let why = "writing documents: others write the same ones all the time";
                    return Err(SearchError::Unavailable(Fault::new(why)));
                }
            }
            changed = left.conflicting;
            changed.append(&mut left.waiting);
        }
    }

    /// Reads the documents, and writes those that change.
    async fn try_once<'a>(&self, changed: &[&'a Effects]) -> Result<Left<'a>, SearchError> {
        let mut left = Left::default();
        let writes = self.changes(changed, &mut left).await?;
        let mut bulks = VecDeque::from(self.bulks(writes));
        while let Some(mut bulk) = bulks.pop_front() {
            if !self.write(&bulk, &mut left).await? {
                let rest = bulk.split_off(bulk.len() / 2);
                bulks.push_front(rest);
                bulks.push_front(bulk);
            }
        }
        Ok(left)
    }

    /// What is to be written of the documents as they are now.
    async fn changes<'a>(
        &self,
        changed: &[&'a Effects],
        left: &mut Left<'a>,
    ) -> Result<Vec<Write<'a>>, SearchError> {
        let ids: Vec<&str> = changed.iter().map(|effects| &*effects.id).collect();
        let answer = match self.ask_for(&ids).await {
            Ok(answer) if answer.is_passing() => Err(answer.fault(READING)),
            Err(SearchError::Unavailable(fault)) => Err(fault),
            answered => Ok(answered?),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) => {
                left.wait(changed.iter().copied(), fault);
                return Ok(Vec::new());
            }
        };
        let mut writes = Vec::new();
        for (effects, stored) in changed.iter().copied().zip(stored(&answer, ids.len())?) {
            match stored.map(|stored| (stored.state.after(effects), stored.seen)) {
                Err(fault) => left.wait([effects], fault),
                Ok((Ok(None), _)) => {}
                Ok((Ok(Some(after)), seen)) => {
                    let lines = lines(&effects.id, seen.as_ref(), &after);
                    writes.push(Write { effects, lines });
                }
                Ok((Err(reason), _)) => left.refused.push(effects.refused(reason)),
            }
        }
        Ok(writes)
    }

    async fn ask_for(&self, ids: &[&str]) -> Result<Answer, SearchError> {
        let path = format!("/{}/_mget", self.name);
        self.connection.ask(Method::POST, &path, &json!({ "ids": ids })).await
    }

    /// The states of the documents with these ids, in the same order. Each may fail by itself.
    pub(super) async fn read(
        &self,
        ids: &[&str],
    ) -> Result<Vec<Result<State, Fault>>, SearchError> {
        let stored = stored(&self.ask_for(ids).await?, ids.len())?;
        Ok(stored.into_iter().map(|stored| Ok(stored?.state)).collect())
    }

    /// Writes in bulks, each within the limit.
    fn bulks<'a>(&self, writes: Vec<Write<'a>>) -> Vec<Vec<Write<'a>>> {
        let mut bulks = Vec::new();
        let (mut bulk, mut bytes) = (Vec::new(), 0);
        for write in writes {
            if !bulk.is_empty()
                && bytes + write.lines.len() > self.connection.options.bulk_bytes_max
            {
                bulks.push(mem::take(&mut bulk));
                bytes = 0;
            }
            bytes += write.lines.len();
            bulk.push(write);
        }
        if !bulk.is_empty() {
            bulks.push(bulk);
        }
        bulks
    }

    /// Sends a bulk; says no when it is too large and should come in halves.
    async fn write<'a>(
        &self,
        bulk: &[Write<'a>],
        left: &mut Left<'a>,
    ) -> Result<bool, SearchError> {
        let path = format!("/{}/_bulk", self.name);
        let lines = bulk.iter().map(|write| &*write.lines).collect::<Vec<_>>().concat();
        let all = bulk.iter().map(|write| write.effects);
        let answer = match self.connection.bulk(&path, Bytes::from(lines)).await {
            Ok(answer) => answer,
            // It may have been written: then reading again shows it.
            Err(fault) => {
                left.wait(all, fault);
                return Ok(true);
            }
        };
        if answer.status == 413 {
            let [write] = bulk else { return Ok(false) };
            left.refused.push(write.effects.refused(answer.fault("writing it")));
            return Ok(true);
        }
        if answer.is_passing() {
            left.wait(all, answer.fault(WRITING));
            return Ok(true);
        }
        let written: Written = answer.read(WRITING)?;
        if written.items.len() != bulk.len() {
            left.wait(all, Fault::new("writing documents: not each has an answer"));
            return Ok(true);
        }
        for (write, item) in bulk.iter().zip(written.items) {
            item.settle(write.effects, left)?;
        }
        Ok(true)
    }
}

/// What is to be done, and the document with its bookkeeping.
fn lines(id: &str, seen: Option<&Seen>, state: &State) -> Vec<u8> {
    let action = match seen {
        None => json!({"create": {"_id": id}}),
        Some(Seen { seq_no, primary_term }) => json!({"index": {
            "_id": id, "if_seq_no": seq_no, "if_primary_term": primary_term
        }}),
    };
    let document = state.document();
    let mut own = json!(state.bookkeeping());
    own["id"] = id.into();
    own["searchable"] = document.is_some().into();
    let mut source = document.unwrap_or_default();
    source.insert(BOOKKEEPING.to_owned(), own);
    format!("{action}\n{}\n", Value::Object(source)).into_bytes()
}

#[derive(Deserialize)]
struct Read {
    docs: Vec<ReadOne>,
}

#[derive(Deserialize)]
struct ReadOne {
    #[serde(default)]
    found: bool,
    #[serde(rename = "_seq_no")]
    seq_no: Option<u64>,
    #[serde(rename = "_primary_term")]
    primary_term: Option<u64>,
    #[serde(rename = "_source")]
    source: Option<Map<String, Value>>,
    error: Option<Refusal>,
}

/// The documents that were asked for.
fn stored(answer: &Answer, count: usize) -> Result<Vec<Result<Stored, Fault>>, SearchError> {
    let found: Read = answer.read(READING)?;
    if found.docs.len() != count {
        let what = format!("{READING}: {count} were asked for, {} came", found.docs.len());
        return Err(SearchError::Unavailable(Fault::new(what)));
    }
    found.docs.into_iter().map(stored_one).collect()
}

fn stored_one(found: ReadOne) -> Result<Result<Stored, Fault>, SearchError> {
    if let Some(refusal) = found.error {
        let fault = Fault::new(format!("{READING}: {}", refusal.text()));
        if refusal.error_type == "index_not_found_exception" {
            let why = "opening the index; create it first";
            return Err(SearchError::Unavailable(Fault::because(why, fault)));
        }
        return Ok(Err(fault));
    }
    if !found.found {
        return Ok(Ok(Stored { state: State::default(), seen: None }));
    }
    let (Some(seq_no), Some(primary_term), Some(mut source)) =
        (found.seq_no, found.primary_term, found.source)
    else {
        let why = "reading a document: it came without its source or its sequence number";
        return Err(SearchError::Corrupt(Fault::new(why)));
    };
    let own = source.remove(BOOKKEEPING).unwrap_or_default();
    let is_searchable = own["searchable"].as_bool().unwrap_or_default();
    let bookkeeping: Bookkeeping = serde_json::from_value(own).map_err(|error| {
        SearchError::Corrupt(Fault::because("reading a document's field `annals`", error))
    })?;
    let state = State::stored(is_searchable.then_some(source), bookkeeping);
    Ok(Ok(Stored { state, seen: Some(Seen { seq_no, primary_term }) }))
}

#[derive(Deserialize)]
struct Written {
    items: Vec<Item>,
}

/// What became of one action. Its kind is known from what was sent.
#[derive(Deserialize)]
enum Item {
    #[serde(rename = "create")]
    Create(Outcome),
    #[serde(rename = "index")]
    Index(Outcome),
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    error: Option<Refusal>,
}

impl Item {
    fn settle<'a>(self, effects: &'a Effects, left: &mut Left<'a>) -> Result<(), SearchError> {
        let (Self::Create(Outcome { status, error }) | Self::Index(Outcome { status, error })) =
            self;
        let reason = error.map(|refusal| refusal.text()).unwrap_or_default();
        let fault = || Fault::new(format!("writing it: the cluster answers {status}: {reason}"));
        match status {
            200..300 => {}
            409 => left.conflicting.push(effects),
            // What the document says does not fit the index, and never will.
            400 | 413 => left.refused.push(effects.refused(fault())),
            status if is_passing(status) => left.wait([effects], fault()),
            // A missing index, a forbidden or blocked one: nothing about the document.
            _ => return Err(SearchError::Unavailable(fault())),
        }
        Ok(())
    }
}
