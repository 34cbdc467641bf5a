use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::annals::Place;

fn with_events() -> Place {
    let place = Place::new();
    let lines: String = (1..=9)
        .map(|number| {
            let (stream, kind) = (["a-1", "a-2", "b-1"][number % 3], ["Even", "Odd"][number % 2]);
            let event = json!({"stream": stream, "type": kind, "data": number,
                "tags": [format!("third:{}", number % 3)]});
            format!("{event}\n")
        })
        .collect();
    place.run_with(&["append", "--from", "-"], &lines).ok();
    place
}

fn numbers(place: &Place, arguments: &[&str]) -> Vec<u64> {
    let arguments: Vec<_> = ["read", "--json"].iter().chain(arguments).copied().collect();
    let events = place.run(&arguments).ok().json_lines();
    events.iter().map(|event: &Value| event["data"].as_u64().unwrap()).collect()
}

#[test]
fn events_are_chosen() {
    let place = with_events();
    for (arguments, expected) in [
        (&[][..], &[1, 2, 3, 4, 5, 6, 7, 8, 9][..]),
        (&["--backward", "--limit", "2"], &[9, 8]),
        (&["a-2"], &[1, 4, 7]),
        (&["a-2", "--from-version", "2"], &[4, 7]),
        (&["a-2", "--to-version", "2", "--backward"], &[4, 1]),
        (&["a-2", "--type", "Odd"], &[1, 7]),
        (&["--category", "b"], &[2, 5, 8]),
        (&["--category", "b", "--category", "a", "--type", "Even"], &[2, 4, 6, 8]),
        (&["--tag", "third:0"], &[3, 6, 9]),
        (&["--tag", "third:0", "--tag", "third:1"], &[]),
        (&["--as-at", "2000-01-01T00:00:00Z"], &[]),
        (&["none-1"], &[]),
    ] {
        assert_eq!(numbers(&place, arguments), expected, "{arguments:?}");
    }
    let third =
        place.run(&["read", "--json", "--limit", "3"]).ok().json_lines()[2]["position"].to_string();
    assert_eq!(numbers(&place, &["--after", &third]), [4, 5, 6, 7, 8, 9]);
    assert_eq!(numbers(&place, &["--up-to", &third]), [1, 2, 3]);
}

#[test]
fn people_and_programs_are_told_the_same() {
    let place = with_events();
    assert_eq!(place.run(&["stats"]).ok().stdout, "events   9\nstreams  3\nhead     9\n");
    let stats = place.run(&["stats", "--json"]).ok().stdout;
    assert_eq!(stats, "{\"events\":9,\"streams\":3,\"head\":9}\n");
    let streams = place.run(&["streams", "--category", "a"]).ok().stdout;
    assert_eq!(streams, "           3  a-1\n           3  a-2\n");
    let streams = place.run(&["--json", "streams", "--category", "b"]).ok().stdout;
    assert_eq!(streams, "{\"stream\":\"b-1\",\"version\":3,\"last_position\":8}\n");
    let line = place.run(&["read", "b-1", "--limit", "1"]).ok().stdout;
    let (before, after) = (&line[..8], &line[line.find("  b-1").unwrap()..]);
    assert_eq!((before, after), ("       2", "  b-1@1  Even  2\n"));
}

#[test]
fn looking_leaves_nothing_behind() {
    let place = Place::new();
    for command in ["read", "stats", "streams", "tail"] {
        place.run(&[command]).failed(1, "there is no store at annals.db");
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    assert_eq!(
        place.run(&["stats", "--json", "--store", "memory:"]).ok().json_lines()[0]["events"],
        0
    );
}

#[test]
fn version_bounds_need_a_stream() {
    let place = with_events();
    place.run(&["read", "--from-version", "2"]).failed(2, "<STREAM>");
    place.run(&["read", "a-1", "--from-version", "2", "--type", "Odd"]).failed(2, "version bounds");
}

/// Somebody else wrote these events, and wants to own the terminal that shows them.
#[test]
fn a_terminal_is_safe_from_hostile_data() {
    let place = Place::new();
    let hostile = "\"\u{9b}31m \u{202e}txt.exe \u{7f}\"";
    place.run(&["append", "a-\u{202e}b", "Typ\u{2066}e", hostile]).ok();
    for command in [&["read"][..], &["streams"]] {
        let shown = place.run(command).ok().stdout;
        let harmful =
            |c: char| c.is_control() && c != '\n' || ('\u{202a}'..='\u{2069}').contains(&c);
        assert!(!shown.contains(harmful), "{shown:?}");
    }
    let refused = place.run(&["read", "--tag", "\u{1b}]0;pwned\u{7}"]);
    assert!(!refused.stderr.contains("\u{1b}]0"), "{refused:?}");
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let place = Place::new();
    let line = format!("{{\"stream\":\"a-1\",\"type\":\"A\",\"data\":\"{}\"}}\n", "x".repeat(1000));
    place.run_with(&["append", "--from", "-"], &line.repeat(1000)).ok();
    let mut command = place.command(&["read"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), &*stderr), (Some(0), ""));
}

#[test]
fn a_tail_shows_what_another_process_appends() {
    let place = with_events();
    let mut tail = place.start(&["tail", "--after", "8", "--json"]);
    assert!(tail.first_line.contains("\"data\":9"), "{}", tail.first_line);
    place.run(&["append", "a-1", "Odd", "10"]).ok();
    let mut line = String::new();
    tail.stdout.read_line(&mut line).unwrap();
    assert!(line.contains("\"data\":10"), "{line}");
    tail.signal("INT");
    assert_eq!(tail.end(), (Some(0), String::new()));
}

#[test]
fn the_environment_names_the_store() {
    let place = Place::new();
    place.run(&["append", "a-1", "A", "--store", "sqlite:other.db"]).ok();
    let mut command = place.command(&["stats", "--json"]);
    let output = command.env("ANNALS_STORE", "sqlite:other.db").output().unwrap();
    assert_eq!(output.stdout, b"{\"events\":1,\"streams\":1,\"head\":1}\n");
}
