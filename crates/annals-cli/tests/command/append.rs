use serde_json::{Value, json};

use crate::annals::Place;

#[test]
fn an_event_is_appended_and_read_back() {
    let place = Place::new();
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let ran = place.run(&[
        "append",
        "account-1",
        "MoneyDeposited",
        r#"{"amount":1.50}"#,
        "--expect",
        "none",
        "--tag",
        "branch:7",
        "--tag",
        "a:b",
        "--metadata",
        r#"{"actor":"me"}"#,
        "--id",
        id,
        "--occurred-at",
        "2026-03-01T12:00:00Z",
        "--schema-version",
        "2",
    ]);
    assert_eq!(ran.ok().stdout, "account-1 is at version 1, position 1\n");
    let read = place.run(&["read", "account-1", "--json"]).ok();
    let event = &read.json_lines()[0];
    let expected = json!({
        "position": 1, "stream": "account-1", "version": 1, "id": id, "type": "MoneyDeposited",
        "schema_version": 2, "data": {"amount": 1.5}, "metadata": {"actor": "me"},
        "tags": ["a:b", "branch:7"], "occurred_at": "2026-03-01T12:00:00Z",
        "recorded_at": event["recorded_at"],
    });
    assert_eq!(*event, expected);
    assert!(read.stdout.contains(r#""data":{"amount":1.50}"#), "{}", read.stdout);
}

#[test]
fn the_receipt_comes_as_json() {
    let place = Place::new();
    let ran = place.run(&["append", "account-1", "Opened", "--json"]).ok();
    let receipt = &ran.json_lines()[0];
    assert_eq!(receipt["streams"], json!([{"stream": "account-1", "version": 1}]));
    assert_eq!(receipt["event_ids"].as_array().unwrap().len(), 1);
}

#[test]
fn a_conflict_has_its_own_exit_code() {
    let place = Place::new();
    place.run(&["append", "account-1", "Opened", "--expect", "none"]).ok();
    let again = place.run(&["append", "account-1", "Opened", "--expect", "none"]);
    again.failed(3, "expected to be at no stream but is at version 1");
    place.run(&["append", "account-1", "Opened", "--expect", "7"]).failed(3, "version 7");
    place.run(&["append", "account-1", "Opened", "--expect", "1"]).ok();
    place.run(&["append", "account-1", "Opened", "--expect", "exists"]).ok();
}

#[test]
fn repeating_an_id_appends_once() {
    let place = Place::new();
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let first = place.run(&["append", "a-1", "Opened", "--id", id, "--json"]).ok();
    let second = place.run(&["append", "a-1", "Opened", "--id", id, "--json"]).ok();
    assert_eq!(first.stdout, second.stdout);
}

#[test]
fn wrong_usage_is_told_and_writes_nothing() {
    let place = Place::new();
    for (arguments, says) in [
        (&["append", "account-1"][..], "TYPE"),
        (&["append", "-1", "Opened"], "unexpected argument"),
        (&["append", "account-1", "Opened", "{amount:1}"], "not JSON"),
        (&["append", "account-1", "Opened", "text"], "quotes"),
        (&["append", "account-1", "Opened", "--tag", "plain"], "key:value"),
        (&["append", "account-1", "Opened", "--metadata", "[]"], "metadata must be a JSON object"),
        (&["append", "account-1", "Opened", "--expect", "maybe"], "any, none, exists"),
        (&["append", "account-1", "Opened", "--from", "-"], "cannot be used with"),
        (
            &["append", "a-1", "Opened", "--store", "postgres:localhost/x"],
            "postgres://USER@HOST:PORT/DATABASE?schema=NAME",
        ),
        (&["append", "a-1", "Opened", "--store", "annals.db"], "sqlite:PATH"),
        (&["append", "a-1", "Opened", "--store", "sqlite::memory:"], "memory:"),
    ] {
        place.run(arguments).failed(2, says);
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn data_comes_from_stdin() {
    let place = Place::new();
    place.run_with(&["append", "a-1", "Opened", "-"], "{\n  \"a\": 1\n}\n").ok();
    let event = place.run(&["read", "--json"]).ok().json_lines();
    assert_eq!(event[0]["data"], json!({"a": 1}));
}

/// What one log prints, another takes: a copy has the same events in the same order.
#[test]
fn a_log_is_copied_through_a_pipe() {
    let place = Place::new();
    for (stream, data) in
        [("a-1", "1"), ("b-1", "2"), ("a-1", "3"), ("a-1", "[4,\n4]"), ("b-1", "5")]
    {
        place.run(&["append", stream, "Counted", data, "--tag", "k:v"]).ok();
    }
    let original = place.run(&["read", "--json"]).ok();
    let store = ["--store", "sqlite:copy.db"];
    let copying = ["append", "--from", "-", store[0], store[1]];
    let copied = place.run_with(&copying, &original.stdout).ok();
    assert_eq!(copied.stdout, "5 events appended\n");
    let copy = place.run(&["read", "--json", store[0], store[1]]).ok();
    let without_assigned = |mut event: Value| {
        for field in ["position", "recorded_at"] {
            event.as_object_mut().unwrap().remove(field);
        }
        event
    };
    let [original, copy] = [original, copy]
        .map(|ran| ran.json_lines().into_iter().map(without_assigned).collect::<Vec<_>>());
    assert_eq!(original, copy);
}

/// The same file again, after a crash perhaps, appends nothing twice.
#[test]
fn a_file_can_be_appended_again() {
    let place = Place::new();
    let lines: String = (0..1200)
        .map(|number| {
            format!(
                "{{\"stream\":\"s-{}\",\"type\":\"A\",\"id\":\"00000000-0000-7000-8000-{number:012}\"}}\n",
                number % 700
            )
        })
        .collect();
    std::fs::write(place.path().join("events"), lines).unwrap();
    for _ in 0..2 {
        let ran = place.run(&["append", "--from", "events", "--json"]).ok();
        assert_eq!(ran.json_lines(), [json!({"events": 1200})]);
    }
    let stats = place.run(&["stats", "--json"]).ok().json_lines();
    assert_eq!((&stats[0]["events"], &stats[0]["streams"]), (&json!(1200), &json!(700)));
}

#[test]
fn a_wrong_line_is_told_by_its_number() {
    let place = Place::new();
    for (line, says) in [
        ("{", "line 2"),
        (r#"{"type":"A"}"#, "missing field `stream`"),
        (r#"{"stream":"a-1"}"#, "missing field `type`"),
        (r#"{"stream":"a-1","type":"A","x":1}"#, "unknown field `x`"),
    ] {
        let lines = format!("{{\"stream\":\"a-1\",\"type\":\"A\"}}\n{line}\n");
        place.run_with(&["append", "--from", "-"], &lines).failed(2, says);
    }
    place.run(&["append", "--from", "missing"]).failed(1, "opening missing");
}
