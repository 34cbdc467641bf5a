//! `annals schema check`: whether what is stored can be read, by the lock of an application.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use annals::schema::{Breaking, Lock, Schema, Unlocked, is_of_annals};
use annals_core::{Position, RecordedEvent};
use futures_util::TryStreamExt;
use serde::Serialize;

use crate::args;
use crate::failure::Failure;
use crate::output::{Output, grouped, shown};

pub(crate) async fn run(work: args::SchemaWork, output: Output) -> Result<(), Failure> {
    let args::SchemaWork::Check(args) = work;
    let lock = Lock::from_json(&text_of(&args.lock)?);
    let lock = lock.map_err(|error| Failure::because(args.lock.display(), &error))?;
    match &args.current {
        Some(current) => check_current(current, &lock, output),
        None => check_store(args, &lock, output).await,
    }
}

/// What a file says, or stdin when it is called `-`.
fn text_of(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    read.map_err(|error| Failure::because(format!("reading {}", path.display()), &error))
}

/// What the check of a program found, as JSON.
#[derive(Serialize)]
struct Found<'a> {
    breaking: &'a [Breaking],
    unlocked: &'a [Unlocked],
}

/// Whether a program reads everything that is in the lock, and the lock has all that it writes.
fn check_current(path: &Path, lock: &Lock, mut output: Output) -> Result<(), Failure> {
    let schema = Schema::from_json(&text_of(path)?);
    let schema = schema.map_err(|error| Failure::because(path.display(), &error))?;
    let breaking = schema.check(lock).err().unwrap_or_default();
    let unlocked = schema.unlocked(lock);
    if output.is_json() {
        output.json(&Found { breaking: &breaking, unlocked: &unlocked })?;
    } else if breaking.is_empty() && unlocked.is_empty() {
        let shapes = lock.shapes().count();
        output.line(&format!("every locked shape can be read ({shapes} of them)"))?;
    }
    output.flush()?;
    if !breaking.is_empty() {
        let all: Vec<_> = breaking.iter().map(ToString::to_string).collect();
        let all = all.join("\n\n");
        return Err(Failure::new(format!("events that are stored could not be read\n\n{all}")));
    }
    if unlocked.is_empty() { Ok(()) } else { Err(out_of_date(&unlocked)) }
}

fn out_of_date(unlocked: &[Unlocked]) -> Failure {
    let list: String = unlocked.iter().map(|shape| format!("  - {shape}\n")).collect();
    Failure::new(format!(
        "the lock does not have what the program writes:\n{list}add it where the application has \
         `schema::check_lock` in a test, with `ANNALS_SCHEMA=update cargo test`, and check the \
         file in"
    ))
}

/// Whether everything that is in a log is in the lock.
async fn check_store(
    args: args::CheckSchema,
    lock: &Lock,
    mut output: Output,
) -> Result<(), Failure> {
    let opened = args.store.location.open_existing().await?;
    let mut census = Census::default();
    let mut events = opened.store().read(annals_core::Read::all());
    while let Some(event) = events.try_next().await? {
        census.count(&event, lock);
    }
    drop(events);
    opened.close().await;
    census.tell(&mut output)?;
    census.verdict()
}

/// More types and versions that are in no lock than anybody reads about. Those in the lock are
/// always all counted.
const UNLOCKED_MAX: usize = 100;

/// What is in a log, in the memory that its types and versions need.
#[derive(Default, Serialize)]
struct Census {
    events: u64,
    shapes: Vec<Counted>,
    /// Events in shapes that are not in the lock and not listed either, because there are so many.
    unlisted: u64,
    #[serde(skip)]
    places: BTreeMap<(String, u32), usize>,
    #[serde(skip)]
    unlocked: usize,
}

#[derive(Serialize)]
struct Counted {
    #[serde(rename = "type")]
    event_type: String,
    schema_version: u32,
    events: u64,
    locked: bool,
    first_position: Position,
}

impl Census {
    fn count(&mut self, event: &RecordedEvent, lock: &Lock) {
        let name = event.event_type.as_str();
        self.events += 1;
        if is_of_annals(name) {
            return;
        }
        let key = (name.to_owned(), event.schema_version);
        if let Some(counted) = self.places.get(&key).and_then(|&at| self.shapes.get_mut(at)) {
            counted.events += 1;
            return;
        }
        let locked = lock.contains(name, event.schema_version);
        if !locked && self.unlocked == UNLOCKED_MAX {
            self.unlisted += 1;
            return;
        }
        self.unlocked += usize::from(!locked);
        self.places.insert(key, self.shapes.len());
        self.shapes.push(Counted {
            event_type: name.to_owned(),
            schema_version: event.schema_version,
            events: 1,
            locked,
            first_position: event.position,
        });
    }

    fn tell(&mut self, output: &mut Output) -> Result<(), Failure> {
        self.shapes.sort_by(|one, other| {
            (&one.event_type, one.schema_version).cmp(&(&other.event_type, other.schema_version))
        });
        if output.is_json() {
            output.json(self)?;
        } else {
            for counted in &self.shapes {
                let Counted { event_type, schema_version, events, locked, .. } = counted;
                let events = grouped(*events);
                let locked = if *locked { "locked" } else { "NOT IN THE LOCK" };
                let name = shown(event_type);
                output.line(&format!("{events:>12}  {name} version {schema_version}  {locked}"))?;
            }
            output.line(&format!("{:>12}  events", grouped(self.events)))?;
        }
        output.flush()
    }

    fn verdict(&self) -> Result<(), Failure> {
        let mut message = "the log holds what is not in the lock:".to_owned();
        for counted in self.shapes.iter().filter(|counted| !counted.locked) {
            let Counted { event_type, schema_version, events, first_position, .. } = counted;
            message.push_str(&format!(
                "\n  - {event_type} version {schema_version}: {} of them, the first at position \
                 {first_position}",
                grouped(*events)
            ));
        }
        if self.unlocked == 0 {
            return Ok(());
        }
        if self.unlisted > 0 {
            let events = grouped(self.unlisted);
            message.push_str(&format!("\n  - and others, {events} events in all"));
        }
        message.push_str(
            "\nadd them to the lock in the application, with the shape that its program had then, \
             and upcasters that lead from them to what it reads now",
        );
        Err(Failure::new(message))
    }
}
