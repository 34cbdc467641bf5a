use std::collections::HashMap;
use std::io::{BufRead, Read};
use std::time::Instant;

use serde_json::Value;

use crate::annals::{DEADLINE, POLL, Place, Ran};
use crate::http::{Connection, get, get_lines};

/// Each line that the demo says can be pasted, done as curl would do it.
fn paste(place: &Place, line: &str) {
    let words = words(line);
    if !words[0].ends_with("curl") {
        let arguments: Vec<_> = words[1..].iter().map(String::as_str).collect();
        if arguments[0] != "tail" {
            place.run(&arguments).ok();
        }
        return;
    }
    let url = words.iter().find(|word| word.starts_with("http://")).unwrap();
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let path = format!("/{path}");
    let mut connection = Connection::open(address).unwrap();
    if words.contains(&"-N".to_owned()) {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut reader = std::io::BufReader::new(stream);
        let mut line = String::new();
        while !line.starts_with("event: event") {
            line.clear();
            assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the tail ended");
        }
        return;
    }
    let body = words.iter().position(|word| word == "-d").map(|flag| words[flag + 1].clone());
    let method = if body.is_some() { "POST" } else { "GET" };
    let (status, answer) =
        connection.request(method, &path, "", &body.unwrap_or_default()).unwrap();
    assert_eq!(status, 200, "{line}: {answer}");
    assert!(!answer.contains("\"events\":[]"), "{line} shows nothing");
}

/// The words of a line, as a shell splits it.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.last_mut().unwrap().push_str(part);
            continue;
        }
        let mut pieces = part.split(' ');
        words.last_mut().unwrap().push_str(pieces.next().unwrap());
        words.extend(pieces.map(str::to_owned));
    }
    words.retain(|word| !word.is_empty());
    words
}

fn versions_are_dense(events: &[Value]) {
    let mut last: HashMap<&str, u64> = HashMap::new();
    for event in events {
        let version = last.entry(event["stream"].as_str().unwrap()).or_default();
        *version += 1;
        assert_eq!(event["version"], *version, "{event}");
    }
}

/// No account is ever overdrawn, and no money appears or vanishes on its way.
fn the_books_balance(events: &[Value]) {
    let mut balances: HashMap<&str, i64> = HashMap::new();
    let mut on_the_way = 0;
    for event in events {
        let amount = event["data"]["amount"].as_i64().unwrap_or_default();
        let balance = balances.entry(event["stream"].as_str().unwrap()).or_default();
        match event["type"].as_str().unwrap() {
            "AccountOpened" => {}
            "MoneyDeposited" => *balance += amount,
            "MoneyWithdrawn" => *balance -= amount,
            "TransferSent" => (*balance, on_the_way) = (*balance - amount, on_the_way + amount),
            "TransferReceived" => (*balance, on_the_way) = (*balance + amount, on_the_way - amount),
            other => panic!("{other}"),
        }
        assert!(*balance >= 0, "{event}");
    }
    assert_eq!(on_the_way, 0);
}

#[test]
fn the_demo_does_what_it_says() {
    let place = Place::new();
    let arguments =
        ["demo", "--listen", "127.0.0.1:0", "--dir", "the bank", "--accounts", "20", "--seed", "7"];
    let mut demo = place.start(&arguments);
    let mut lines = vec![demo.first_line.clone()];
    while !lines.last().unwrap().starts_with("Ctrl-C") {
        let mut line = String::new();
        assert_ne!(demo.stdout.read_line(&mut line).unwrap(), 0, "{lines:?}");
        lines.push(line);
    }
    assert!(lines[0].contains("with a new log in sqlite:the bank/annals.db"), "{}", lines[0]);
    let url = lines[0].split("http://").nth(1).unwrap();
    let address = url.split('/').next().unwrap().to_owned();
    let pasted: Vec<_> =
        lines.iter().filter(|line| line.starts_with("  ") && line.contains(' ')).collect();
    let pasted: Vec<_> =
        pasted.iter().map(|line| line.trim()).filter(|line| line.contains(' ')).collect();
    assert!(pasted.len() >= 7, "{lines:?}");
    for line in pasted {
        paste(&place, line);
    }
    let before = get(&address, "/v1/stats")["events"].as_u64().unwrap();
    let started = Instant::now();
    while get(&address, "/v1/stats")["events"].as_u64().unwrap() < before + 20 {
        assert!(started.elapsed() < DEADLINE, "the bank is asleep");
        std::thread::park_timeout(POLL);
    }
    demo.signal("TERM");
    let mut rest = String::new();
    demo.stdout.read_to_string(&mut rest).unwrap();
    let (code, stderr) = demo.end();
    assert_eq!((code, &*rest), (Some(0), ""));
    assert!(
        stderr.starts_with("stopped; everything acknowledged is in sqlite:the bank"),
        "{stderr}"
    );

    let events =
        place.run(&["read", "--json", "--store", "sqlite:the bank/annals.db"]).ok().json_lines();
    versions_are_dense(&events);
    the_books_balance(&events);
    let types: std::collections::HashSet<_> =
        events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types.len(), 5, "{types:?}");
}

#[test]
fn a_demo_goes_on_where_it_stopped() {
    let place = Place::new();
    let run = || -> Ran {
        place.run(&[
            "demo",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--seconds",
            "1",
            "--accounts",
            "5",
        ])
    };
    let stats = || place.run(&["stats", "--json", "--store", "sqlite:annals-demo/annals.db"]).ok();
    let count = |ran: &Ran| ran.json_lines()[0]["events"].as_u64().unwrap();
    assert_eq!(run().code, Some(0));
    let first = count(&stats());
    let second = run();
    assert_eq!(second.json_lines()[0]["store"], "sqlite:annals-demo/annals.db");
    assert!(count(&stats()) > first, "nothing happened the second time");
    let demo = place.start(&["demo", "--json", "--listen", "127.0.0.1:0", "--accounts", "5"]);
    let opened = get_lines(&demo.address(), "/v1/events?types=AccountOpened");
    assert_eq!(opened.len(), 5);
}

#[test]
fn the_demo_stays_on_loopback() {
    let place = Place::new();
    place.run(&["demo", "--listen", "0.0.0.0:0"]).failed(2, "loopback only");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}
