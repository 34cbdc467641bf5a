//! `annals schema check`.

use std::fs;

use annals::Event;
use annals::schema::{Lock, Schema};
use serde_json::json;

use crate::annals::Place;

#[derive(Event)]
enum Before {
    Opened { owner: String },
    Closed,
}

#[derive(Event)]
enum Wider {
    Opened { owner: String, branch: Option<u32> },
    Closed,
    Moved,
}

#[derive(Event)]
enum Other {
    Opened { holder: String },
}

/// A place with the lock of the first program.
fn place() -> Place {
    let place = Place::new();
    let lock = Schema::new().with::<Before>().locked(&Lock::new());
    fs::write(place.path().join("events.lock.json"), lock.to_json()).unwrap();
    place
}

const CHECK: [&str; 4] = ["schema", "check", "--lock", "events.lock.json"];

fn check(more: &[&'static str]) -> Vec<&'static str> {
    [&CHECK, more].concat()
}

#[test]
fn a_program_is_compared_with_the_lock() {
    let place = place();
    let wider = Schema::new().with::<Wider>().to_json();
    let ran = place.run_with(&check(&["--current", "-"]), &wider);
    ran.failed(1, "  - Moved version 1 is new\n  - Opened version 1 has become wider\n");
    ran.failed(1, "`ANNALS_SCHEMA=update cargo test`");
    let ran = place.run_with(&check(&["--current", "-", "--json"]), &wider);
    assert_eq!(ran.code, Some(1));
    let unlocked = |name, what| json!({ "type": name, "schema_version": 1, "what": what });
    let unlocked = [unlocked("Moved", "is new"), unlocked("Opened", "has become wider")];
    assert_eq!(ran.json_lines(), [json!({ "breaking": [], "unlocked": unlocked })]);

    let before = Schema::new().with::<Before>().to_json();
    let ran = place.run_with(&check(&["--current", "-"]), &before).ok();
    assert_eq!(ran.stdout, "every locked shape can be read (2 of them)\n");

    fs::write(place.path().join("now.json"), Schema::new().with::<Other>().to_json()).unwrap();
    let now = check(&["--current", "now.json"]);
    let broken = place.run(&now);
    broken.failed(1, "`holder` is new, and required: a text");
    broken.failed(1, r#".upcast("Opened", 1, |data| {"#);
    broken.failed(1, r#".drop_type("Closed")"#);
    let ran = place.run(&check(&["--current", "now.json", "--json"]));
    assert_eq!(ran.code, Some(1));
    let found = &ran.json_lines()[0]["breaking"];
    assert_eq!(found[0]["type"], "Closed");
    assert_eq!(found[1]["changes"][1]["path"], "holder", "{found}");
}

#[test]
fn a_log_is_compared_with_the_lock() {
    let place = place();
    let append = |event: &[&str]| {
        drop(place.run(&[&["append", "account-1"], event].concat()).ok());
    };
    append(&["Opened", r#"{"owner":"Ada"}"#]);
    append(&["Opened", r#"{"owner":"Bob"}"#]);
    append(&["annals.StreamClosed"]);
    let ran = place.run(&CHECK).ok();
    let lines: Vec<_> = ran.stdout.lines().map(str::trim).collect();
    assert_eq!(lines, ["2  Opened version 1  locked", "3  events"]);

    append(&["Moved"]);
    append(&["Opened", "{}", "--schema-version", "2"]);
    append(&["Moved"]);
    let ran = place.run(&CHECK);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("2  Moved version 1  NOT IN THE LOCK"), "{ran:?}");
    assert!(ran.stderr.contains("Moved version 1: 2 of them, the first at position 4"), "{ran:?}");
    assert!(ran.stderr.contains("Opened version 2: 1 of them, the first at position 5"), "{ran:?}");

    let ran = place.run(&check(&["--json"]));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let census = &ran.json_lines()[0];
    assert_eq!((&census["events"], &census["unlisted"]), (&json!(6), &json!(0)));
    let moved = json!({
        "type": "Moved", "schema_version": 1, "events": 2, "locked": false, "first_position": 4
    });
    assert_eq!(census["shapes"][0], moved);
}

#[test]
fn very_many_unknown_types_are_counted_and_not_listed() {
    let place = place();
    let event = |n| format!("{{\"stream\":\"a-1\",\"type\":\"T{n:03}\"}}\n");
    let events: String = (0..150).chain(100..150).map(event).collect();
    place.run_with(&["append", "--from", "-"], &events).ok();
    let ran = place.run(&check(&["--json"]));
    let census = &ran.json_lines()[0];
    assert_eq!(census["shapes"].as_array().unwrap().len(), 100);
    assert_eq!((&census["events"], &census["unlisted"]), (&json!(200), &json!(100)));
    assert!(ran.stderr.contains("and others, 100 events in all"), "{ran:?}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let place = place();
    place.run(&["schema", "check", "--lock", "other.json"]).failed(1, "reading other.json");
    fs::write(place.path().join("other.json"), "[]").unwrap();
    place.run(&["schema", "check", "--lock", "other.json"]).failed(1, "other.json: ");
    place.run(&check(&["--current", "other.json"])).failed(1, "other.json: ");
    place.run(&check(&["--store", "sqlite:none.db"])).failed(1, "none.db");
}
