//! `annals append`: one event, or many from a file.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use annals_api::{NewEvent, Receipt};
use annals_core::{Append, Data, EventId, EventStore, ExpectedVersion, Metadata, StreamId};
use annals_server::Store;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::args;
use crate::failure::Failure;
use crate::output::{Output, grouped, shown};

/// Lines of a file that are appended together, at most.
const BATCH_EVENTS: usize = 500;

pub(crate) async fn run(args: args::Append, mut output: Output) -> Result<(), Failure> {
    let location = &args.store.location;
    match args.from {
        Some(ref file) => {
            let lines = open(file)?;
            let opened = location.open_or_create().await?;
            let outcome = append_lines(&opened.store(), lines, &mut output).await;
            opened.close().await;
            outcome
        }
        None => {
            let append = one(&args)?;
            let opened = location.open_or_create().await?;
            let outcome = append_one(&opened.store(), append, &mut output).await;
            opened.close().await;
            outcome
        }
    }
}

/// The append that the arguments spell out.
fn one(args: &args::Append) -> Result<Append, Failure> {
    let (Some(stream), Some(event_type)) = (args.stream.clone(), args.event_type.clone()) else {
        unreachable!("clap demands both unless --from is given");
    };
    let mut event = annals_core::NewEvent::new(event_type, Data::json(data(&args.data)?));
    event.id = args.id.unwrap_or(event.id);
    event.schema_version = args.schema_version.get();
    event.occurred_at = args.occurred_at;
    event.tags.clone_from(&args.tags);
    if let Some(metadata) = &args.metadata {
        event.metadata = Metadata::from_json(metadata.clone())
            .map_err(|error| Failure::invalid(format!("--metadata: {error}")))?;
    }
    Ok(Append::to(stream, args.expect, [event]))
}

/// The text of one JSON value, without the line break that ends most files.
fn data(text: &str) -> Result<String, Failure> {
    let text = if text == "-" {
        let mut stdin = String::new();
        io::stdin()
            .read_to_string(&mut stdin)
            .map_err(|error| Failure::because("reading data from stdin", &error))?;
        stdin
    } else {
        text.to_owned()
    };
    let text = text.trim();
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
        Failure::invalid(format!(
            "the data is not JSON: {error}; write texts with quotes, like '\"text\"'"
        ))
    })?;
    Ok(text.to_owned())
}

async fn append_one(
    store: &Arc<dyn Store>,
    append: Append,
    output: &mut Output,
) -> Result<(), Failure> {
    let ids: Vec<EventId> = append.events().map(|event| event.id).collect();
    let receipt = store.append(append).await.map_err(|error| {
        let is_unknown = error.code() == "indeterminate";
        let failure = Failure::from(error);
        match ids.first() {
            Some(id) if is_unknown => failure.at(format!("--id {id}")),
            _ => failure,
        }
    })?;
    if output.is_json() {
        output.json(&Receipt::of(receipt, ids))?;
    } else {
        for part in &receipt.streams {
            output.line(&format!(
                "{} is at version {}, position {}",
                shown(part.stream.as_str()),
                part.version,
                receipt.last_position
            ))?;
        }
    }
    output.flush()
}

fn open(file: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if file == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let opened = File::open(file)
        .map_err(|error| Failure::because(format!("opening {}", file.display()), &error))?;
    Ok(Box::new(BufReader::new(opened)))
}

/// Appends the events of `lines` in their order, many at a time. What was appended before a
/// line that fails stays.
async fn append_lines(
    store: &Arc<dyn Store>,
    lines: Box<dyn BufRead>,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut batch = Batch::default();
    let mut appended = 0;
    for (index, line) in lines.lines().enumerate() {
        let place = format!("line {}", index + 1);
        let line = line.map_err(|error| Failure::because(&place, &error))?;
        if line.trim().is_empty() {
            continue;
        }
        let (stream, event) = parse(&line).map_err(|failure| failure.at(&place))?;
        if !batch.has_room_for(&stream) {
            appended += batch.flush(store).await?;
        }
        batch.add(stream, event, index + 1);
    }
    appended += batch.flush(store).await?;
    if output.is_json() {
        output.json(&serde_json::json!({ "events": appended }))?;
    } else {
        output.line(&format!("{} events appended", grouped(appended)))?;
    }
    output.flush()
}

/// Lines that are appended together. An append holds each stream's events together, so a batch
/// ends where that would change the order of the lines.
#[derive(Default)]
struct Batch {
    append: Append,
    streams: HashSet<StreamId>,
    events: usize,
    bytes: usize,
    lines: Option<(usize, usize)>,
}

impl Batch {
    fn has_room_for(&self, stream: &StreamId) -> bool {
        let continues = self.append.streams.last().is_none_or(|part| part.stream == *stream);
        self.events < BATCH_EVENTS
            && self.bytes < annals_core::Limits::DEFAULT.append_bytes_max / 4
            && (continues || !self.streams.contains(stream))
    }

    fn add(&mut self, stream: StreamId, event: annals_core::NewEvent, line: usize) {
        self.events += 1;
        self.bytes += event.bytes();
        self.lines = Some((self.lines.map_or(line, |(first, _)| first), line));
        match self.append.streams.last_mut() {
            Some(part) if part.stream == stream => part.events.push(event),
            _ => {
                self.streams.insert(stream.clone());
                self.append =
                    std::mem::take(&mut self.append).and_to(stream, ExpectedVersion::Any, [event]);
            }
        }
    }

    /// Appends what was added, and begins anew.
    async fn flush(&mut self, store: &Arc<dyn Store>) -> Result<u64, Failure> {
        let batch = std::mem::take(self);
        let Some((first, last)) = batch.lines else {
            return Ok(0);
        };
        store
            .append(batch.append)
            .await
            .map_err(|error| Failure::from(error).at(format!("lines {first} to {last}")))?;
        Ok(batch.events as u64)
    }
}

/// What `annals read --json` writes beside what a new event has. The store assigns these anew.
const ASSIGNED: [&str; 3] = ["position", "version", "recorded_at"];

fn parse(line: &str) -> Result<(StreamId, annals_core::NewEvent), Failure> {
    let invalid = |error: serde_json::Error| Failure::invalid(error.to_string());
    let mut fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(line).map_err(invalid)?;
    for name in ASSIGNED {
        fields.remove(name);
    }
    let stream =
        fields.remove("stream").ok_or_else(|| Failure::invalid("missing field `stream`"))?;
    let stream = StreamId::deserialize(&*stream).map_err(invalid)?;
    let rest = serde_json::to_string(&fields).map_err(invalid)?;
    let event: NewEvent = serde_json::from_str(&rest).map_err(invalid)?;
    let event = event.into_event().map_err(|error| Failure::invalid(error.to_string()))?;
    Ok((stream, event))
}
