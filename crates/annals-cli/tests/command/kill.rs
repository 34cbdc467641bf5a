//! The server process is killed again and again, under load, at random moments. Whatever it had
//! acknowledged by then must be there, whole, and the store must open by itself.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::annals::{Place, Running};
use crate::http::{Connection, get_lines};

const ROUNDS: u64 = 50;
const WRITERS: u64 = 6;
/// Chosen so that some rounds end before the first acknowledgement and some after hundreds.
const MILLIS_MAX: u64 = 120;
const SEED: u64 = 2;

#[test]
fn nothing_acknowledged_is_lost_to_sigkill() {
    let place = Place::new();
    let mut chance = StdRng::seed_from_u64(SEED);
    let mut acknowledged = HashSet::new();
    let mut server = serve(&place);
    for round in 0..ROUNDS {
        let moment = Duration::from_millis(chance.random_range(0..=MILLIS_MAX));
        let noted = load_until_killed(&mut server, round, moment);
        server = serve(&place);
        let events = get_lines(&server.address(), &format!("/v1/events?tags=round:{round}"));
        check(&events, &noted);
        acknowledged.extend(noted);
    }
    let all = get_lines(&server.address(), "/v1/events");
    check(&all, &acknowledged);
    assert!(acknowledged.len() > 200, "only {} appends: no load", acknowledged.len());
    assert!(all.windows(2).all(|pair| pair[0]["position"].as_u64() < pair[1]["position"].as_u64()));
}

fn serve(place: &Place) -> Running {
    place.start(&["serve", "--listen", "127.0.0.1:0", "--json"])
}

/// Writers append until the server is killed; the numbers of the appends that it acknowledged.
fn load_until_killed(server: &mut Running, round: u64, moment: Duration) -> HashSet<String> {
    let noted = Arc::new(Mutex::new(HashSet::new()));
    let is_killed = Arc::new(AtomicBool::new(false));
    let address = server.address();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (noted, is_killed, address) = (noted.clone(), is_killed.clone(), address.clone());
            thread::spawn(move || {
                // A writer can come to connect only after the kill, on a busy machine.
                let mut connection = Connection::open(&address).ok();
                for number in 0.. {
                    let Some(connection) = &mut connection else { break };
                    let name = format!("{round}-{writer}-{number}");
                    let body = transfer(round, writer, number, &name);
                    match connection.request("POST", "/v1/append", "", &body) {
                        Ok((200, _)) => noted.lock().unwrap().insert(name),
                        Ok((status, body)) => panic!("{status}: {body}"),
                        Err(_) => break,
                    };
                }
                assert!(is_killed.load(Ordering::SeqCst), "the server broke off by itself");
            })
        })
        .collect();
    let started = Instant::now();
    while started.elapsed() < moment {
        thread::park_timeout(moment.saturating_sub(started.elapsed()));
    }
    is_killed.store(true, Ordering::SeqCst);
    server.kill();
    for writer in writers {
        writer.join().unwrap();
    }
    Arc::into_inner(noted).unwrap().into_inner().unwrap()
}

/// One append to two streams: one that all writers of all rounds share, and one of the writer's
/// own.
fn transfer(round: u64, writer: u64, number: u64, name: &str) -> String {
    let event = |kind: &str| {
        format!(r#"{{"type":"{kind}","data":{{"name":"{name}"}},"tags":["round:{round}"]}}"#)
    };
    let (sent, received) = (event("Sent"), event("Received"));
    let shared = number % 3;
    format!(
        r#"{{"streams":[{{"stream":"shared-{shared}","events":[{sent}]}},
            {{"stream":"own-{round}_{writer}","expected":{{"exact":{number}}},"events":[{received}]}}]}}"#
    )
}

/// Every acknowledged append is there, every append that is there is there whole, and versions
/// that belong together have no gaps.
fn check(events: &[Value], acknowledged: &HashSet<String>) {
    let mut halves: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut versions: HashMap<&str, Vec<u64>> = HashMap::new();
    for event in events {
        let name = event["data"]["name"].as_str().unwrap();
        halves.entry(name).or_default().push(event["type"].as_str().unwrap());
        let stream = event["stream"].as_str().unwrap();
        versions.entry(stream).or_default().push(event["version"].as_u64().unwrap());
    }
    for (name, kinds) in &halves {
        assert_eq!(kinds, &["Sent", "Received"], "append {name} is not whole");
    }
    for (stream, versions) in &versions {
        let first = versions[0];
        let dense: Vec<_> = (first..).take(versions.len()).collect();
        assert_eq!(versions, &dense, "stream {stream}");
        assert!(first == 1 || !stream.starts_with("own-"), "stream {stream} starts at {first}");
    }
    for name in acknowledged {
        assert!(halves.contains_key(name.as_str()), "append {name} was acknowledged and is gone");
    }
}
