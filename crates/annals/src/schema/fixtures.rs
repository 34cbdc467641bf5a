//! Fixtures: an event of each shape, as it was stored.

use std::fs;
use std::path::Path;

use annals_core::{
    Data, EventId, EventType, Metadata, Position, RecordedEvent, StreamId, Tags, Timestamp, Version,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::files::{files_in, in_package, read_lock};
use super::{Enum, Lock, Schema};
use crate::error::DecodeError;
use crate::upcast::Upcasted;
use annals_core::error::Chain;

/// Checks that an event of every shape in the lock can still be read: for a test of the
/// application. The paths begin at its `Cargo.toml`.
///
/// In the directory there is a file for each type and schema version, its name ending in `.json`,
/// with an event as `annals read --json` writes it. Of that, `type`, `schema_version` and `data`
/// are looked at; `schema_version` is 1 when it is left out.
///
/// ```json
/// { "type": "AddressUpdated", "schema_version": 1, "data": { "user_id": "c1" } }
/// ```
///
/// # Panics
/// When an event cannot be read, or one is missing; it says which file, and why.
#[track_caller]
pub fn check_fixtures(directory: impl AsRef<Path>, lock: impl AsRef<Path>, schema: &Schema) {
    if let Err(why) = check(directory.as_ref(), lock.as_ref(), schema) {
        panic!("{why}");
    }
}

fn check(directory: &Path, lock: &Path, schema: &Schema) -> Result<(), String> {
    let name = lock.display();
    let lock = read_lock(&in_package(lock), &name)?.ok_or_else(|| {
        format!("there is no {name} yet; make it first, with `schema::check_lock`")
    })?;
    let files = files_in(&in_package(directory), "json");
    let files = files.map_err(|error| {
        format!(
            "reading the directory {}: {error}; make it, and put fixtures there",
            directory.display()
        )
    })?;
    let mut faults = Vec::new();
    let mut found = Vec::new();
    for file in files {
        let place = directory.join(file.file_name().unwrap_or_default());
        match check_file(&file, &lock, schema) {
            Ok(shape) => found.push(shape),
            Err(Fault { shape, why }) => {
                found.extend(shape);
                faults.push(format!("{}: {why}", place.display()));
            }
        }
    }
    for (event_type, version, schema) in lock.events.iter() {
        if !found.iter().any(|(name, found)| name == event_type && *found == version) {
            faults.push(missing(directory, event_type, version, schema));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n\n")) }
}

/// What is wrong with a file, and of which shape it is, if that can be told.
struct Fault {
    shape: Option<(String, u32)>,
    why: String,
}

fn check_file(file: &Path, lock: &Lock, schema: &Schema) -> Result<(String, u32), Fault> {
    let unread = |why| Fault { shape: None, why };
    let text = fs::read_to_string(file).map_err(|error| unread(error.to_string()))?;
    let event = stored(&text).map_err(unread)?;
    let shape = (event.event_type.to_string(), event.schema_version);
    let fault = |why| Fault { shape: Some(shape.clone()), why };
    let (event_type, version) = (&shape.0, shape.1);
    if !lock.contains(event_type, version) {
        return Err(fault(format!(
            "{event_type} version {version} is not in the lock; mend its `type` or its \
             `schema_version`, or add it to the lock"
        )));
    }
    let knowing: Vec<_> = schema.enums.iter().filter(|known| (known.knows)(event_type)).collect();
    if knowing.is_empty() {
        return Err(fault(format!(
            "no enum of the schema knows {event_type}; add the one that does with `.with::<..>()`"
        )));
    }
    for known in knowing {
        check_upcast(known, &event, schema).map_err(&fault)?;
    }
    Ok(shape)
}

/// That all which an enum makes of an event can be read, by that enum or by another.
fn check_upcast(known: &Enum, event: &RecordedEvent, schema: &Schema) -> Result<(), String> {
    let unread = |error: DecodeError| Chain(&error).to_string();
    let upcasted = match (known.upcast)(event).map_err(unread)? {
        Upcasted::AsStored => vec![event.clone()],
        Upcasted::Became(events) => events,
    };
    for event in upcasted {
        let name = event.event_type.as_str();
        let mut writing = schema.enums.iter().filter(|known| (known.writes)(name)).peekable();
        if writing.peek().is_none() {
            let version = event.schema_version;
            return Err(format!(
                "it is read as {name} version {version}, which no enum of the schema knows; mend \
                 the upcaster, or add the enum that does with `.with::<..>()`"
            ));
        }
        for known in writing {
            (known.decode)(&event).map_err(unread)?;
        }
    }
    Ok(())
}

/// An event as it is written in a file.
#[derive(Deserialize)]
struct Fixture {
    #[serde(rename = "type")]
    event_type: EventType,
    #[serde(default = "first")]
    schema_version: u32,
    data: Option<Box<RawValue>>,
    data_base64: Option<Value>,
    content_type: Option<Value>,
}

fn first() -> u32 {
    1
}

fn stored(text: &str) -> Result<RecordedEvent, String> {
    let fixture: Fixture = serde_json::from_str(text).map_err(|error| {
        format!("is not an event: {error}; write one as `annals read --json` does")
    })?;
    if fixture.data_base64.is_some() || fixture.content_type.is_some() {
        return Err("its data are not JSON, and fixtures are for those that are".to_owned());
    }
    let data = fixture.data.map_or_else(|| "{}".to_owned(), |data| data.get().to_owned());
    Ok(RecordedEvent {
        position: Position::new(1),
        stream: StreamId::from_static("fixture"),
        version: Version::FIRST,
        id: EventId::from_bytes([0; 16]),
        event_type: fixture.event_type,
        schema_version: fixture.schema_version,
        data: Data::json(data),
        metadata: Metadata::empty(),
        tags: Tags::new(&[]),
        occurred_at: Timestamp::EPOCH,
        recorded_at: Timestamp::EPOCH,
    })
}

fn missing(directory: &Path, event_type: &str, version: u32, schema: &Value) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = event_type.chars().map(plain).collect();
    let file = directory.join(format!("{name}.v{version}.json"));
    let event =
        json!({ "type": event_type, "schema_version": version, "data": example(schema, 0) });
    format!(
        "{}: there is no fixture for {event_type} version {version}; write one, best from an event \
         that was really stored, such as\n{event:#}",
        file.display()
    )
}

/// Data that look like those of a schema, to begin with.
fn example(schema: &Value, depth: u32) -> Value {
    const DEPTH_MAX: u32 = 8;
    let first_of = |keyword: &str| schema.get(keyword)?.as_array()?.first();
    if depth > DEPTH_MAX {
        return Value::Null;
    }
    if let Some(value) = first_of("enum").or_else(|| schema.get("const")) {
        return value.clone();
    }
    if let Some(schema) = first_of("oneOf").or_else(|| first_of("anyOf")) {
        return example(schema, depth + 1);
    }
    let kind = schema.get("type").and_then(Value::as_str).or_else(|| first_of("type")?.as_str());
    match kind {
        Some("string") => "..".into(),
        Some("integer" | "number") => 1.into(),
        Some("boolean") => true.into(),
        Some("array") => {
            schema.get("items").map_or(json!([]), |items| json!([example(items, depth + 1)]))
        }
        Some("object") => {
            let fields = schema.get("properties").and_then(Value::as_object);
            let fields = fields.into_iter().flatten();
            let fields = fields.map(|(name, schema)| (name.clone(), example(schema, depth + 1)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        _ => Value::Null,
    }
}
